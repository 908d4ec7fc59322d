import type { Principal } from "@holdfast/admin";
import type { AuditEvent, Clock } from "@holdfast/engine";
import { managementEvent } from "../../audit/management-event.ts";
import type { TokenRefusal } from "../../management/tokens/bearer.ts";
import type { NodeObserver } from "../../observe/events.ts";
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

export interface DenialsOptions {
  /** Writes evidence; may reject, since a store that is out keeps nobody from being refused. */
  readonly append: (event: AuditEvent) => Promise<void>;
  readonly observe: NodeObserver;
  readonly clock: Clock;
}

/** Of each caller that has a token. */
const knownSize = { perSecond: 10, burst: 100 };
/** Of all strangers together: what they make is no more than retention has room for beside everything else. */
const strangersSize = { perSecond: 1, burst: 100 };

/**
 * Writes evidence of every denial, of so many a second that nobody can fill the log, nor hide behind others' denials; the
 * next one counts those left out.
 */
export class DenialAudit {
  readonly #options: DenialsOptions;
  readonly #known: Buckets;
  readonly #handshakes: Buckets;
  #leftOut = 0;

  constructor(options: DenialsOptions) {
    this.#options = options;
    this.#known = new Buckets(knownSize, options.clock.monotonicMs);
    this.#handshakes = new Buckets(strangersSize, options.clock.monotonicMs);
  }

  /** Never throws, and nobody waits for it. */
  readonly note = (denial: Denial): void => {
    const { operation, reason, principal, remote, requestId, instance } = denial;
    const name = principal?.name ?? "";
    this.#options.observe({
      type: "adminDenied",
      operation,
      reason,
      principal: name,
      remote,
      requestId,
      instance: instance ?? "",
    });
    const waits =
      principal === undefined ? this.#handshakes.take("") : this.#known.take(principal.id);
    if (waits > 0) {
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
