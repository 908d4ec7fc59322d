import { type AuditEvent, encodeAudit, partitionOf, StoreUnavailable } from "@holdfast/engine";
import { partitionKeys } from "../connection/keys.ts";
import type { PrimarySession, StoreContext } from "../session/primary-session.ts";
import type { PrimarySessions } from "../session/primary-sessions.ts";

/** How long events are collected before they are appended. */
const batchMs = 20;
/** How long until the next try when Redis accepts none. */
const retryMs = 250;
const entriesPerScript = 500;

interface Waiting {
  readonly partition: number;
  readonly entry: Buffer;
}

/**
 * Audit events that belong to no change. They are collected for a moment and appended together.
 * While Redis accepts none, a bounded number of them wait; older ones are dropped, and a warning
 * says how many.
 */
export class AuditQueue {
  readonly #context: StoreContext;
  readonly #sessions: PrimarySessions;
  #waiting: Waiting[] = [];
  #cancel: (() => void) | undefined;
  #flushing: Promise<void> | undefined;
  /** Whether the last try could not append every event. */
  #late = false;

  constructor(context: StoreContext, sessions: PrimarySessions) {
    this.#context = context;
    this.#sessions = sessions;
  }

  /** See `ObjectStore.appendAudit`. */
  readonly appendAudit = async (
    instance: string,
    events: readonly AuditEvent[],
    strict: boolean,
  ): Promise<void> => {
    if (events.length === 0) return;
    const partition = partitionOf(instance);
    const entries = encodeAudit(instance, events);
    if (strict) {
      const session = this.#sessions.now("write") ?? (await this.#sessions.require("write"));
      await this.#send(session, partition, entries, false);
      return;
    }
    for (const entry of entries) this.#waiting.push({ partition, entry });
    this.#shorten();
    this.#schedule(batchMs);
  };

  /** Appends what waits, if Redis accepts it; the rest is lost, with a warning. */
  async drain(): Promise<void> {
    this.#cancel?.();
    await this.#flushing;
    await this.#flush();
    this.#cancel?.();
    if (this.#waiting.length > 0) this.#lost(this.#waiting.length);
    this.#waiting = [];
  }

  #schedule(ms: number): void {
    if (this.#cancel !== undefined || this.#flushing !== undefined) return;
    this.#cancel = this.#context.settings.timers.after(ms, () => {
      this.#cancel = undefined;
      this.#flushing = this.#flush().finally(() => {
        this.#flushing = undefined;
        if (this.#waiting.length > 0) this.#schedule(this.#late ? retryMs : batchMs);
      });
    });
  }

  async #flush(): Promise<void> {
    // The local disk is enough: these events promise nothing to a client.
    const session = this.#sessions.now("read");
    this.#late = session === undefined;
    if (session === undefined || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    const failed = await Promise.all(
      portions(waiting).map(async ({ partition, entries }) => {
        try {
          await this.#send(session, partition, entries, true);
          return [];
        } catch {
          return entries.map((entry) => ({ partition, entry }));
        }
      }),
    );
    this.#waiting = [...failed.flat(), ...this.#waiting];
    this.#late = failed.some((group) => group.length > 0);
    this.#shorten();
  }

  async #send(
    session: PrimarySession,
    partition: number,
    entries: readonly Buffer[],
    localEnough: boolean,
  ): Promise<void> {
    const { scripts, settings } = this.#context;
    const { head, counters, audit, surplus, shares } = partitionKeys(partition);
    const keys = [head, counters, audit, surplus, shares];
    const args = [String(settings.auditEntriesMax), together(entries)];
    const script = scripts["append-audit"];
    const reply = await session.groupCommit.submit(script, partition, keys, args, { localEnough });
    if (reply.result !== "committed") {
      throw new StoreUnavailable("badReply", `append-audit.lua answered ${reply.result}`);
    }
  }

  #shorten(): void {
    const over = this.#waiting.length - this.#context.settings.auditQueueMax;
    if (over <= 0) return;
    this.#waiting = this.#waiting.slice(over);
    this.#lost(over);
  }

  #lost(count: number): void {
    const message = `${count} audit entries of reads were lost: Redis accepted none for too long`;
    this.#context.observe({ type: "warning", message });
  }
}

/** All entries as one argument, since an argument for each costs more than the entry itself. */
function together(entries: readonly Buffer[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => [Buffer.of(entry.length >> 8, entry.length & 0xff), entry]),
  );
}

/** The entries of each partition, in order, in portions small enough for one script. */
function portions(
  waiting: readonly Waiting[],
): readonly { readonly partition: number; readonly entries: readonly Buffer[] }[] {
  const all: { readonly partition: number; readonly entries: Buffer[] }[] = [];
  const open = new Map<number, Buffer[]>();
  for (const { partition, entry } of waiting) {
    const entries = open.get(partition);
    if (entries !== undefined && entries.length < entriesPerScript) {
      entries.push(entry);
      continue;
    }
    const begun = [entry];
    open.set(partition, begun);
    all.push({ partition, entries: begun });
  }
  return all;
}
