import { randomUUID } from "node:crypto";
import { StoreUnavailable, systemInstance, type Timers } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock as clock } from "../../base/system.ts";
import { PeerCommands } from "../../records/peer-commands.ts";
import type { CadfEvent } from "../cadf.ts";
import { eventsHandlers } from "../event-handlers.ts";
import type { EventFilters } from "./event-filters.ts";
import { PeerTrail, serveTrail } from "./peer-trail.ts";
import { AuditReader } from "./reader.ts";
import type { Trail } from "./trail.ts";
import { type EventWish, queryTrails } from "./trails.ts";

const cadfOf = (region: string) => ({ region, account: "acme", names: "current" }) as const;
const day = 86_400_000;
/** Timers for a wait without a time-out. */
const patient: Pick<Timers, "sleep"> = { sleep: () => new Promise(() => undefined) };
/** More entries than one answer of a peer can hold. */
const many = 700;

let a: MemoryOwnStore;
let b: MemoryOwnStore;
let trails: readonly Trail[];
let linked: boolean;
/** How many calls failed because of the cut. */
let cutOff: number;

beforeEach(() => {
  a = new MemoryOwnStore({ storeId: "store-a", replicationId: "store-a" });
  b = new MemoryOwnStore({ storeId: "store-b", replicationId: "store-b" });
  linked = true;
  cutOff = 0;
  const reader = (region: string, { audit: log }: MemoryOwnStore) =>
    new AuditReader({ log, cadf: cadfOf(region), clock, sharedMs: 5 });
  const unexpected = (error: unknown) => {
    throw error;
  };
  const serving = new PeerCommands({ region: "b", peers: [], unexpected });
  serveTrail(serving, reader("b", b));
  const peer = {
    region: "b",
    state: () => "up" as const,
    manage: async (command: Uint8Array) => {
      if (!linked) {
        cutOff += 1;
        throw new StoreUnavailable("peerUnreachable", "region b cannot be asked: cut off");
      }
      return await serving.answer(command);
    },
  };
  const asking = new PeerCommands({ region: "a", peers: [peer], unexpected });
  trails = [reader("a", a), new PeerTrail("b", asking, patient)];
});

async function append(own: MemoryOwnStore, instance: string, time: number): Promise<void> {
  const common = { time, action: "kmip-key.read", initiator: "ab".repeat(32), requestId: "r" };
  const name = `${own === a ? "a" : "b"}${time}`;
  const pending = { ...common, outcome: "pending", target: name } as const;
  await own.appendAudit(instance, [pending, { ...pending, outcome: "success" }]);
}

const query = (filters: EventFilters, wish: EventWish) =>
  queryTrails(trails, filters, wish, cadfOf("a"));

async function all(filters: EventFilters, limit: number, between = async () => {}) {
  const events: CadfEvent[] = [];
  const missing = new Set<string>();
  let cursor: string | undefined;
  for (let pages = 0; pages < 3_000; pages += 1) {
    const page = await query(filters, { limit, cursor });
    expect(page.events.length).toBeLessThanOrEqual(Math.max(2, limit));
    expect((page.next ?? "").length).toBeLessThan(1_024);
    events.push(...page.events);
    for (const { region } of page.missing) missing.add(region);
    cursor = page.next;
    if (cursor === undefined) return { events, missing: [...missing] };
    await between();
  }
  throw new Error("no end");
}

const told = (events: readonly CadfEvent[]) =>
  events.map(({ target, outcome }) => `${target.name} ${outcome}`);

