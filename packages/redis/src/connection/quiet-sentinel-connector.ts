import { type Redis, SentinelConnector } from "ioredis";
import { formatAddress } from "./address.ts";

type AnyMethod = (...args: unknown[]) => unknown;

/**
 * ioredis's connector with two changes. Connections that listen for `+switch-master` get a listener
 * for errors: without one, ioredis writes a line to the console for every failed try to reach a
 * Sentinel. And it reports the address that the Sentinel gave, which may be a host name: Sentinels
 * and replicas are known by that name, not by the socket's address.
 */
export function quietSentinelConnector(onPrimary: (address: string) => void) {
  return class extends SentinelConnector {
    constructor(options: unknown) {
      super(options as ConstructorParameters<typeof SentinelConnector>[0]);
      const connect: AnyMethod = Reflect.get(this, "connectToSentinel");
      Reflect.set(this, "connectToSentinel", (...args: unknown[]) =>
        (connect.apply(this, args) as Redis).on("error", () => undefined),
      );
      const resolve: AnyMethod = Reflect.get(this, "resolve");
      Reflect.set(this, "resolve", async (...args: unknown[]) => {
        const found = (await resolve.apply(this, args)) as HostPortAnswer | null;
        if (found !== null) onPrimary(formatAddress(String(found.host), Number(found.port)));
        return found;
      });
    }
  };
}

interface HostPortAnswer {
  readonly host: unknown;
  readonly port: unknown;
}
