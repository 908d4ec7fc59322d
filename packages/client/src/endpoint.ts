import { isIP } from "node:net";

/** Where a KMIP server listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** The port that IANA has registered for KMIP. */
export const kmipPort = 5696;

/** Reads `host`, `host:port` or `[v6]:port`; undefined for any other form. */
export function parseEndpoint(text: string): Endpoint | undefined {
  if (isIP(text) === 6) return { host: text, port: kmipPort };
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/@]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? kmipPort);
  if (host === undefined || port < 1 || port > 65_535) return undefined;
  if (match?.[1] !== undefined && isIP(host) !== 6) return undefined;
  return { host, port };
}

/** Writes an endpoint the way `parseEndpoint` reads it. */
export function printEndpoint({ host, port }: Endpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
