import type { SystemRecord } from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { managementEvent } from "../../audit/management-event.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import { expiryLevel } from "./expiry.ts";

export interface ExpiryDutyOptions {
  readonly region: string;
  /** The other regions that are not retired. */
  readonly others: () => readonly string[];
  readonly view: Pick<SystemView, "all" | "of">;
  readonly records: Pick<Records, "change">;
  readonly clock: { readonly wallMs: () => number; readonly monotonicMs: () => number };
  readonly requestId: () => string;
  readonly observe: NodeObserver;
}

type Certificate = SystemRecord<"Certificate">;

/** How long a region waits for the first region to report, so that not both do. */
const waitMs = 600_000;
/** Reports every certificate that ends: 45, 7 and 1 days before, and when it has, each once in the whole system. */
export class ExpiryDuty implements Duty {
  readonly name = "certificate expiry";
  readonly everyMs = 60_000;
  readonly #options: ExpiryDutyOptions;
  /** When this region first saw what another region should report. */
  readonly #seenMs = new Map<string, number>();

  constructor(options: ExpiryDutyOptions) {
    this.#options = options;
  }

  async run({ active }: DutyContext): Promise<DutyResult> {
    const nowMs = this.#options.clock.wallMs();
    let done = 0;
    let left = 0;
    for (const [entry, level] of this.#due(nowMs)) {
      if (active() && this.#isOurs(entry, level)) done += await this.#report(entry, level, nowMs);
      else left += 1;
    }
    return { done, left };
  }

  *#due(nowMs: number): Generator<readonly [Certificate, level: number]> {
    const { view } = this.#options;
    for (const one of view.all("Certificate")) {
      const level = one.destroyed === undefined ? expiryLevel(one.notAfterMs, nowMs) : undefined;
      if (level === undefined || level >= one.expiryTold) continue;
      if (view.of("Instance", one.instance).size > 0) yield [one, level];
    }
  }

  #isOurs({ id }: Certificate, level: number): boolean {
    const { region, others, clock } = this.#options;
    if (others().every((other) => region < other)) return true;
    const key = `${id} ${level}`;
    const sinceMs = this.#seenMs.get(key) ?? clock.monotonicMs();
    this.#seenMs.set(key, sinceMs);
    return clock.monotonicMs() - sinceMs >= waitMs;
  }

  async #report(entry: Certificate, level: number, nowMs: number): Promise<number> {
    const { records, region, requestId, observe } = this.#options;
    const { id, name, instance, fingerprint, notAfterMs } = entry;
    const notAfter = new Date(notAfterMs).toISOString();
    const actor = {
      principal: { name: "leader", id: `leader of ${region}` },
      requestId: requestId(),
    };
    const target = { id, name, instance };
    const detail = { fingerprint, notAfter, days: level };
    const event = managementEvent(actor, "certificate.expire", "success", target, {
      timeMs: nowMs,
      detail,
    });
    let told = false;
    await records.change(
      "Certificate",
      id,
      ({ expiryTold }) => {
        told = level < expiryTold;
        return told ? { expiryTold: level } : undefined;
      },
      [event],
    );
    this.#seenMs.delete(`${id} ${level}`);
    if (!told) return 0;
    const when = level === 0 ? "has ended" : `ends within ${level} days`;
    observe({
      type: "warning",
      message: `certificate ${name} of instance ${instance} ${when} (${notAfter}): have vCenter make a new one and add it`,
    });
    return 1;
  }
}
