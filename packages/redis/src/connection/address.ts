/** A host and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`; anything else is a `RangeError` that quotes it. */
export function parseAddress(address: string): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 1 && port <= 65_535)) {
    throw new RangeError(`redis: ${JSON.stringify(address)} is not host:port`);
  }
  return { host, port };
}

/** Writes `host:port`, an IPv6 host in brackets and an IPv4 one in IPv6 form as IPv4. */
export function formatAddress(host: string, port: number): string {
  const plain = host.startsWith("::ffff:") ? host.slice("::ffff:".length) : host;
  return plain.includes(":") ? `[${plain}]:${port}` : `${plain}:${port}`;
}
