import type { NodeObserver } from "../observe/events.ts";
import type { Health } from "../observe/health.ts";
import type { KmipEndpoint } from "./kmip-endpoint.ts";

const retryMs = 1000;

/**
 * Shuts the KMIP listener while the node cannot even read, and opens it when it can: vCenter goes to its next server
 * only when a connection is refused, not when a response is an error.
 */
export class ListenerGuard {
  readonly #endpoint: Pick<KmipEndpoint, "listening" | "open" | "shut">;
  readonly #health: Pick<Health, "tick" | "canRead" | "listening">;
  readonly #observe: NodeObserver;
  readonly #monotonicMs: () => number;
  #changing = false;
  #closed = false;
  #retryAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    endpoint: Pick<KmipEndpoint, "listening" | "open" | "shut">,
    health: Pick<Health, "tick" | "canRead" | "listening">,
    observe: NodeObserver,
    monotonicMs: () => number,
  ) {
    this.#endpoint = endpoint;
    this.#health = health;
    this.#observe = observe;
    this.#monotonicMs = monotonicMs;
  }

  /** Called several times a second. */
  tick(): void {
    this.#health.tick();
    const wanted = this.#health.canRead;
    if (this.#closed || this.#changing || wanted === this.#endpoint.listening) return;
    if (this.#monotonicMs() < this.#retryAtMs) return;
    this.#changing = true;
    void this.#change(wanted);
  }

  /** From now on the listener stays as it is. */
  close(): void {
    this.#closed = true;
  }

  async #change(open: boolean): Promise<void> {
    try {
      if (!open) this.#health.listening(false);
      if (open) await this.#endpoint.open();
      else await this.#endpoint.shut();
      if (open) this.#health.listening(true);
    } catch (cause) {
      this.#retryAtMs = this.#monotonicMs() + retryMs;
      this.#observe({
        type: "warning",
        message: "the KMIP listener cannot be opened again",
        cause,
      });
    } finally {
      this.#changing = false;
    }
  }
}
