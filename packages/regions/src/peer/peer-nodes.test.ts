import { setTimeout } from "node:timers/promises";
import { StoreUnavailable } from "@holdfast/engine";
import { MemoryInstanceStore, MemoryOwnStore } from "@holdfast/engine/testing";
import { Relay } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import type { PeerState } from "../ports/ports.ts";
import {
  eventually,
  TestPeerStore,
  TestPeers,
  testId,
  testObject,
} from "../testing/peer/test-peer.ts";
import { peerClientTimes } from "./client/client-times.ts";

/** Two nodes of region `b` over one store, each behind a relay, and a client of region `a`. */
async function nodes({ lateMs = 0, ...times }: { lateMs?: number; callMs?: number } = {}) {
  const instances = new MemoryInstanceStore();
  await instances.ensure("one", "one");
  const own = new MemoryOwnStore({ instances });
  const peers = new TestPeers();
  const made = await Promise.all(
    [0, 1].map(async () => {
      const store = new TestPeerStore("b", own);
      const { server } = await peers.serve(store);
      const relay = await Relay.open(server.address.port);
      return { store, server, relay, address: relay.address };
    }),
  );
  const { time } = peers;
  const timers = {
    wallMs: time.wallMs,
    monotonicMs: time.monotonicMs,
    sleep: (ms: number, signal?: AbortSignal) => time.sleep(Math.max(ms, lateMs), signal),
  };
  const client = await peers.connected(
    made.map(({ address }) => address),
    { times, timers },
  );
  const states: PeerState[] = [];
  client.onState((state) => states.push(state));
  return {
    own,
    client,
    peers,
    time,
    states,
    nodes: made as [(typeof made)[0], (typeof made)[0]],
    /** The node that is asked first, and the other. */
    first: async () => {
      const before = made.map(({ store }) => store.pushed.length);
      await client.push([testObject(testId(0))]);
      const at = made.findIndex(({ store }, index) => store.pushed.length > (before[index] ?? 0));
      return { first: made[at] ?? fail(), second: made[1 - at] ?? fail() };
    },
    async [Symbol.asyncDispose]() {
      await peers[Symbol.asyncDispose]();
      for (const { relay } of made) await relay[Symbol.asyncDispose]();
    },
  };
}

/** Waits until a node was probed so often that its probes come on a stream. */
async function probed(store: TestPeerStore): Promise<void> {
  let probes = 0;
  store.before = () => {
    probes += 1;
  };
  await eventually(() => probes > 3);
}

function fail(): never {
  throw new Error("no node took it");
}

