import type { Principal } from "@holdfast/admin";
import type { AuditEvent, Clock } from "@holdfast/engine";
import { managementEvent } from "../audit/management-event.ts";
import type { NodeObserver } from "../events.ts";
import type { TokenRefusal } from "./bearer.ts";
import { Buckets } from "./buckets.ts";

/** Someone who was not let in, or not to this. */
export interface Denial {
  readonly operation: string;
  /** A token's fault, or what its holder may not do. */
  readonly reason: TokenRefusal | "role" | "scope" | "instance";
  readonly principal: Principal | undefined;
  readonly instance?: string;
  readonly remote: string;
  readonly requestId: string;
}

/** What denials need. */
export interface DenialsOptions {
  /** Writes evidence; may reject, since a store that is out keeps nobody from being refused. */
  readonly append: (event: AuditEvent) => Promise<void>;
  readonly observe: NodeObserver;
  readonly clock: Clock;
}

const size = { perSecond: 10, burst: 100 };

/** Writes evidence of every denial, of so many a second that nobody can fill the log; the next one counts those left out. */
export class Denials {
  readonly #options: DenialsOptions;
  readonly #bucket: Buckets;
  #leftOut = 0;

  constructor(options: DenialsOptions) {
    this.#options = options;
    this.#bucket = new Buckets(size, options.clock.monotonicMs);
  }

  /** Never throws, and nobody waits for it. */
  readonly note = (denial: Denial): void => {
    const { operation, reason, principal, remote, requestId, instance } = denial;
    const name = principal?.name ?? "";
    this.#options.observe({
      type: "adminDenied",
      ...{ operation, reason, principal: name, remote, requestId },
      instance: instance ?? "",
    });
    if (this.#bucket.take("") > 0) {
      this.#leftOut += 1;
      return;
    }
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    const event = managementEvent(
      { principal: { name, id: principal?.id ?? "", remote }, requestId },
      "management.authorize",
      "failure",
      { id: operation, ...(instance === undefined ? {} : { instance }) },
      {
        timeMs: this.#options.clock.wallMs(),
        reason: principal === undefined ? "unauthenticated" : "forbidden",
        detail: {
          why: reason,
          ...(principal === undefined ? {} : { role: principal.role }),
          ...(leftOut === 0 ? {} : { leftOut }),
        },
      },
    );
    this.#options.append(event).catch((cause: unknown) => {
      this.#options.observe({ type: "warning", message: "a denial could not be audited", cause });
    });
  };
}
