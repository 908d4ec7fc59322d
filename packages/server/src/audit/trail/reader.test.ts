import { randomUUID } from "node:crypto";
import { type AuditEvent, partitionOf, systemInstance } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock as clock } from "../../base/system.ts";
import type { CadfEvent } from "../cadf.ts";
import { eventsHandlers } from "../event-handlers.ts";
import type { EventFilters } from "./event-filters.ts";
import { type FollowOptions, followTrails } from "./follow-trails.ts";
import { AuditReader } from "./reader.ts";
import { type EventWish, queryTrails } from "./trails.ts";

const cadf = { region: "a", account: "acme", names: "current" } as const;
const sha = "ab".repeat(32);

let own: MemoryOwnStore;
let trail: AuditReader;

const reader = {
  query: (filters: EventFilters, wish: EventWish) => queryTrails([trail], filters, wish, cadf),
  follow: (filters: EventFilters, options: FollowOptions) =>
    followTrails({ trails: () => [trail], cadf, ...clock, followMs: 10 }, filters, options),
};

beforeEach(() => {
  own = new MemoryOwnStore();
  trail = new AuditReader({ log: own.audit, cadf, clock, sharedMs: 5 });
});

async function append(
  instance: string,
  times: readonly number[],
  more: Partial<AuditEvent> = {},
): Promise<void> {
  for (const time of times) {
    const event: AuditEvent = {
      ...{ time, action: "kmip-key.read", outcome: "success", initiator: sha, requestId: "r" },
      ...{ target: `t${time}`, ...more },
    };
    await own.appendAudit(instance, [event]);
  }
}

async function all(
  filters: EventFilters,
  wish: Omit<EventWish, "cursor"> & { readonly pagesMax?: number },
): Promise<{ readonly events: readonly CadfEvent[]; readonly pages: number }> {
  const events: CadfEvent[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await reader.query(filters, { ...wish, cursor });
    expect(page.events.length).toBeLessThanOrEqual(Math.max(2, wish.limit));
    events.push(...page.events);
    cursor = page.next;
    pages += 1;
    if (pages > (wish.pagesMax ?? 1_000)) throw new Error("no end");
  } while (cursor !== undefined);
  return { events, pages };
}

const names = (events: readonly CadfEvent[]) => events.map(({ target }) => target.name);
const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);

describe("a list", () => {
  test.each([1, 2, 7, 1_000])("has all partitions' events by time, %i per page", async (limit) => {
    const instances = Array.from({ length: 9 }, () => randomUUID());
    for (const time of range(1, 90)) await append(instances[time % 9] ?? "", [time]);
    await append(systemInstance, range(91, 95));
    const expected = range(1, 95).map((time) => `t${time}`);
    const newest = await all({}, { limit });
    expect(names(newest.events)).toEqual(expected.toReversed());
    const oldest = await all({}, { limit, order: "oldest" });
    expect(names(oldest.events)).toEqual(expected);
  });

  test("continues at its place while events come in, and shows no event twice", async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    await append(one, range(1, 50));
    await append(other, range(51, 100));
    const first = await reader.query({}, { limit: 30 });
    await append(one, range(101, 120));
    const second = await reader.query({}, { limit: 1_000, cursor: first.next });
    expect(names([...first.events, ...second.events])).toEqual(
      range(1, 100)
        .toReversed()
        .map((time) => `t${time}`),
    );
  });

  test("of an instance has its keys' events and those of management about it", async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    // In the order of time, as in practice: both may be in one partition.
    await append(one, [1]);
    await append(other, [2]);
    const made = { action: "instance.create", detail: { instance: one } } as const;
    await append(systemInstance, [3], made);
    await append(systemInstance, [4], { ...made, detail: { instance: other } });
    await append(one, [5]);
    const { events } = await all({ instances: [one] }, { limit: 10 });
    expect(names(events)).toEqual(["t5", "t3", "t1"]);
    expect((await all({ instances: [] }, { limit: 10 })).events).toEqual([]);
  });

  test("is filtered by time, although clocks differ", async () => {
    const hour = 3_600_000;
    const instance = randomUUID();
    const times = range(1, 400).map((at) => at * 60_000 + (at % 3) * 20_000);
    await append(instance, times);
    const filters = { fromMs: 3 * hour, toMs: 4 * hour };
    const inside = times.filter((time) => time >= filters.fromMs && time <= filters.toMs);
    for (const order of ["newest", "oldest"] as const) {
      const { events } = await all(filters, { limit: 50, order });
      expect(names(events).toSorted()).toEqual(inside.map((time) => `t${time}`).toSorted());
    }
    expect((await all({ fromMs: 1e12 }, { limit: 9 })).events).toEqual([]);
    expect((await all({ toMs: 1 }, { limit: 9 })).events).toEqual([]);
  });

  test.each<[string, EventFilters, string[]]>([
    ["action", { action: "vmware-solutions.kmip-key.create" }, ["t3"]],
    ["action without the service", { action: "kmip-key.create" }, ["t3"]],
    ["beginning of an action", { action: "kmip-key.*" }, ["t4", "t3", "t1"]],
    ["outcome", { outcome: "failure" }, ["t4"]],
    ["severity", { severity: "critical" }, ["t4"]],
    ["target", { target: "t2" }, ["t2"]],
    ["initiator by fingerprint", { initiator: "cd".repeat(32) }, ["t3"]],
    ["initiator", { initiator: `CertificateID-${sha}` }, ["t4", "t1"]],
    ["name of an initiator", { initiator: "ops" }, ["t2"]],
  ])("is filtered by %s", async (_name, filters, expected) => {
    const instance = randomUUID();
    await append(instance, [1]);
    await append(systemInstance, [2], { initiator: "ops", action: "token.create" });
    await append(instance, [3], { initiator: "cd".repeat(32), action: "kmip-key.create" });
    await append(instance, [4], { outcome: "failure", reason: "PermissionDenied" });
    expect(names((await all(filters, { limit: 10 })).events)).toEqual(expected);
  });

  test("ends a page without a match in bounded time, and says where to continue", async () => {
    await append(randomUUID(), range(1, 6_000));
    const { events, pages } = await all({ target: "t1" }, { limit: 10 });
    expect(names(events)).toEqual(["t1"]);
    expect(pages).toBe(2);
  });

  test("refuses an invalid cursor", async () => {
    await append(randomUUID(), range(1, 10));
    const { next } = await reader.query({}, { limit: 1 });
    const cursors = ["", "AAAA", `${next}AA`, next?.slice(0, -4) ?? "", "/".repeat(90)];
    for (const cursor of cursors) {
      await expect(reader.query({}, { limit: 1, cursor })).rejects.toMatchObject({
        code: "invalid",
      });
    }
    await expect(
      reader.query({}, { limit: 1, order: "oldest", cursor: next }),
    ).rejects.toMatchObject({ code: "invalid" });
    own.empty("another", "process");
    await expect(reader.query({}, { limit: 1, cursor: next })).rejects.toMatchObject({
      code: "invalid",
    });
  });

  test("has a short cursor, however many partitions there are", async () => {
    const used = new Set<number>();
    while (used.size < 64) {
      const instance = randomUUID();
      if (used.has(partitionOf(instance))) continue;
      used.add(partitionOf(instance));
      await append(instance, [1, 2]);
    }
    const { next = "" } = await reader.query({}, { limit: 1 });
    expect(next.length).toBeLessThan(360);
  });

  test("reports a damaged entry as damaged, and shows all others", async () => {
    const instance = randomUUID();
    await append(instance, [1, 2, 3]);
    own.audit.tamper(partitionOf(instance), 2, Buffer.from('{"an":"older form"}'));
    const { events } = await all({ order: "oldest" } as EventFilters, { limit: 10 });
    expect(events.map(({ action }) => action.replace("vmware-solutions.", "")).toSorted()).toEqual([
      "kmip-audit.damage",
      "kmip-key.read",
      "kmip-key.read",
    ]);
  });
});

