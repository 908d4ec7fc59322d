import {
  decodeRecord,
  encodeRecord,
  MemoryInstanceStore,
  MemoryOwnStore,
  partitionOf,
  tagOf,
} from "@holdfast/engine";
import { expect, test } from "vitest";
import { TestPeerStore, TestPeers, testId, testObject } from "./test-peer.ts";

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

test("hello", async () => {
  await using all = await pair();
  const hello = { region: "b", generation: 3, retired: 2, serving: true, wallMs: 1_234_567 };
  expect(await all.client.hello()).toEqual(hello);
  expect(all.client.lastHello?.hello).toEqual(hello);
});

test("push", async () => {
  await using all = await pair();
  const objects = Array.from({ length: 1_000 }, (_, at) => testObject(testId(at)));
  const outcomes = await Promise.all(objects.map((object) => all.client.push([object])));
  expect(outcomes.flat()).toEqual(objects.map(() => "durable"));
  expect(all.store.pushed.map((object) => object.uniqueIdentifier)).toEqual(
    objects.map((object) => object.uniqueIdentifier),
  );
});

test("remote store and copies", async () => {
  await using all = await pair();
  const { remote } = all.client;
  const after = testObject(testId(1));
  const tag = tagOf(encodeRecord(after));
  expect(await remote.commit("one", [{ kind: "create", after }], [])).toEqual({
    kind: "committed",
  });
  const [there, none] = await remote.read("one", [testId(1), testId(2)]);
  expect(there).toEqual({ object: decodeRecord(encodeRecord(after)), tag });
  expect(none).toBeUndefined();
  expect(await all.client.fetch("one", [testId(2), testId(1)])).toEqual([undefined, there]);
  const page = await all.client.changes(partitionOf("one"), 0, 10, 1_000_000);
  expect(page.objects).toEqual([there?.object]);
});