describe("a list of two regions' events", () => {
  test("has all events of both by time, each once, in pages of any size, while others are written", async () => {
    const place = fc.record({ inA: fc.boolean(), partition: fc.nat(4), gapMs: fc.nat(400_000) });
    const shapes = fc.array(place, { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer({ min: 1, max: 30 }), async (places, limit) => {
        a.empty("store-a", "process");
        b.empty("store-b", "process");
        const instances = Array.from({ length: 5 }, () => randomUUID());
        let time = day;
        const expected: string[] = [];
        for (const { inA, partition, gapMs } of places) {
          time += gapMs + 1;
          await append(inA ? a : b, instances[partition] ?? "", time);
          expected.push(`${inA ? "a" : "b"}${time}`);
        }
        let late = 2 * day;
        const found = await all({ toMs: time }, limit, async () => {
          await append(late % 2 === 0 ? a : b, instances[0] ?? "", late);
          late += 1;
        });
        const halves = expected
          .toReversed()
          .flatMap((name) => [`${name} success`, `${name} pending`]);
        expect(told(found.events)).toEqual(halves);
        expect(found.missing).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test("has the events of more instances than a peer can be asked about, and of no others", async () => {
    const [inA, inB, other] = [randomUUID(), randomUUID(), randomUUID()];
    await append(a, inA, day);
    await append(b, inB, day + 1);
    await append(b, other, day + 2);
    const instances = [inA, inB, ...Array.from({ length: 2_000 }, () => randomUUID())];
    const { events, missing } = await all({ instances }, 10);
    expect(missing).toEqual([]);
    const names = [`b${day + 1}`, `a${day}`];
    expect(told(events)).toEqual(names.flatMap((name) => [`${name} success`, `${name} pending`]));
  });

  test("is complete even if a peer's answers are full", async () => {
    const instance = randomUUID();
    for (let at = 1; at <= many; at += 1) await append(at % 50 === 0 ? a : b, instance, at * 100);
    const { events } = await all({ instances: [instance] }, 1_000);
    const times = events.map(({ target }) => Number(target.name.slice(1)));
    expect(times).toEqual(times.toSorted((one, other) => other - one));
    expect(new Set(told(events)).size).toBe(2 * many);
  });

  test("names the region in which each event was written", async () => {
    await append(a, randomUUID(), 1);
    await append(b, randomUUID(), 2);
    const { events } = await all({}, 10);
    expect(events.map(({ region }) => region)).toEqual(["b", "b", "a", "a"]);
    expect(events[0]?.id).toMatch(/^store-b-/);
    const only = await query({}, { limit: 10, region: "b" });
    expect(told(only.events)).toEqual(["b2 success", "b2 pending"]);
  });

  test("finds one key's event of the other region after many others", async () => {
    const instance = randomUUID();
    await append(b, instance, 1);
    for (let time = 2; time <= 6_000; time += 1) await append(time % 2 ? a : b, instance, time);
    const { events } = await all({ target: "b1" }, 100);
    expect(told(events)).toEqual(["b1 success", "b1 pending"]);
  });

  test("names a missing region, and leaves it out until the list ends", async () => {
    for (const time of [1, 3, 5]) await append(a, randomUUID(), time);
    for (const time of [2, 4, 6]) await append(b, randomUUID(), time);
    const first = await query({}, { limit: 2 });
    linked = false;
    const second = await query({}, { limit: 2, cursor: first.next });
    expect(told(second.events)).toEqual(["a5 success", "a5 pending"]);
    expect(second.missing).toEqual([{ region: "b", reason: "it cannot be asked: cut off" }]);
    linked = true;
    const third = await query({}, { limit: 10, cursor: second.next });
    expect(told(third.events)).toEqual(["a3 success", "a3 pending", "a1 success", "a1 pending"]);
    expect(third.missing[0]?.reason).toContain("begin the list again");
    expect((await all({}, 10)).missing).toEqual([]);
  });

  test("has the other region's events while the own store is unavailable, and is refused without both", async () => {
    await append(b, randomUUID(), 1);
    a.setState("none");
    const { events, missing } = await query({}, { limit: 10 });
    expect(told(events)).toEqual(["b1 success", "b1 pending"]);
    expect(missing).toEqual([{ region: "a", reason: "its store cannot be read now; try again" }]);
    linked = false;
    const refused = query({}, { limit: 10 });
    await expect(refused).rejects.toMatchObject({ code: "storeUnavailable" });
    await expect(refused).rejects.toThrow(/region a: .*region b: it cannot be asked: cut off/);
  });

  test.each(["b.AAAA", "c.AAAA", ".,", "b.-,b", "a."])("refuses the cursor %s", async (cursor) => {
    await expect(query({}, { limit: 1, cursor })).rejects.toMatchObject({ code: "invalid" });
  });

  test("shows a bound token no other instance's events, whatever the peer answers", async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    await append(b, one, 1);
    await append(b, other, 2);
    await append(b, systemInstance, 3);
    expect(told((await all({ instances: [one] }, 10)).events)).toEqual([
      "b1 success",
      "b1 pending",
    ]);
    const [own, peer] = trails as readonly [Trail, Trail];
    const careless: Trail = {
      region: "b",
      page: (_, wish) => peer.page({}, wish),
      news: (_, place) => peer.news({}, place),
    };
    const page = await queryTrails(
      [own, careless],
      { instances: [one] },
      { limit: 9 },
      cadfOf("a"),
    );
    expect(told(page.events)).toEqual(["b1 success", "b1 pending"]);
  });
});

describe("a stream of two regions' events", () => {
  const following = (count: number, lastEventId?: string) => {
    const ending = new AbortController();
    const { followEvents } = eventsHandlers({
      ...{ trails: () => trails, cadf: cadfOf("a"), ...clock, followMs: 10 },
    });
    const principal = { instances: undefined };
    const call = { principal, query: {}, signal: ending.signal, lastEventId } as never;
    const events: CadfEvent[] = [];
    const done = (async () => {
      for await (const event of followEvents(call) as AsyncIterable<CadfEvent>) {
        events.push(event);
        if (events.length === count) break;
      }
      ending.abort();
      return told(events);
    })();
    return { done, events, stop: () => ending.abort() };
  };

  test("delivers what either region writes; what was written during a cut follows after it", async () => {
    const { done, events, stop } = following(Number.POSITIVE_INFINITY);
    let now = Date.now();
    // The stream begins with new events, a moment after the call.
    const hasBoth = async () => {
      for (const own of [a, b]) await append(own, randomUUID(), now++);
      return new Set(events.map(({ region }) => region)).size;
    };
    await expect.poll(hasBoth).toBe(2);
    linked = false;
    const [inB, inA] = [now++, now++];
    await append(b, randomUUID(), inB);
    await append(a, randomUUID(), inA);
    await expect.poll(() => told(events)).toContain(`a${inA} success`);
    expect(told(events)).not.toContain(`b${inB} pending`);
    linked = true;
    await expect.poll(() => told(events)).toContain(`b${inB} success`);
    expect(new Set(told(events)).size).toBe(events.length);
    stop();
    await done;
  });

  test("a stream that begins during a cut delivers what the other region writes from then on", async () => {
    linked = false;
    const { done } = following(2);
    await expect.poll(() => cutOff).toBeGreaterThan(0);
    const now = Date.now();
    await append(b, randomUUID(), now);
    linked = true;
    expect(await done).toEqual([`b${now} pending`, `b${now} success`]);
  });

  test.each(["a", "b"])(
    "a stream continues after the last event, which was one of region %s",
    async (last) => {
      const instance = randomUUID();
      const now = Date.now();
      for (const at of [0, 1, 2, 3]) await append(at % 2 === 0 ? a : b, instance, now + at);
      const { events } = await all({}, 100);
      const place = last === "a" ? `a${now} success` : `b${now + 1} success`;
      const { id } = events.find((_, at) => told(events)[at] === place) as CadfEvent;
      const { events: again, done, stop } = following(Number.POSITIVE_INFINITY, id);
      const wanted = [`a${now + 2} success`, `b${now + 3} success`];
      await expect.poll(() => told(again)).toEqual(expect.arrayContaining(wanted));
      expect(told(again)).not.toContain(place);
      stop();
      await done;
    },
  );
});
