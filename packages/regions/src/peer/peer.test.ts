import {
  type AuditEvent,
  decodeRecord,
  encodeRecord,
  KeyRingUnavailable,
  partitionOf,
  type StoredObject,
  type StoreFailure,
  StoreUnavailable,
  tagOf,
} from "@holdfast/engine";
import { MemoryInstanceStore, MemoryOwnStore } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import {
  eventually,
  TestPeerStore,
  TestPeers,
  testId,
  testObject,
} from "../testing/peer/test-peer.ts";

async function pair() {
  const instances = new MemoryInstanceStore();
  await instances.ensure("one", "one");
  const own = new MemoryOwnStore({ instances });
  const store = new TestPeerStore("b", own);
  const peers = new TestPeers();
  const { server, address } = await peers.serve(store);
  const client = await peers.connected([address]);
  return {
    own,
    store,
    peers,
    server,
    client,
    [Symbol.asyncDispose]: () => peers[Symbol.asyncDispose](),
  };
}

const partition = partitionOf("one");
const everything = new Uint8Array(32).fill(0xff);
const stored = (object: StoredObject["object"]): StoredObject => ({
  object: decodeRecord(encodeRecord(object)),
  tag: tagOf(encodeRecord(object)),
});
const audit: AuditEvent = {
  time: 1_700_000_000_123,
  action: "kmip.create",
  outcome: "success",
  initiator: "ab:cd",
  requestId: "r1",
  detail: { operation: "Create", size: 2.5 },
};

