import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { type Address, codeOf, OperatorError, printAddress, reasonOf } from "@holdfast/server/base";

/** Below the range that systems use for outgoing connections, so that a port stays free between two starts. */
const portMax = 32_000;

/** The first ports from `from` that are free now on an address. */
export async function freePorts(host: string, from: number, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let port = from; found.length < count; port++) {
    if (port > portMax) {
      throw new OperatorError(`${host}: no ${count} free ports between ${from} and ${portMax}`);
    }
    if (await isFree({ host, port })) found.push(port);
  }
  return found;
}

/** Whether an address can be listened on now. */
export async function isFree(address: Address): Promise<boolean> {
  return (await listenFault(address)) === undefined;
}

/** An address to listen on, its purpose, and the options that choose another one. */
type Wanted = Address & { readonly what: string; readonly options?: string };

/** Throws an `OperatorError` that names the first of these addresses that cannot be listened on. */
export async function checkFree(addresses: readonly Wanted[]): Promise<void> {
  for (const { what, options = "--port and --addresses", ...address } of addresses) {
    const fault = await listenFault(address);
    if (fault === undefined) continue;
    const at = printAddress(address);
    throw new OperatorError(
      codeOf(fault) === "EADDRINUSE"
        ? `${at} (${what}) is in use: end what listens there (ss -ltnp 'sport = :${address.port}'), or choose others with ${options}`
        : `${at} (${what}) cannot be listened on: ${reasonOf(fault)}`,
    );
  }
}

async function listenFault({ host, port }: Address): Promise<unknown> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, "listening");
    return (server.address() as AddressInfo).port === port ? undefined : new Error("another port");
  } catch (error) {
    return error;
  } finally {
    server.close();
  }
}
