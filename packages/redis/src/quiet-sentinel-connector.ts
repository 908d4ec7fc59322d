import { type Redis, SentinelConnector } from "ioredis";

/**
 * ioredis's connector, whose connections that listen for `+switch-master` have no listener for errors: ioredis would
 * write a line to the console for every try to reach a Sentinel that is down.
 */
export class QuietSentinelConnector extends SentinelConnector {
  constructor(options: unknown) {
    super(options as ConstructorParameters<typeof SentinelConnector>[0]);
    const connect: (...args: unknown[]) => Redis = Reflect.get(this, "connectToSentinel");
    Reflect.set(this, "connectToSentinel", (...args: unknown[]) =>
      connect.apply(this, args).on("error", () => undefined),
    );
  }
}
