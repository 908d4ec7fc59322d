import { randomUUID } from "node:crypto";
import {
  type AuditEvent,
  type AuditStanding,
  type Event,
  partitionOf,
  StoreUnavailable,
  systemInstance,
  trailsOf,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test } from "vitest";
import { VirtualTime } from "../../testing/leader/test-leader.ts";
import { termOf } from "../../testing/leader/test-peer.ts";
import type { Duty, DutyResult } from "../duty.ts";
import { AuditChain } from "./audit-chain.ts";
import { chainPoint } from "./audit-points.ts";
import { AuditRetention, type AuditRetentionOptions } from "./audit-retention.ts";
import { AuditShip, type AuditSink, type ChainedEntry } from "./audit-ship.ts";

const instance: string = randomUUID();
const partition = partitionOf(instance);
const [, surplus = 0] = trailsOf(instance);
const neighbour = idWhere((id) => partitionOf(id) === partition);
const elsewhere = idWhere((id) => partitionOf(id) !== partition);

function idWhere(is: (id: string) => boolean): string {
  for (;;) {
    const id = randomUUID();
    if (is(id)) return id;
  }
}

let time: VirtualTime;
let own: MemoryOwnStore;
let events: Event[];
/** While it is set, barriers fail. */
let cut: boolean;

beforeEach(() => {
  time = new VirtualTime();
  events = [];
  cut = false;
  own = new MemoryOwnStore({
    auditEntriesMax: 1_024,
    barrier: async () => {
      if (cut) throw new StoreUnavailable("timeout", "no barrier");
    },
  });
});

const observe = (event: Event): number => events.push(event);

function chain(): AuditChain {
  return new AuditChain({ log: own.audit, store: own, timers: time, observe });
}

function retention(
  more: Partial<
    Pick<AuditRetentionOptions, "sinks" | "ageMs" | "store"> &
      Record<"bytesMax" | "hardMax", number>
  > = {},
) {
  const { sinks = [], ageMs = 1e12, bytesMax = 1e12, hardMax = 1e12, store = own } = more;
  const bounds = async () => ({ bytesMax, hardMax });
  return new AuditRetention({
    log: own.audit,
    store,
    timers: time,
    observe,
    sinks,
    ageMs,
    bounds,
  });
}

class MemorySink implements AuditSink {
  readonly name: string;
  readonly got: ChainedEntry[] = [];
  down = false;

  constructor(name = "memory") {
    this.name = name;
  }

  async deliver(entries: readonly ChainedEntry[]): Promise<void> {
    if (this.down) throw new Error("the sink is out");
    this.got.push(...entries);
  }
}

const ship = (sink: AuditSink) =>
  new AuditShip({ log: own.audit, store: own, sink, timers: time, observe });

async function append(count: number, of: string = instance): Promise<void> {
  const all = Array.from({ length: count }, (): AuditEvent => {
    const fixed = { action: "a", outcome: "success", initiator: "i", requestId: "r" } as const;
    return { time: time.wallMs(), ...fixed };
  });
  await own.appendAudit(of, all);
}

/** One run of a duty, which may wait with `Timers`. */
async function run(duty: Duty, epoch = 1): Promise<DutyResult> {
  const running = duty.run(termOf(epoch));
  let over = false;
  const ended = (): void => {
    over = true;
  };
  running.then(ended, ended);
  for (let rounds = 0; !over && rounds < 10_000; rounds += 1) await time.run(0);
  return running;
}

async function standing(at = partition) {
  const found = (await own.audit.standings())[at];
  if (found === undefined) throw new Error("no trail");
  return found;
}

function sizeOf({ head, base }: AuditStanding): number {
  return head.bytes - base.bytes + 64 * (head.number - base.number);
}

/** What the chain must be, from the trail's beginning. */
async function computed(at = partition): Promise<string> {
  const { base, head } = await standing(at);
  const range = { from: { after: base.number }, limit: 1_000, covered: false };
  const entries = await own.audit.entries(at, range);
  const inside = entries.filter(({ number }) => number <= head.number);
  return hex(inside.reduce(chainPoint, base).hash);
}