describe("every method", () => {
  test("manage limits the size of its request and its reply", async () => {
    await using all = await pair();
    all.store.managed = (command) => Buffer.concat([command, Buffer.from("!")]);
    expect(Buffer.from(await all.client.manage(Buffer.from("{}"))).toString()).toBe("{}!");
    await expect(all.client.manage(new Uint8Array(65_537))).rejects.toThrow("too long");
    all.store.managed = () => new Uint8Array(65_537);
    await expect(all.client.manage(new Uint8Array(1))).rejects.toThrow("cannot be read");
  });

  test("hello answers, for a retired region too", async () => {
    await using all = await pair();
    const hello = {
      ...{ region: "b", generation: 3, retired: 2, serving: true },
      ...{ wallMs: 1_234_567, recordFormat: 1, storeId: "0f".repeat(16) },
      callingStores: [{ node: "a1:5697", storeId: "ab".repeat(16) }],
    };
    expect(await all.client.hello()).toEqual(hello);
    expect(all.client.lastHello?.hello).toEqual(hello);
    const uses = all.client.storeUses().map(({ region, storeId }) => [region, storeId]);
    expect(uses).toEqual([
      ["b", "0f".repeat(16)],
      ["a", "ab".repeat(16)],
    ]);
    all.client.setRetired(true);
    expect(all.client.state()).toBe("retired");
    expect(await all.client.hello()).toEqual(hello);
    await expect(all.client.position()).rejects.toThrow("an operator retired it");
    all.client.setRetired(false);
    expect(all.client.state()).toBe("up");
  });

  test("push keeps the order", async () => {
    await using all = await pair();
    const objects = Array.from({ length: 1_000 }, (_, at) => testObject(testId(at)));
    const outcomes = await Promise.all(objects.map((object) => all.client.push([object])));
    expect(outcomes).toEqual(objects.map(() => ["durable"]));
    expect(all.store.pushed.map((object) => object.uniqueIdentifier)).toEqual(
      objects.map((object) => object.uniqueIdentifier),
    );
    expect(await all.client.push([])).toEqual([]);
  });

  test("push answers each record's outcome", async () => {
    await using all = await pair();
    const outcomes = ["durable", "reserved", "quarantined", "refused"] as const;
    all.store.push = async () => outcomes;
    const objects = outcomes.map((_, at) => testObject(testId(at)));
    expect(await all.client.push(objects)).toEqual(outcomes);
  });

  test("the methods of the remote store answer as the store does", async () => {
    await using all = await pair();
    const { remote } = all.client;
    const before = stored(testObject(testId(1)));
    const create = { kind: "create", after: before.object } as const;
    expect(await remote.commit("one", [create], [audit])).toEqual({ kind: "committed" });
    expect(all.own.auditOf("one")).toEqual([audit]);
    expect(await remote.commit("one", [create], [])).toEqual({
      kind: "conflict",
      uniqueIdentifier: testId(1),
    });
    expect(await remote.read("one", [testId(1), testId(2)])).toEqual([before, undefined]);
    const after = { ...before.object, facts: { served: { time: 5, region: "a" } } };
    expect(await remote.markServed("one", before, after)).toBe(true);
    expect(await remote.markServed("one", before, after)).toBe(false);
    const page = await remote.find("one", { live: true, destroyed: false, limit: 10 });
    expect(page.objects).toEqual([stored(after)]);
    await remote.appendAudit("one", [audit, { ...audit, target: "t", reason: "why" }], true);
    expect(all.own.auditOf("one").at(-1)).toEqual({ ...audit, target: "t", reason: "why" });
  });

  test("the methods of catch-up answer as the store does", async () => {
    await using all = await pair();
    const objects = [1, 2, 3].map((number) => testObject(testId(number)));
    for (const after of objects) await all.own.commit("one", [{ kind: "create", after }], []);
    const position = await all.own.position();
    await all.own.reserve("one", [testId(9)], "an operation");
    expect(await all.client.position()).toEqual({ ...position, operations: ["an operation"] });
    expect(await all.client.changes(partition, 1, 2, 10_000)).toEqual(
      await all.own.changes(partition, 1, 2, 10_000),
    );
    expect(await all.client.digests(partition)).toEqual(await all.own.digests(partition));
    const leaves = await all.client.leaves(partition, everything, undefined);
    expect(leaves).toEqual(await all.own.leaves(partition, everything, undefined));
    expect(leaves.leaves).toHaveLength(3);
    expect(await all.client.leaves(partition, everything, 2)).toEqual(
      await all.own.leaves(partition, everything, 2),
    );
    const ids = [testId(3), testId(9)];
    expect(await all.client.records(partition, ids)).toEqual(await all.own.records(partition, ids));
  });

  test("the methods of agreed operations reserve, write and release", async () => {
    await using all = await pair();
    const before = stored(testObject(testId(1)));
    await all.own.commit("one", [{ kind: "create", after: before.object }], []);
    const id = testId(1);
    expect(await all.client.reserve("one", [id], "operation-1")).toEqual({ kind: "reserved" });
    expect(await all.client.reserve("one", [id], "operation-2")).toEqual({
      kind: "held",
      uniqueIdentifier: id,
      operation: "operation-1",
    });
    expect(await all.client.fetch("one", [testId(2), id])).toEqual([
      undefined,
      { ...before, reserved: "operation-1" },
    ]);
    expect(
      await all.client.remote.commit("one", [{ kind: "update", before, after: before.object }], []),
    ).toMatchObject({ kind: "reserved", uniqueIdentifier: id, operation: "operation-1" });
    const after = { ...before.object, facts: { destroyed: { time: 9, region: "a" } } };
    const changes = [{ kind: "update", before, after } as const];
    expect(await all.client.write("one", changes, [audit], "operation-2")).toMatchObject({
      kind: "reserved",
    });
    expect(await all.client.write("one", changes, [audit], "operation-1")).toEqual({
      kind: "committed",
    });
    await all.client.reserve("one", [id], "operation-3");
    expect(await all.client.release("one", "operation-3")).toBe(1);
    expect(await all.client.release("one", "operation-3")).toBe(0);
    expect(await all.client.write("one", changes, [audit], "operation-3")).toMatchObject({
      kind: "reservationLost",
      uniqueIdentifier: id,
    });
  });

  test("the KEK travels sealed, and what the store handed is zeroed", async () => {
    await using all = await pair();
    const kek = Buffer.alloc(32, 0xa7);
    let handed: Uint8Array | undefined;
    all.store.kek = async () => {
      handed = Uint8Array.from(kek);
      return handed;
    };
    const copies = await copiesMade(async () => {
      expect(await all.client.kek("one", "k")).toEqual(kek);
    });
    expect(handed).toEqual(new Uint8Array(32));
    // The encoded reply, and the copy that grpc-js made of it, are among them.
    expect(copies.length).toBeGreaterThan(0);
    expect(copies.filter((copy) => copy.includes(kek)).map((copy) => copy.length)).toEqual([]);
  });
});

