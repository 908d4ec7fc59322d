import type { AuditEvent } from "../audit/audit-event.ts";
import type { Facts, ManagedObject } from "../record/record.ts";

/** What all audit events of a message share. */
export interface AuditBase {
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** Fingerprint of the client's certificate. */
  readonly initiator: string;
  readonly requestId: string;
}

/**
 * The evidence of one message's items, each a pending event and its outcome. Items that say the same are one, which says
 * how many `times`.
 */
export function eventsMerged(events: readonly AuditEvent[]): readonly AuditEvent[] {
  const counted = new Map<string, { readonly pair: readonly AuditEvent[]; times: number }>();
  for (let at = 0; at < events.length; at += 2) {
    const pair = events.slice(at, at + 2);
    const key = JSON.stringify(pair);
    const known = counted.get(key);
    if (known === undefined) counted.set(key, { pair, times: 1 });
    else known.times += 1;
  }
  return [...counted.values()].flatMap(({ pair, times }) =>
    times === 1 ? pair : pair.map((event) => ({ ...event, detail: { ...event.detail, times } })),
  );
}

/** The evidence of one item of a batch, collected while it runs. */
export class ItemAudit {
  /** The object that the item is about. */
  target: string | undefined;
  /** True once the item's events are durable together with its change. */
  written = false;
  /** True when the item's events are staged together with its change. */
  staged = false;
  readonly #base: AuditBase;
  readonly #action: string | undefined;
  #detail: Readonly<Record<string, string | number>> | undefined;

  constructor(base: AuditBase, action: string | undefined) {
    this.#base = base;
    this.#action = action;
  }

  note(detail: Readonly<Record<string, string | number>>): void {
    this.#detail = { ...this.#detail, ...detail };
  }

  /** The pending and outcome events, to be committed together with the change. */
  changeEvents(): readonly AuditEvent[] {
    return this.outcomeEvents("success");
  }

  /** The same for a staged change; empty after the first call. */
  stagedEvents(): readonly AuditEvent[] {
    if (this.staged) return [];
    this.staged = true;
    return this.changeEvents();
  }

  /** The pending and outcome events of a read or a refused item. Empty for items that leave no evidence. */
  outcomeEvents(outcome: AuditEvent["outcome"], reason?: string): readonly AuditEvent[] {
    return [...this.#event("pending"), ...this.#event(outcome, reason)];
  }

  /** Events of the transitions that planned dates caused; any reader may find them. */
  dateEvents({ facts: old, uniqueIdentifier }: ManagedObject, facts: Facts): readonly AuditEvent[] {
    const actions = {
      activated: "kmip-key.activate",
      deactivated: "kmip-key.deactivate",
    } as const;
    return (["activated", "deactivated"] as const)
      .filter((fact) => old[fact] === undefined && facts[fact] !== undefined)
      .map((fact) => ({
        ...this.#base,
        action: actions[fact],
        outcome: "success",
        initiator: "planned-date",
        target: uniqueIdentifier,
      }));
  }

  #event(outcome: AuditEvent["outcome"], reason?: string): readonly AuditEvent[] {
    if (this.#action === undefined) return [];
    return [
      {
        time: this.#base.time,
        action: this.#action,
        outcome,
        initiator: this.#base.initiator,
        requestId: this.#base.requestId,
        ...(this.target === undefined ? {} : { target: this.target }),
        ...(reason === undefined ? {} : { reason }),
        ...(this.#detail === undefined ? {} : { detail: this.#detail }),
      },
    ];
  }
}
