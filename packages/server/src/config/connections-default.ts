import { totalmem } from "node:os";

/** What a TLS connection costs, measured with 5,000 of them. */
const connectionBytes = 74_000;
/** Large requests and unsent answers: the default of `kmip.inFlightBytesMax`. */
const inFlightBytes = 134_217_728;
const most = 10_000;
const least = 256;

/**
 * How many connections fit into a node's memory: half of it is for them, for those in their handshake (a quarter as
 * many) and for data in flight; the other half is for the node itself and for memory that is not yet freed.
 */
export function connectionsFor(memoryBytes: number): number {
  const fit = (memoryBytes / 2 - inFlightBytes) / connectionBytes / 1.25;
  return Math.floor(Math.max(least, Math.min(most, fit)));
}

/** The container's limit where there is one, else the machine's memory; bytes. */
export function memoryLimit(): number {
  const constrained = process.constrainedMemory();
  const machine = totalmem();
  return constrained > 0 ? Math.min(constrained, machine) : machine;
}
