import { StoreUnavailable } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import type { PeerHello } from "@holdfast/regions";
import { expect, test } from "vitest";
import { regionStatus, type StatusSources } from "./region-status.ts";

const hello: PeerHello = {
  region: "b",
  generation: 2,
  retired: 0,
  serving: true,
  wallMs: 10_000,
  recordFormat: 1,
  storeId: "",
  callingStores: [],
};

async function printed(differs: {
  readonly peer?: Partial<NonNullable<StatusSources["peer"]>> | null;
  readonly prepare?: (own: MemoryOwnStore) => Promise<void>;
  readonly wallMs?: () => number;
}) {
  const own = new MemoryOwnStore({ storeId: "00ff", wallMs: () => 7000 });
  await differs.prepare?.(own);
  const peer = {
    region: "b",
    state: () => "up" as const,
    hello: async () => hello,
    position: async () => ({ replicationId: "r", numbers: [7, 0, 5], operations: [] }),
    ...differs.peer,
  };
  return regionStatus({
    region: "a",
    own,
    address: "127.0.0.1:6379",
    entryOf: () => ({ generation: 1, retired: 0 }),
    peer: differs.peer === null ? undefined : peer,
    wallMs: differs.wallMs ?? (() => 10_000),
  });
}

test("two regions that are level show that all changes are read", async () => {
  const lines = await printed({
    prepare: async (own) => {
      const epoch = await own.newEpoch();
      await own.setCursor(0, "b", { replicationId: "r", number: 7 }, epoch);
      await own.setCursor(2, "b", { replicationId: "r", number: 5 }, epoch);
    },
  });
  expect(lines).toEqual([
    "region a        generation 1",
    "  store         00ff at 127.0.0.1:6379",
    "  store lease   held: reads and changes",
    "  level         yes",
    "  reservations  none",
    "  quarantine    0 records",
    "region b        generation 2",
    "  reached       yes; it serves from its own store",
    "  changes read  all",
  ]);
});

test("a region that is behind shows it, with reservations, quarantined records and a wrong clock", async () => {
  const lines = await printed({
    prepare: async (own) => {
      const epoch = await own.newEpoch();
      await own.setCursor(0, "b", { replicationId: "r", number: 4 }, epoch);
      await own.setCursor(2, "b", { replicationId: "earlier", number: 5 }, epoch);
      await own.requestResync();
      await own.reserve("i", ["00000000-0000-4000-8000-000000000000"], "operation");
      const id = "00000000-0000-4000-8000-000000000001";
      await own.quarantine("i", id, "differs", { copy: new Uint8Array(3) });
    },
    peer: { hello: async () => ({ ...hello, serving: false, retired: 1, wallMs: 12_500 }) },
  });
  expect(lines[0]).toBe("region a        generation 1, RETIRED");
  expect(lines.slice(3)).toEqual([
    "  level         no: resync 1 is asked for, 0 is done; the leader continues",
    "  reservations  1 operations hold records, the oldest for 3 s",
    "  quarantine    1 records",
    "region b        generation 2",
    "  reached       yes; it does not serve from its own store",
    "  clock         2.5 s ahead of this machine's: set both by NTP",
    "  changes read  3 are left, and 1 of 3 partitions are not compared yet",
  ]);
});

test.each([
  ["before it answered", 10_000, 13_000, undefined],
  ["when it was asked", 7000, 10_000, undefined],
  ["long before it was asked", 12_500, 14_000, "2.5 s behind"],
  ["long after it answered", 5000, 7500, "2.5 s ahead of"],
])(
  "a clock is wrong only by what a slow answer cannot explain: it was read %s",
  async (_, asked, answered, says) => {
    let now = asked;
    const slow = async () => {
      now = answered;
      return hello;
    };
    const lines = await printed({ peer: { hello: slow }, wallMs: () => now });
    const clock = lines.find((line) => line.startsWith("  clock"));
    expect(clock).toBe(says && `  clock         ${says} this machine's: set both by NTP`);
  },
);

test("each value that cannot be reached is reported by itself", async () => {
  const unreachable = async () => {
    throw new StoreUnavailable("peerUnreachable", "no node of region b answers");
  };
  const lines = await printed({ peer: { hello: unreachable, position: unreachable } });
  expect(lines.slice(6)).toEqual([
    "region b        generation 1",
    "  reached       no: no node of region b answers",
    "  changes read  not known: no node of region b answers",
  ]);
});

test("a region alone says that it has no peer", async () => {
  expect((await printed({ peer: null })).at(-1)).toMatch(
    /^alone +the configuration names no peer$/,
  );
});