/** Changes the time of an entry. */
async function tamper(number: number): Promise<void> {
  const range = { from: { after: number - 1 }, limit: 1, covered: false };
  const [entry] = await own.audit.entries(partition, range);
  const bytes = Uint8Array.from(entry?.bytes ?? []);
  bytes[7] = (bytes[7] ?? 0) ^ 1;
  own.audit.tamper(partition, number, bytes);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const numbers = (entries: readonly { readonly number: number }[]) =>
  entries.map(({ number }) => number);
const upTo = (last: number, first = 1) =>
  Array.from({ length: last - first + 1 }, (_, at) => first + at);

describe("the chain", () => {
  test("includes every partition's entries in order, and continues where it stopped", async () => {
    await append(300);
    await append(2, systemInstance);
    expect(await run(chain())).toEqual({ done: 302, left: 0 });
    expect((await standing()).head.number).toBe(300);
    expect(await computed()).toBe(hex((await standing()).head.hash));
    expect(await run(chain())).toEqual({ done: 0, left: 0 });
    await append(1);
    // Another leader.
    expect(await run(chain(), 2)).toEqual({ done: 1, left: 0 });
    expect(await computed()).toBe(hex((await standing()).head.hash));
    await append(1);
    await expect(run(chain(), 1)).rejects.toMatchObject({ failure: "deposed" });
    expect((await standing()).head.number).toBe(301);
  });

  test("includes only covered entries: after a fail-over the other numbers are used again", async () => {
    await append(3);
    await run(chain());
    cut = true;
    await append(2);
    const { extend } = own.audit;
    own.audit.extend = (...given) => {
      // A fail-over after the entries were read takes them back.
      own.failOver("another", { lossy: true });
      cut = false;
      return extend.apply(own.audit, given);
    };
    await expect(run(chain())).rejects.toMatchObject({ failure: "timeout" });
    Reflect.deleteProperty(own.audit, "extend");
    own.failOver("other", { lossy: true });
    cut = false;
    expect(await standing()).toMatchObject({ last: 3, head: { number: 3 } });
    await time.run(5);
    await append(4);
    expect(await run(chain(), 2)).toEqual({ done: 4, left: 0 });
    expect(await computed()).toBe(hex((await standing()).head.hash));
  });

  test("continues after entries that the store dropped, and writes an audit event about them", async () => {
    await append(2_000);
    expect((await standing()).dropped).toBe(768);
    await run(chain());
    await run(chain());
    const { base, head } = await standing();
    expect([base.number, head.number]).toEqual([768, 2_000]);
    expect(events).toContainEqual({
      type: "auditLost",
      entries: 768,
      reason: "before they were chained",
    });
    expect(own.auditOf(systemInstance)).toMatchObject([
      { action: "audit.drop", detail: { partition, from: 1, to: 768 } },
    ]);
  });

  test("reports entries that somebody removed before they were chained", async () => {
    await append(5);
    await run(chain());
    await append(5);
    own.audit.tamper(partition, 7, undefined);
    await run(chain());
    await run(chain());
    expect((await standing()).head.number).toBe(10);
    expect((await standing()).base.number).toBe(0);
    expect(own.auditOf(systemInstance)[0]).toMatchObject({ action: "audit.damage" });
    expect(events[0]).toMatchObject({ type: "auditFault", partition });
  });
});

describe("shipping", () => {
  test("gives a sink everything once, in order, with its place in the chain", async () => {
    const sink = new MemorySink();
    await append(1_200);
    await run(chain());
    await run(chain());
    for (let round = 0; round < 3; round += 1) await run(ship(sink));
    expect(numbers(sink.got)).toEqual(upTo(1_200));
    expect(await run(ship(sink))).toEqual({ done: 0, left: 0 });
    const { head } = await standing();
    expect(hex(sink.got.at(-1)?.hash ?? new Uint8Array())).toBe(hex(head.hash));
    await append(1);
    // What is not chained yet waits.
    expect(await run(ship(sink))).toEqual({ done: 0, left: 0 });
    await run(chain());
    await run(ship(sink));
    expect(sink.got.at(-1)).toMatchObject({ number: 1_201, partition, storeId: "memory" });
  });

  test("delivers at least once: entries that did not arrive, or were not noted, come again", async () => {
    const sink = new MemorySink();
    const other = new MemorySink("other");
    await append(3);
    await run(chain());
    sink.down = true;
    await expect(run(ship(sink))).rejects.toThrow("out");
    await run(ship(other));
    expect(numbers(other.got)).toEqual([1, 2, 3]);
    expect(events.filter(({ type }) => type === "auditSink")).toMatchObject([
      { sink: "memory", ok: false, behind: 3 },
      { sink: "other", ok: true, entries: 3, behind: 0 },
    ]);
    sink.down = false;
    cut = true;
    await expect(run(ship(sink))).rejects.toMatchObject({ failure: "timeout" });
    own.failOver("other", { lossy: true });
    cut = false;
    await run(ship(sink), 2);
    expect(numbers(sink.got)).toEqual([1, 2, 3, 1, 2, 3]);
    expect(hex(sink.got[2]?.hash ?? Buffer.of(1))).toBe(hex(sink.got[5]?.hash ?? Buffer.of(2)));
  });

  test("reports entries that were dropped before the sink had them, and continues", async () => {
    const sink = new MemorySink();
    await append(10);
    await run(chain());
    await run(ship(sink));
    sink.down = true;
    for (let round = 0; round < 8; round += 1) {
      await append(250);
      await run(chain());
    }
    sink.down = false;
    const { dropped } = await standing();
    expect(dropped).toBe(768);
    while ((await run(ship(sink))).left > 0);
    expect(numbers(sink.got)).toEqual([...upTo(10), ...upTo(2_010, dropped + 1)]);
    expect(events).toContainEqual({
      type: "auditLost",
      entries: dropped - 10,
      reason: "before sink memory had them",
    });
    const { head } = await standing();
    expect(hex(sink.got.at(-1)?.hash ?? new Uint8Array())).toBe(hex(head.hash));
  });

  test("each loss of a sink that is down gets one event, and a full store does not stop the delivery", async () => {
    const sink = new MemorySink();
    let isFull = true;
    const appendAudit: typeof own.appendAudit = async (...given) => {
      if (isFull) throw new StoreUnavailable("full", "Redis is at maxmemory");
      await own.appendAudit(...given);
    };
    const duty = new AuditShip({
      log: own.audit,
      store: { appendAudit },
      sink,
      timers: time,
      observe,
    });
    await append(10);
    await run(chain());
    await run(duty);
    sink.down = true;
    for (let round = 0; round < 8; round += 1) {
      await append(250);
      await run(chain());
      await expect(run(duty)).rejects.toThrow("the sink is out");
    }
    const { dropped } = await standing();
    const lost = events.flatMap((event) => (event.type === "auditLost" ? event : []));
    expect(lost.reduce((sum, { entries }) => sum + entries, 0)).toBe(dropped - 10);
    sink.down = false;
    while ((await run(duty)).left > 0);
    expect(numbers(sink.got)).toEqual([...upTo(10), ...upTo(2_010, dropped + 1)]);
    const told = () => own.auditOf(systemInstance).filter(({ action }) => action === "audit.drop");
    expect(told()).toEqual([]);
    isFull = false;
    await run(duty);
    await run(duty);
    const [event] = told();
    expect(told()).toHaveLength(1);
    expect(event?.detail).toMatchObject({ partition, from: 11, to: dropped, sink: "memory" });
  });

  test("reports that an entry is not the one that was chained", async () => {
    await append(3);
    await run(chain());
    await tamper(2);
    await run(ship(new MemorySink()));
    expect(events).toContainEqual(expect.objectContaining({ type: "auditFault", partition }));
  });
});

describe("retention", () => {
  test("removes entries by age, and the chain continues where the rest begins", async () => {
    await append(300);
    await time.run(10_000);
    await append(5);
    await run(chain());
    expect(await run(retention({ ageMs: 9_000 }))).toMatchObject({ done: 300 });
    const { base } = await standing();
    expect(base.number).toBe(300);
    await append(1);
    await run(chain(), 2);
    expect(await computed()).toBe(hex((await standing()).head.hash));
    expect(await run(retention({ ageMs: 9_000 }))).toMatchObject({ done: 0 });
  });

  test("removes entries by size", async () => {
    await append(600);
    await run(chain());
    const { head } = await standing();
    const bytesMax = (head.bytes + 600 * 64) / 2;
    const done = (await run(retention({ bytesMax }))).done;
    expect(done).toBeGreaterThanOrEqual(299);
    expect(done).toBeLessThanOrEqual(301);
  });

  test("keeps entries that are not chained, or that a sink lacks", async () => {
    const [fast, slow] = [new MemorySink("fast"), new MemorySink("slow")];
    await append(10);
    await run(chain());
    await run(ship(fast));
    await append(10);
    await time.run(10_000);
    const all = retention({ ageMs: 1, sinks: ["fast", "slow"], bytesMax: 1 });
    expect((await run(all)).done).toBe(0);
    await run(ship(slow));
    expect((await run(all)).done).toBe(10);
    await run(chain());
    expect((await run(all)).done).toBe(0);
    expect((await run(retention({ ageMs: 1 }))).done).toBe(10);
  });

  test("also removes entries that a sink lacks beyond the hard bound, and that is reported", async () => {
    const slow = new MemorySink("slow");
    await append(10);
    await run(chain());
    await run(ship(slow));
    slow.down = true;
    await append(590);
    await run(chain());
    const { head } = await standing();
    const half = (head.bytes + 600 * 64) / 2;
    const soft = retention({ sinks: ["slow"], bytesMax: half });
    expect((await run(soft)).done).toBe(10);
    expect((await run(soft)).done).toBe(0);
    const hard = retention({ sinks: ["slow"], bytesMax: half, hardMax: half });
    expect((await run(hard)).done).toBeGreaterThanOrEqual(289);
    slow.down = false;
    await run(ship(slow));
    expect(events).toContainEqual(expect.objectContaining({ type: "auditLost" }));
  });

  test("at the size bound, what an instance does last, beyond its share, does not go before what is older", async () => {
    await append(3, neighbour);
    await append(256);
    await run(chain());
    const all = async () =>
      (await own.audit.standings()).reduce((sum, one) => sum + sizeOf(one), 0);
    // The store has been full of events for a while.
    const duty = retention({ bytesMax: await all() });
    for (let round = 0; round < 3; round += 1) {
      await time.run(1_000);
      await append(20);
      await append(50, elsewhere);
      await run(chain());
      await run(duty);
    }
    const times = own.auditOf(instance).map(({ time: at }) => at);
    expect(Math.max(...times)).toBe(time.wallMs());
    expect(times).toHaveLength(256 + 60 - (await standing()).base.number + 3);
    expect((await standing(surplus)).base.number).toBe(0);
    // It is told, but not again and again.
    const drops = () => own.auditOf(systemInstance).filter(({ action }) => action === "audit.drop");
    expect(drops()).toMatchObject([{ detail: { partition, from: 1 } }]);
    await time.run(3_600_000);
    await run(duty);
    const last = Number(drops()[0]?.detail?.["to"]);
    expect(drops()).toHaveLength(2);
    expect(drops()[1]?.detail).toEqual({
      ...{ partition, from: last + 1, to: (await standing()).base.number },
    });
  });

  test("without a sink, a full store is trimmed, and what it gave up is told when there is room", async () => {
    await append(3, neighbour);
    for (let round = 0; round < 10; round += 1) {
      await append(256);
      await run(chain());
    }
    await append(300, elsewhere);
    await run(chain());
    const { dropped } = await standing(surplus);
    expect(dropped).toBeGreaterThan(0);
    let isFull = true;
    const store = {
      appendAudit: async (...given: Parameters<typeof own.appendAudit>) => {
        if (isFull) throw new StoreUnavailable("full", "the store is full");
        await own.appendAudit(...given);
      },
    };
    const duty = retention({ ageMs: 0, store });
    await time.run(1);
    await run(duty);
    expect((await standing(partitionOf(elsewhere))).base.number).toBe(300);
    expect((await standing(surplus)).base.number).toBeGreaterThanOrEqual(dropped);
    expect(own.auditOf(systemInstance)).toEqual([]);
    isFull = false;
    for (let round = 0; round < 2; round += 1) await run(duty);
    expect(own.auditOf(systemInstance)).toMatchObject([
      { action: "audit.drop", detail: { partition: surplus, from: 1, to: dropped } },
    ]);
    expect(events.filter(({ type }) => type === "auditLost")).toHaveLength(1);
  });

  test("tells what the store gave up before it forgets which entries these are", async () => {
    await append(3, neighbour);
    for (let round = 0; round < 10; round += 1) {
      await append(256);
      await run(chain());
    }
    const { dropped } = await standing(surplus);
    const { trim } = own.audit;
    own.audit.trim = () => Promise.reject(new StoreUnavailable("timeout", "the node ends here"));
    await expect(run(retention())).rejects.toMatchObject({ failure: "timeout" });
    own.audit.trim = trim;
    const told = { action: "audit.drop", detail: { partition: surplus, from: 1, to: dropped } };
    expect(own.auditOf(systemInstance)).toMatchObject([told]);
  });

  test("keeps, as evidence, entries at the beginning that differ from those that were chained", async () => {
    await append(300);
    await run(chain());
    await time.run(10_000);
    await tamper(100);
    expect((await run(retention({ ageMs: 1 }))).done).toBe(0);
    expect(events).toContainEqual(expect.objectContaining({ type: "auditFault", partition }));
  });

  test("also begins where the store dropped entries", async () => {
    for (let round = 0; round < 9; round += 1) {
      await append(250);
      await run(chain());
    }
    const { dropped, base } = await standing();
    expect([dropped, base.number]).toEqual([1_024, 0]);
    await time.run(10_000);
    await append(1);
    await run(chain());
    expect((await run(retention({ ageMs: 9_000 }))).done).toBe(2_250 - 1_024);
    expect((await standing()).base.number).toBe(2_250);
    expect(await computed()).toBe(hex((await standing()).head.hash));
  });
});
