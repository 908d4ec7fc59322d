import { closeSync, constants, openSync } from "node:fs";
import { BlockList, isIP, isIPv4 } from "node:net";
import { basename, dirname } from "node:path";

/** Where a listener binds or a server is found. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** How far an IP address reaches. */
export type Reach = "loopback" | "private" | "public" | "wildcard";

/** Reads `host:port` or `[v6]:port`; undefined when it is neither. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/@]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65_535) return undefined;
  if (bracketed !== undefined) {
    return isIP(bracketed) === 6 ? { host: bracketed, port } : undefined;
  }
  return { host: plain as string, port };
}

/** Writes an address the way `parseAddress` reads it. */
export function printAddress(address: Address): string {
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Distinguishes loopback, private, wildcard and all other ("public") IP addresses. */
export function reachOf(ip: string): Reach {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1];
  if (mapped !== undefined) return reachOf(mapped);
  const family = isIPv4(ip) ? "ipv4" : "ipv6";
  if (listOf(wildcard).check(ip, family)) return "wildcard";
  if (listOf(loopback).check(ip, family)) return "loopback";
  return listOf(privateNets).check(ip, family) ? "private" : "public";
}

const wildcard = [
  ["0.0.0.0", 32],
  ["::", 128],
] as const;
const loopback = [
  ["127.0.0.0", 8],
  ["::1", 128],
] as const;
/** RFC 1918, RFC 6598, RFC 3927, RFC 4193 and RFC 4291 (link-local). */
const privateNets = [
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10],
  ["169.254.0.0", 16],
  ["fc00::", 7],
  ["fe80::", 10],
] as const;

function listOf(nets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of nets) list.addSubnet(net, prefix, isIPv4(net) ? "ipv4" : "ipv6");
  return list;
}

/** A Unix socket's path through its open folder: the system takes no path of more than 107 bytes. */
export class SocketPath implements Disposable {
  /** Counts until this is disposed of. */
  readonly name: string;
  readonly #folder: number;

  /** Throws the system's error if the folder cannot be opened. */
  constructor(path: string) {
    this.#folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    this.name = `/proc/self/fd/${this.#folder}/${basename(path)}`;
  }

  [Symbol.dispose](): void {
    closeSync(this.#folder);
  }
}