/** Buffers that are copied meanwhile, and those into which they are copied. */
async function copiesMade(run: () => Promise<void>): Promise<readonly Buffer[]> {
  const copies: Buffer[] = [];
  const { copy } = Buffer.prototype;
  Buffer.prototype.copy = function copying(this: Buffer, target: Uint8Array, ...range: number[]) {
    // With more arguments it is a chunk that arrived, which only Node holds.
    if (range.length === 1) copies.push(this, target as Buffer);
    return copy.call(this, target, ...range);
  };
  try {
    await run();
  } finally {
    Buffer.prototype.copy = copy;
  }
  return copies;
}

describe("failures", () => {
  const failures: readonly StoreFailure[] = [
    "noLease",
    "barrierShort",
    "timeout",
    "full",
    "notInitialised",
    "corrupt",
    "unsafe",
    "peerUnreachable",
    "noAgreement",
    "reserved",
    "deposed",
    "retired",
  ];

  test.each(failures)("%s arrives as the same failure", async (failure) => {
    await using all = await pair();
    all.store.before = () => {
      throw new StoreUnavailable(failure, "the store\nsays this: ü");
    };
    const expected = { failure, message: "region b: the store says this:  " };
    await expect(all.client.remote.read("one", [testId(1)])).rejects.toMatchObject(expected);
    await expect(all.client.push([testObject(testId(1))])).rejects.toMatchObject(expected);
    expect(
      await all.client.remote.markServed(
        "one",
        stored(testObject(testId(1))),
        testObject(testId(1)),
      ),
    ).toBe(false);
  });

  test("the refusal of a root of trust arrives as one", async () => {
    await using all = await pair();
    all.store.before = () => {
      throw new KeyRingUnavailable(true, "disabled");
    };
    const error = await all.client.kek("one", "k").catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(KeyRingUnavailable);
    expect(error).toMatchObject({ refused: true });
  });

  test("an unexpected error is reported in its own region only", async () => {
    await using all = await pair();
    all.store.before = () => {
      throw new TypeError("secret of region b");
    };
    for (const call of [
      all.client.fetch("one", [testId(1)]),
      all.client.push([testObject(testId(1))]),
    ]) {
      const error = await call.catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(StoreUnavailable);
      expect(String((error as Error).message)).not.toContain("secret");
    }
    const warnings = all.peers.events.filter((event) => event.type === "warning");
    expect(warnings.map(({ cause }) => String(cause))).toContain("TypeError: secret of region b");
  });

  test("an answer that does not fit the request is refused", async () => {
    await using all = await pair();
    all.store.fetch = async () => [];
    await expect(all.client.fetch("one", [testId(1)])).rejects.toThrow("answered another request");
    all.store.fetch = async () => [stored(testObject(testId(2)))];
    await expect(all.client.fetch("one", [testId(1)])).rejects.toThrow("answered another request");
  });

  test("a change of another instance is refused", async () => {
    await using all = await pair();
    const after = testObject(testId(1), { instance: "two" });
    await expect(all.client.remote.commit("one", [{ kind: "create", after }], [])).rejects.toThrow(
      "region b does not accept commit: a change is of another instance",
    );
  });
});

