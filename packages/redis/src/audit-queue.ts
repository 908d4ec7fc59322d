import { type AuditEvent, partitionOf, StoreUnavailable } from "@holdfast/engine";
import { partitionKeys } from "./keys.ts";
import type { StoreContext, Tenure } from "./tenure.ts";
import type { Tenures } from "./tenures.ts";

/** How long events gather before they are appended. */
const batchMs = 20;
/** And how long until the next try when Redis takes none. */
const retryMs = 250;
const eventsPerScript = 500;

interface Waiting {
  readonly instance: string;
  readonly event: AuditEvent;
}

/**
 * Audit events that belong to no change. They are gathered for a moment and appended together; while Redis takes none they
 * wait, a bounded number of them, and what is lost then is said.
 */
export class AuditQueue {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  /** Redis took none at the last try. */
  #late = false;

  constructor(context: StoreContext, tenures: Tenures) {
    this.#context = context;
    this.#tenures = tenures;
  }

  /** See `ObjectStore.appendAudit`. */
  async append(instance: string, events: readonly AuditEvent[], strict: boolean): Promise<void> {
    if (events.length === 0) return;
    if (strict) {
      const tenure = this.#tenures.now("write") ?? (await this.#tenures.require("write"));
      await this.#send(tenure, instance, events, false);
      return;
    }
    for (const event of events) this.#waiting.push({ instance, event });
    this.#shorten();
    this.#schedule(batchMs);
  }

  /** Appends what waits, if Redis takes it. */
  async drain(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#flushing;
    await this.#flush();
    clearTimeout(this.#timer);
    if (this.#waiting.length > 0) this.#lost(this.#waiting.length);
    this.#waiting = [];
  }

  #schedule(ms: number): void {
    if (this.#timer !== undefined || this.#flushing !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flushing = this.#flush().finally(() => {
        this.#flushing = undefined;
        if (this.#waiting.length > 0) this.#schedule(this.#late ? retryMs : batchMs);
      });
    }, ms);
  }

  async #flush(): Promise<void> {
    // The local disk is enough: nothing is promised by these events.
    const tenure = this.#tenures.now("read");
    this.#late = tenure === undefined;
    if (tenure === undefined || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    const failed = await Promise.all(
      groups(waiting).map(async ({ instance, events }) => {
        try {
          await this.#send(tenure, instance, events, true);
          return [];
        } catch {
          return events.map((event) => ({ instance, event }));
        }
      }),
    );
    this.#waiting = [...failed.flat(), ...this.#waiting];
    this.#late = failed.some((group) => group.length > 0);
    this.#shorten();
  }

  async #send(
    tenure: Tenure,
    instance: string,
    events: readonly AuditEvent[],
    localEnough: boolean,
  ): Promise<void> {
    const { scripts, settings } = this.#context;
    const partition = partitionOf(instance);
    const { head, counters, audit } = partitionKeys(partition);
    const keys = [head, counters, audit];
    // One text, since an argument for each event costs more than the event; JSON has no line breaks of its own.
    const lines = events.map((event) => JSON.stringify(event)).join("\n");
    const args = [String(settings.auditEntriesMax), instance, lines];
    const script = scripts["append-audit"];
    const reply = await tenure.committer.submit(script, partition, keys, args, { localEnough });
    if (reply.result !== "committed") {
      throw new StoreUnavailable("corrupt", `append-audit.lua answered ${reply.result}`);
    }
  }

  #shorten(): void {
    const over = this.#waiting.length - this.#context.settings.auditQueueMax;
    if (over <= 0) return;
    this.#waiting = this.#waiting.slice(over);
    this.#lost(over);
  }

  #lost(count: number): void {
    const message = `${count} audit events of reads were lost: Redis took none for too long`;
    this.#context.observe({ type: "warning", message });
  }
}

/** The events of each instance, in order, in portions that one script takes. */
function groups(
  waiting: readonly Waiting[],
): readonly { readonly instance: string; readonly events: readonly AuditEvent[] }[] {
  const portions: { readonly instance: string; readonly events: AuditEvent[] }[] = [];
  const open = new Map<string, AuditEvent[]>();
  for (const { instance, event } of waiting) {
    const events = open.get(instance);
    if (events !== undefined && events.length < eventsPerScript) {
      events.push(event);
      continue;
    }
    const begun = [event];
    open.set(instance, begun);
    portions.push({ instance, events: begun });
  }
  return portions;
}
