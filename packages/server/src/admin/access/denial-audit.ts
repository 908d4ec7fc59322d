import type { Principal } from "@holdfast/admin";
import type { AuditEvent, Clock } from "@holdfast/engine";
import { managementEvent } from "../../audit/management-event.ts";
import type { TokenRefusal } from "../../management/tokens/bearer.ts";
import type { NodeObserver } from "../../observe/events.ts";
import { EventLimit } from "./event-limit.ts";

/** A refused request, and why it was refused. */
export interface Denial {
  readonly operation: string;
  /** What is wrong with the token, or what its holder may not do. */
  readonly reason: TokenRefusal | "role" | "scope" | "instance";
  readonly principal: Principal | undefined;
  readonly instance?: string;
  readonly remote: string;
  readonly requestId: string;
}

export interface DenialsOptions {
  /** Writes an audit event; may reject: callers are refused even while the store is unavailable. */
  readonly append: (event: AuditEvent) => Promise<void>;
  readonly observe: NodeObserver;
  readonly clock: Clock;
}

/**
 * Writes an audit event of each denial. It limits their rate, so that nobody can fill the log or
 * hide behind others' denials; the next event counts those left out.
 */
export class DenialAudit {
  readonly #options: DenialsOptions;
  readonly #limit: EventLimit;

  constructor(options: DenialsOptions) {
    this.#options = options;
    this.#limit = new EventLimit(options.clock.monotonicMs);
  }

  /** Never throws, and does not wait for the write. */
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
    const leftOut = this.#limit.take(principal?.id);
    if (leftOut === undefined) return;
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
          ...(principal === undefined ? {} : { roles: principal.roles.join(" ") }),
          ...(leftOut === 0 ? {} : { leftOut }),
        },
      },
    );
    this.#options.append(event).catch((cause: unknown) => {
      this.#options.observe({ type: "warning", message: "a denial could not be audited", cause });
    });
  };
}