describe("a frozen node", () => {
  test("delays a push only until the next is tried, and then not at all", async () => {
    await using all = await nodes();
    const { first, second } = await all.first();
    first.relay.cut(true);
    const outcome = all.client.push([testObject(testId(1))]);
    expect(await outcome).toEqual(["durable"]);
    expect(second.store.pushed.map((object) => object.uniqueIdentifier)).toContain(testId(1));
    await eventually(() => all.client.nodesUp === 1);
    const later = [2, 3, 4, 5, 6].map(testId);
    for (const id of later) expect(await all.client.push([testObject(id)])).toEqual(["durable"]);
    expect(all.states).toEqual([]);
    first.relay.cut(false);
    await eventually(() => all.client.nodesUp === 2);
    // What it held is joined again, which changes nothing.
    await eventually(() =>
      first.store.pushed.some((object) => object.uniqueIdentifier === testId(1)),
    );
    // The later ones were not sent to the frozen node at all.
    const held = first.store.pushed.map((object) => object.uniqueIdentifier);
    expect(later.filter((id) => held.includes(id))).toEqual([]);
  });

  test("is noticed by a process that is always late itself", async () => {
    await using all = await nodes({ lateMs: 200 });
    const { first, second } = await all.first();
    first.relay.cut(true);
    const sinceMs = all.time.monotonicMs();
    expect(await all.client.push([testObject(testId(1))])).toEqual(["durable"]);
    expect(second.store.pushed.map((object) => object.uniqueIdentifier)).toContain(testId(1));
    // Not only when the call's time was over: the next node would have none left.
    expect(all.time.monotonicMs() - sinceMs).toBeLessThan(peerClientTimes.callMs);
    await eventually(() => all.client.nodesUp === 1);
  });

  test("delays a call only until the next is tried", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    first.relay.cut(true);
    const after = testObject(testId(1));
    const outcome = all.client.remote.commit("one", [{ kind: "create", after }], []);
    expect(await outcome).toEqual({ kind: "committed" });
    first.relay.cut(false);
  });

  test("that may still reserve makes the client end the operation, which can be tried under another name", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    first.relay.cut(true);
    const [operation, another] = ["operation-1", "operation-2"] as const;
    const outcome = await all.client.reserve("one", [testId(0)], operation);
    expect(outcome).toEqual({ kind: "held", uniqueIdentifier: testId(0), operation });
    expect(await all.own.reservations()).toEqual([]);
    expect(await all.client.reserve("one", [testId(0)], another)).toEqual({ kind: "reserved" });
    first.relay.cut(false);
  });

  test("does not lose any of many pushes in flight", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    const pushes: Promise<unknown>[] = [];
    for (let round = 0; round < 40; round += 1) {
      if (round === 20) first.relay.cut(true);
      for (let at = 0; at < 20; at += 1) {
        pushes.push(all.client.push([testObject(testId(round * 20 + at))]));
      }
      await setTimeout(2);
    }
    const outcomes = await Promise.all(pushes);
    expect(outcomes).toEqual(pushes.map(() => ["durable"]));
    const seen = new Set(
      all.nodes.flatMap(({ store }) => store.pushed).map((object) => object.uniqueIdentifier),
    );
    expect(seen.size).toBe(800);
  });

  test("a slow store is not a frozen node", async () => {
    await using all = await nodes();
    const { first, second } = await all.first();
    first.store.before = async (method) => {
      if (method === "push" || method === "read") await all.time.sleep(700);
    };
    expect(await all.client.push([testObject(testId(1))])).toEqual(["durable"]);
    expect(await all.client.remote.read("one", [testId(1)])).toEqual([undefined]);
    expect(second.store.pushed).toEqual([]);
    expect(all.states).toEqual([]);
  });

  test("a hello that hangs in the store does not make the node count as gone", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    await probed(first.store);
    first.store.before = async (method) => {
      if (method === "hello" || method === "push") await all.time.sleep(1_200);
    };
    const pushed = all.client.push([testObject(testId(1))]);
    const endsMs = all.time.monotonicMs() + 1_200;
    while (all.time.monotonicMs() < endsMs) {
      expect(all.client.nodesUp).toBe(2);
      await setTimeout(5);
    }
    expect(await pushed).toEqual(["durable"]);
  });
});

describe("availability", () => {
  test("goes down when every node is silent, refuses at once then, and comes up again", async () => {
    await using all = await nodes();
    for (const { relay } of all.nodes) relay.cut(true);
    await expect(all.client.push([testObject(testId(1))])).rejects.toThrow();
    await eventually(() => all.client.state() === "down");
    const error = await all.client.push([testObject(testId(2))]).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(error).toMatchObject({ failure: "peerUnreachable" });
    await expect(all.client.remote.read("one", [testId(2)])).rejects.toMatchObject({
      failure: "peerUnreachable",
    });
    for (const { relay } of all.nodes) relay.cut(false);
    await eventually(() => all.client.state() === "up");
    expect(await all.client.push([testObject(testId(3))])).toEqual(["durable"]);
    expect(all.states).toEqual(["down", "up"]);
    const states = all.peers.events.flatMap((event) => (event.type === "peer" ? [event] : []));
    expect(states.map(({ state }) => state)).toEqual(["up", "down", "up"]);
    expect(states[1]?.reason).toMatch(/no answer for \d+ ms; .*no answer for \d+ ms/);
  });

  test("goes down at once when every node refuses", async () => {
    await using all = await nodes();
    for (const { server, relay } of all.nodes) {
      await relay[Symbol.asyncDispose]();
      await server.close();
    }
    await eventually(() => all.client.state() === "down");
    await expect(all.client.hello()).rejects.toThrow(/connection (refused|was lost)/);
  });

  test("a node that leaves does not wait for those that probe it", async () => {
    await using all = await nodes();
    const [{ server, store }] = all.nodes;
    await probed(store);
    await server.close(3_600_000);
    await eventually(() => all.client.nodesUp === 1);
  });

  test("is not affected, and no call fails, when a node leaves gracefully", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    let done = false;
    let failed = 0;
    const load = Array.from({ length: 8 }, async (_, worker) => {
      for (let at = 0; !done; at += 1) {
        const id = testId(1_000 * worker + at);
        await Promise.all([
          all.client.push([testObject(id)]),
          all.client.remote.read("one", [id]),
        ]).catch(() => {
          failed += 1;
        });
        await setTimeout(1);
      }
    });
    await all.time.sleep(100);
    await first.server.close(1_000);
    await all.time.sleep(300);
    done = true;
    await Promise.all(load);
    expect(failed).toBe(0);
    expect(all.states).toEqual([]);
  });
});

