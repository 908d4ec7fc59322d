import { type AuditEvent, StoreUnavailable } from "@holdfast/engine";
import { partitionKeys, partitionOf } from "./keys.ts";
import type { StoreContext, Tenure } from "./tenure.ts";
import type { Tenures } from "./tenures.ts";

/** How long events gather before they are appended. */
const batchMs = 20;
/** And how long until the next try when Redis takes none. */
const retryMs = 250;
const eventsPerScript = 500;

interface Line {
  readonly instance: string;
  readonly text: string;
}

/**
 * Audit events that belong to no change. They are gathered for a moment and appended together; while Redis takes none they
 * wait, a bounded number of them, and what is lost then is said.
 */
export class AuditQueue {
  readonly #context: StoreContext;
  readonly #tenures: Tenures;
  #lines: Line[] = [];
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
    const texts = events.map((event) => JSON.stringify(event));
    if (strict) {
      const tenure = this.#tenures.now("write") ?? (await this.#tenures.require("write"));
      await this.#send(tenure, instance, texts, false);
      return;
    }
    this.#lines.push(...texts.map((text) => ({ instance, text })));
    this.#shorten();
    this.#schedule(batchMs);
  }

  /** Appends what waits, if Redis takes it. */
  async drain(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#flushing;
    await this.#flush();
    clearTimeout(this.#timer);
    if (this.#lines.length > 0) this.#lost(this.#lines.length);
    this.#lines = [];
  }

  #schedule(ms: number): void {
    if (this.#timer !== undefined || this.#flushing !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flushing = this.#flush().finally(() => {
        this.#flushing = undefined;
        if (this.#lines.length > 0) this.#schedule(this.#late ? retryMs : batchMs);
      });
    }, ms);
  }

  async #flush(): Promise<void> {
    // The local disk is enough: nothing is promised by these events.
    const tenure = this.#tenures.now("read");
    this.#late = tenure === undefined;
    if (tenure === undefined || this.#lines.length === 0) return;
    const lines = this.#lines;
    this.#lines = [];
    const failed = await Promise.all(
      groups(lines).map(async ({ instance, texts }) => {
        try {
          await this.#send(tenure, instance, texts, true);
          return [];
        } catch {
          return texts.map((text) => ({ instance, text }));
        }
      }),
    );
    this.#lines = [...failed.flat(), ...this.#lines];
    this.#late = failed.some((group) => group.length > 0);
    this.#shorten();
  }

  async #send(
    tenure: Tenure,
    instance: string,
    texts: readonly string[],
    localEnough: boolean,
  ): Promise<void> {
    const { scripts, settings } = this.#context;
    const partition = partitionOf(instance);
    const { head, counters, audit } = partitionKeys(partition);
    const keys = [head, counters, audit];
    const args = [String(settings.auditEntriesMax), instance, ...texts];
    const script = scripts["append-audit"];
    const reply = await tenure.committer.submit(script, partition, keys, args, localEnough);
    if (reply.result !== "committed") {
      throw new StoreUnavailable("corrupt", `append-audit.lua answered ${reply.result}`);
    }
  }

  #shorten(): void {
    const over = this.#lines.length - this.#context.settings.auditQueueMax;
    if (over <= 0) return;
    this.#lines = this.#lines.slice(over);
    this.#lost(over);
  }

  #lost(count: number): void {
    const message = `${count} audit events of reads were lost: Redis took none for too long`;
    this.#context.observe({ type: "warning", message });
  }
}

/** The events of each instance, in order, in portions that one script takes. */
function groups(
  lines: readonly Line[],
): readonly { readonly instance: string; readonly texts: readonly string[] }[] {
  const portions: { readonly instance: string; readonly texts: string[] }[] = [];
  const open = new Map<string, string[]>();
  for (const { instance, text } of lines) {
    const texts = open.get(instance);
    if (texts !== undefined && texts.length < eventsPerScript) {
      texts.push(text);
      continue;
    }
    const begun = [text];
    open.set(instance, begun);
    portions.push({ instance, texts: begun });
  }
  return portions;
}