describe("what does not fit one message", () => {
  test("travels as a large message, both ways", async () => {
    await using all = await pair();
    const after = testObject(testId(1), { bytes: 5_000_000 });
    const { remote } = all.client;
    expect(await remote.commit("one", [{ kind: "create", after }], [])).toEqual({
      kind: "committed",
    });
    const [read] = await remote.read("one", [testId(1)]);
    // Compared by tag: comparing 5 MB byte by byte takes the test's whole time.
    const { tag } = stored(after);
    expect(read?.tag).toBe(tag);
    expect(tagOf(encodeRecord(read?.object ?? testObject("none")))).toBe(tag);
    expect(await all.client.push([testObject(testId(2)), after])).toEqual(["durable", "durable"]);
    expect(all.store.pushed.map((object) => object.uniqueIdentifier)).toEqual([
      testId(2),
      testId(1),
    ]);
    const page = await all.client.changes(partition, 0, 10, 1_000_000);
    expect(page.objects.map((object) => tagOf(encodeRecord(object)))).toEqual([tag]);
  });

  test("records that are too large together are asked for page by page", async () => {
    await using all = await pair();
    const asked: number[] = [];
    const large = testObject(testId(1), { bytes: 1_000_000 });
    const ids = Array.from({ length: 34 }, (_, at) => testId(at));
    // Made before, since each is 1 MB to encode and to hash.
    const there = new Map(ids.map((id) => [id, stored({ ...large, uniqueIdentifier: id })]));
    all.store.fetch = async (_, some) => {
      asked.push(some.length);
      return some.map((id) => there.get(id));
    };
    const copies = await all.client.fetch("one", ids);
    expect(copies.map((copy) => copy?.object.uniqueIdentifier)).toEqual(ids);
    // Each page is one record, of what is left.
    expect(asked).toEqual(ids.map((_, at) => ids.length - at));
    all.store.records = async (_, some) => ({
      objects: some.map((id) => ({ ...large, uniqueIdentifier: id })),
      damaged: some.filter((id) => id === ids[0] || id === ids[17]),
      unknown: [],
    });
    const records = await all.client.records(partition, ids);
    expect(records.objects.map((object) => object.uniqueIdentifier)).toEqual(ids);
    expect(records.damaged).toEqual([testId(0), testId(17)]);
  });

  test("many large messages at once wait for each other", async () => {
    await using all = await pair();
    const objects = Array.from({ length: 12 }, (_, at) =>
      testObject(testId(at), { bytes: 1_000_000 }),
    );
    const made = await Promise.all(
      objects.map((after) => all.client.remote.commit("one", [{ kind: "create", after }], [])),
    );
    expect(made).toEqual(objects.map(() => ({ kind: "committed" })));
  });

  test("a large push that is being joined does not delay small ones", async () => {
    await using all = await pair();
    let letGo = () => {};
    const free = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    let held = 0;
    const { push } = all.store;
    all.store.push = async (objects) => {
      if (objects.some(({ material }) => (material?.ciphertext.length ?? 0) > 1_000_000)) {
        held += 1;
        await free;
      }
      return push.call(all.store, objects);
    };
    const large = all.client.push([testObject(testId(1), { bytes: 20_000_000 })]);
    const small = all.client.push([testObject(testId(2))]);
    await eventually(() => held > 0);
    const next = all.client.push([testObject(testId(3))]);
    const again = next.then(() => all.client.push([testObject(testId(4))]));
    expect(await Promise.all([small, next, again])).toEqual([
      ["durable"],
      ["durable"],
      ["durable"],
    ]);
    letGo();
    expect(await large).toEqual(["durable"]);
  });

  test("many large pushes at once wait for each other", async () => {
    await using all = await pair();
    const objects = Array.from({ length: 40 }, (_, at) =>
      testObject(testId(at), { bytes: 300_000 }),
    );
    const pushed = await Promise.all(objects.map((object) => all.client.push([object])));
    expect(pushed).toEqual(objects.map(() => ["durable"]));
  });
});
