import { StoreUnavailable } from "@holdfast/engine";
import { formatAddress } from "./address.ts";
import type { Role } from "./server-info.ts";

/** What a script answered: its result, a change number, and the other values that its header lists. */
export interface Reply {
  readonly result: string;
  readonly number: number;
  readonly rest: readonly unknown[];
}

/** Reads a script's answer. */
export function readReply(value: unknown): Reply {
  if (!Array.isArray(value))
    throw new StoreUnavailable("badReply", "a script did not answer a list");
  const [result, number, ...rest] = value;
  return { result: String(result), number: Number(number ?? 0), rest };
}

/** Reads the answer of `ROLE`. */
export function readRole(value: unknown): Role {
  const [role, , replicas] = Array.isArray(value) ? value : [];
  const primary = String(role) === "master";
  if (!primary || !Array.isArray(replicas)) return { primary, replicas: [] };
  return {
    primary,
    replicas: replicas
      .map(([host, port]) => [String(host), Number(port)] as const)
      // Port 0 belongs to a program that copies the data and is not a Redis.
      .flatMap(([host, port]) => (port > 0 ? [formatAddress(host, port)] : [])),
  };
}

/** Reads names and values: a flat list as Redis answers it, or the object that ioredis makes of HGETALL. */
export function readPairs(value: unknown): ReadonlyMap<string, string> {
  if (Array.isArray(value)) {
    const pairs = new Map<string, string>();
    for (let i = 0; i + 1 < value.length; i += 2) pairs.set(String(value[i]), String(value[i + 1]));
    return pairs;
  }
  if (typeof value !== "object" || value === null) {
    throw new StoreUnavailable("badReply", "Redis did not answer a list of names and values");
  }
  return new Map(Object.entries(value).map(([name, each]) => [name, String(each)]));
}

/** The same with values that are bytes. */
export function readByteFields(
  value: unknown,
): readonly (readonly [name: string, value: Buffer])[] {
  const pairs: [string, Buffer][] = [];
  if (Array.isArray(value)) {
    for (let i = 0; i + 1 < value.length; i += 2)
      pairs.push([String(value[i]), bytesOf(value[i + 1])]);
  } else if (typeof value === "object" && value !== null) {
    for (const [name, each] of Object.entries(value)) pairs.push([name, bytesOf(each)]);
  }
  return pairs;
}

function bytesOf(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.from(String(value), "latin1");
}
