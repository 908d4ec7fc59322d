import { type RootOfTrust, RootOfTrustError } from "@holdfast/engine";
import type { Health } from "./health.ts";
import { reasonOf } from "./start-error.ts";
import { within } from "./within.ts";

const everyMs = 10_000;
const timeoutMs = 5000;

/** Asks the root of trust in the background whether it does its work, and tells health. */
export class RootProbe {
  readonly #root: Pick<RootOfTrust, "probe">;
  readonly #health: Pick<Health, "rootOfTrust">;
  readonly #timer: NodeJS.Timeout;
  #running = false;

  constructor(
    root: Pick<RootOfTrust, "probe">,
    health: Pick<Health, "rootOfTrust">,
    intervalMs: number = everyMs,
  ) {
    this.#root = root;
    this.#health = health;
    this.#timer = setInterval(() => void this.run(), intervalMs).unref();
  }

  /** One probe; tells what was wrong, undefined when nothing was. */
  async run(): Promise<string | undefined> {
    if (this.#running) return undefined;
    this.#running = true;
    try {
      await within(this.#root.probe(), timeoutMs);
      this.#health.rootOfTrust("ok", "");
      return undefined;
    } catch (error) {
      const refused = error instanceof RootOfTrustError && error.failure !== "unavailable";
      const reason = reasonOf(error);
      this.#health.rootOfTrust(refused ? "refused" : "unreachable", reason);
      return reason;
    } finally {
      this.#running = false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