describe("following", () => {
  async function collect(
    filters: EventFilters,
    count: number,
    work: () => Promise<void>,
    lastEventId?: string,
  ): Promise<readonly CadfEvent[]> {
    const ending = new AbortController();
    const events: CadfEvent[] = [];
    const following = (async () => {
      for await (const event of reader.follow(filters, { signal: ending.signal, lastEventId })) {
        events.push(event);
        if (events.length === count) return;
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 30));
    await work();
    await following;
    ending.abort();
    return events;
  }

  test("a stream delivers the new events that match its filter", async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    await append(one, [1, 2]);
    const events = await collect({ instances: [one] }, 3, async () => {
      await append(other, [3]);
      await append(one, [4, 5]);
      await append(one, [6]);
    });
    expect(names(events)).toEqual(["t4", "t5", "t6"]);
  });

  test("a stream continues after the last event that the follower has", async () => {
    const instance = randomUUID();
    await append(instance, range(1, 5));
    const { events } = await all({}, { limit: 10, order: "oldest" });
    const rest = await collect({}, 2, async () => undefined, events[2]?.id);
    expect(names(rest)).toEqual(["t4", "t5"]);
    // An event identifier of another store is ignored.
    const later = await collect({}, 1, () => append(instance, [6]), "other-3-1-o");
    expect(names(later)).toEqual(["t6"]);
  });

  test("a stream continues after an outage of the store", async () => {
    const instance = randomUUID();
    const events = await collect({}, 2, async () => {
      await append(instance, [1]);
      await new Promise((resolve) => setTimeout(resolve, 30));
      own.setState("none");
      await new Promise((resolve) => setTimeout(resolve, 30));
      await append(instance, [2]);
      own.setState("full");
    });
    expect(names(events)).toEqual(["t1", "t2"]);
  });

  test("a stream ends when its signal is aborted", async () => {
    const ending = new AbortController();
    const following = (async () => {
      for await (const _ of reader.follow({}, { signal: ending.signal })) throw new Error("none");
    })();
    ending.abort();
    await following;
  });
});

describe("routes", () => {
  const handlers = () => eventsHandlers({ trails: () => [trail], cadf, ...clock });
  const principal = {
    ...{ name: "ops", id: "1", role: "viewer", instances: undefined, remote: "127.0.0.1" },
  } as const;
  const callOf = (query: object, instances?: readonly string[]) =>
    ({ principal: { ...principal, instances }, query: { limit: 10, ...query } }) as never;

  test("a token that is bound to instances sees their events only", async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    await append(one, [1]);
    await append(other, [2]);
    await append(systemInstance, [3], { action: "token.create" });
    const list = async (query: object, instances?: readonly string[]) =>
      (await handlers().listEvents(callOf(query, instances))).items as unknown as CadfEvent[];
    expect(names(await list({}, [one]))).toEqual(["t1"]);
    expect(names(await list({}))).toEqual(["t3", "t2", "t1"]);
    expect(names(await list({ from: "1970-01-01T00:00:00.002Z" }))).toEqual(["t3", "t2"]);
  });

  test("a region that does not exist is refused, and a store that cannot be read is reported", async () => {
    await expect(handlers().listEvents(callOf({ region: "b" }))).rejects.toMatchObject({
      code: "invalid",
    });
    own.setState("none");
    await expect(handlers().listEvents(callOf({}))).rejects.toMatchObject({
      code: "storeUnavailable",
    });
  });
});