describe("a change that may have been made", () => {
  test("counts as made when the record shows it", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    // The change is made, and then the node freezes before it answers.
    first.store.before = async (method) => {
      if (method === "committed") {
        first.relay.cut(true);
        await all.time.sleep(3_000);
      }
    };
    const after = testObject(testId(1));
    const outcome = all.client.remote.commit("one", [{ kind: "create", after }], []);
    expect(await outcome).toEqual({ kind: "committed", regions: ["b"] });
    first.relay.cut(false);
  });

  test("counts as unknown where the record has changed again", async () => {
    await using all = await nodes();
    const { first } = await all.first();
    const after = testObject(testId(1));
    first.store.before = async (method) => {
      if (method !== "committed") return;
      const [stored] = await all.own.read("one", [testId(1)]);
      const next = { ...after, lastChange: after.lastChange + 1 };
      if (stored)
        await all.own.commit("one", [{ kind: "update", before: stored, after: next }], []);
      first.relay.cut(true);
      await all.time.sleep(3_000);
    };
    const outcome = all.client.remote.commit("one", [{ kind: "create", after }], []);
    await expect(outcome).rejects.toMatchObject({ failure: "timeout" });
    first.relay.cut(false);
  });

  test("is a conflict for certain where no other node was asked", async () => {
    await using all = await nodes();
    const after = testObject(testId(1));
    await all.own.commit("one", [{ kind: "create", after }], []);
    expect(await all.client.remote.commit("one", [{ kind: "create", after }], [])).toMatchObject({
      kind: "conflict",
    });
  });

  test("is requested from the next node where one has no lease", async () => {
    await using all = await nodes();
    const { first, second } = await all.first();
    first.store.before = () => {
      throw new StoreUnavailable("noLease", "no lease");
    };
    expect(await all.client.push([testObject(testId(1))])).toEqual(["durable"]);
    expect(await all.client.remote.read("one", [testId(1)])).toEqual([undefined]);
    const large = testObject(testId(1), { bytes: 600_000 });
    expect(await all.client.push([large])).toEqual(["durable"]);
    // And is not asked first again for a while.
    let asked = 0;
    first.store.before = (method) => {
      if (method !== "hello") asked += 1;
      throw new StoreUnavailable("noLease", "no lease");
    };
    for (let at = 0; at < 5; at += 1) {
      expect(await all.client.remote.read("one", [testId(1)])).toEqual([undefined]);
    }
    expect(asked).toBe(0);
    second.store.before = first.store.before;
    await expect(all.client.push([testObject(testId(1))])).rejects.toMatchObject({
      failure: "noLease",
    });
    expect(all.client.state()).toBe("up");
  });
});

describe("deadlines", () => {
  test("end calls to a store that never answers", async () => {
    await using all = await nodes({ callMs: 500 });
    for (const { store } of all.nodes) {
      store.before = (method) => (method === "hello" ? undefined : new Promise(() => undefined));
    }
    const calls = [
      all.client.push([testObject(testId(1))]),
      all.client.fetch("one", [testId(1)]),
      all.client.kek("one", "k"),
      all.client.changes(1, 0, 1, 1),
      all.client.remote.read("one", [testId(1)]),
      all.client.remote.commit("one", [{ kind: "create", after: testObject(testId(1)) }], []),
      all.client.write("one", [], [], "operation"),
    ];
    const errors = await Promise.all(calls.map((call) => call.catch((error: unknown) => error)));
    for (const error of errors) expect(error).toMatchObject({ failure: "peerUnreachable" });
  });
});

test("a region that could not be reached from the start is reported once, with the reason", async () => {
  const nobody = "connection refused: nothing listens there";
  await using peers = new TestPeers();
  const client = peers.connect(["127.0.0.1:1", "127.0.0.1:2"]);
  await eventually(() => peers.events.some((event) => event.type === "peer"));
  const refused = await peers.time
    .sleep(300)
    .then(() => client.hello().catch((error: Error) => error));
  expect(peers.events.filter((event) => event.type === "peer")).toEqual([
    {
      type: "peer",
      region: "b",
      state: "down",
      reason: `127.0.0.1:1, 127.0.0.1:2: ${nobody}`,
    },
  ]);
  expect(String(refused)).toContain(
    `region b cannot be asked: 127.0.0.1:1, 127.0.0.1:2: ${nobody}`,
  );
});
