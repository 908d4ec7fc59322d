import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toJson } from "@bufbuild/protobuf";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { decodeRecord, encodeRecord, partitionOf } from "@holdfast/engine";
import { MemoryInstanceStore, MemoryOwnStore } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { framed, type RawAnswer, RawClient, RawServer } from "../testing/peer/test-grpc.ts";
import {
  eventually,
  TestPeerStore,
  TestPeers,
  testId,
  testObject,
} from "../testing/peer/test-peer.ts";
import { keysOfRegion } from "../testing/peer/test-pki.ts";
import { decodeMessage, encodeMessage, type MethodName, peerMethods } from "./methods.ts";
import { faultOf } from "./status.ts";
import { commonVersion } from "./versions.ts";

/**
 * What version 2 sent and was answered, one exchange per method, in the order in which it was sent.
 */
const recorded: Readonly<Record<string, { readonly request: string; readonly reply: string }>> =
  JSON.parse(await readFile(join(import.meta.dirname, "testdata", "v2.json"), "utf8"));

const bytes = (text: string) => Buffer.from(text, "base64");
const methodNamed = (name: string) =>
  peerMethods[(name[0]?.toLowerCase() + name.slice(1)) as MethodName];
const partition = partitionOf("one");

/** The KEK in an answer: each is sealed anew. */
function keyIn(message: Buffer) {
  const { sealed } = decodeMessage(peerMethods.kek.output, message);
  const binding = { instance: "one", kekId: "k", asking: "a" };
  return { key: keysOfRegion("a").open(binding, sealed) };
}

test("every method of version 2 was recorded", () => {
  const names = Object.values(peerMethods).map((method) => method.name);
  expect(Object.keys(recorded).toSorted()).toEqual(
    names.filter((name) => !["Manage", "Probe"].includes(name)).toSorted(),
  );
});

test("an older peer gets the same answers as before", async () => {
  const instances = new MemoryInstanceStore();
  await instances.ensure("one", "one");
  const store = new TestPeerStore(
    "b",
    new MemoryOwnStore({ instances, replicationId: "replication-1" }),
  );
  store.keks.set("one/k", new Uint8Array(32).fill(9));
  await using peers = new TestPeers();
  const { address } = await peers.serve(store);
  using client = await RawClient.open(address, peers.authority.node("a"));
  for (const [name, { request, reply }] of Object.entries(recorded)) {
    const answer = await client.call(name, framed(bytes(request)));
    expect([name, answer.status, answer.messages.length]).toEqual([name, "0", 1]);
    const { output } = methodNamed(name);
    const read = (message: Buffer) =>
      name === "Kek" ? keyIn(message) : toJson(output, decodeMessage(output, message));
    expect(read(answer.messages[0] ?? Buffer.alloc(0))).toMatchObject(read(bytes(reply)) as object);
  }
  expect(store.pushed.map((object) => object.uniqueIdentifier)).toEqual([testId(1)]);
});

/** A client of this release and a server of another one. */
async function withServer(answer: RawAnswer) {
  const peers = new TestPeers();
  const server = new RawServer(peers.authority.node("b"), answer);
  const client = peers.connect([await server.listen()]);
  return {
    peers,
    client,
    async [Symbol.asyncDispose]() {
      await peers[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const older: RawAnswer = (method) => {
  const exchange = recorded[method];
  return exchange === undefined ? undefined : bytes(exchange.reply);
};

/** The recorded answer to a hello, of a newer release. */
function helloWith(features: string[], id = 0): Buffer {
  const { output } = peerMethods.hello;
  const before = decodeMessage(output, bytes(recorded["Hello"]?.reply ?? ""));
  return encodeMessage(output, create(output, { ...before, protocolMax: 7, features, id }));
}

describe("an older peer", () => {
  test("is understood when it answers as recorded", async () => {
    await using all = await withServer(older);
    await eventually(() => all.client.state() === "up");
    const { client } = all;
    expect(await client.hello()).toMatchObject({ region: "b", generation: 3, retired: 2 });
    await eventually(() => client.lastHello !== undefined);
    expect(client.storeUses()).toEqual([]);
    expect(await client.push([testObject(testId(1))])).toEqual(["durable"]);
    const [there, none] = await client.fetch("one", [testId(1), testId(2)]);
    expect(there?.object).toEqual(decodeRecord(encodeRecord(testObject(testId(1)))));
    expect(none).toBeUndefined();
    expect(await client.remote.read("one", [testId(1), testId(2)])).toEqual([there, undefined]);
    const position = await client.position();
    expect(position).toMatchObject({ replicationId: "memory replication-1" });
    expect(position.numbers).toHaveLength(65);
    const page = await client.changes(partition, 0, 10, 1_000);
    expect(page).toEqual({
      replicationId: "memory replication-1",
      objects: [there?.object],
      damaged: [],
      unknown: [],
      upTo: 1,
      last: 1,
    });
    expect((await client.digests(partition)).some((byte) => byte !== 0)).toBe(true);
    const everything = new Uint8Array(32).fill(0xff);
    expect((await client.leaves(partition, everything, undefined)).leaves).toEqual([
      { uniqueIdentifier: testId(1), tag: there?.tag },
    ]);
    expect((await client.records(partition, [testId(1)])).objects).toEqual([there?.object]);
    expect(await client.reserve("one", [testId(1)], "operation-1")).toEqual({ kind: "reserved" });
    expect(await client.write("one", [], [], "operation-1")).toEqual({ kind: "committed" });
    expect(await client.release("one", "operation-1")).toBe(0);
    expect(await client.kek("one", "k")).toEqual(Buffer.alloc(32, 9));
    expect(await client.remote.commit("one", [], [])).toEqual({ kind: "committed" });
    const found = await client.remote.find("one", { live: true, destroyed: false, limit: 10 });
    expect(found.objects).toEqual([there]);
  });

  test("is probed by calls", async () => {
    const asked: string[] = [];
    await using _ = await withServer((method, request) => {
      asked.push(method);
      return older(method, request);
    });
    await eventually(() => asked.length > 3);
    expect(new Set(asked)).toEqual(new Set(["Hello"]));
  });

  test("in the place of a newer one is probed by calls again, and is not down meanwhile", async () => {
    const asked: string[] = [];
    let isNewer = true;
    await using all = await withServer((method, request) => {
      asked.push(method);
      if (method === "Hello") return helloWith(isNewer ? ["probe"] : []);
      if (method !== "Probe" || !isNewer) return undefined;
      const { id } = decodeMessage(peerMethods.probe.input, request);
      return helloWith(["probe"], id);
    });
    const states: string[] = [];
    all.client.onState((state) => states.push(state));
    const count = (name: string) => asked.filter((method) => method === name).length;
    await eventually(() => count("Probe") > 3);
    isNewer = false;
    const [probes, calls] = [count("Probe"), count("Hello")];
    await eventually(() => count("Hello") > calls + 3);
    expect(count("Probe")).toBe(probes + 1);
    expect(states).toEqual(["up"]);
  });

  test("that does not know a method is reported in plain words", async () => {
    await using all = await withServer((method, request) =>
      method === "Records" ? undefined : older(method, request),
    );
    await eventually(() => all.client.state() === "up");
    await expect(all.client.records(partition, [testId(1)])).rejects.toMatchObject({
      failure: "peerUnreachable",
      message: "region b runs an older release, which cannot answer records: upgrade it",
    });
    expect(all.client.state()).toBe("up");
  });
});

describe("a newer peer", () => {
  /** A field that this release does not know, a string and a number, behind what it does. */
  const unknown = Buffer.from([0xfa, 0x3f, 3, 1, 2, 3, 0xf0, 0x3f, 7]);

  test("may send more fields", async () => {
    await using all = await withServer((method, request) => {
      if (method === "Hello") return Buffer.concat([helloWith(["later"]), unknown]);
      return Buffer.concat([older(method, request) ?? Buffer.alloc(0), unknown]);
    });
    await eventually(() => all.client.state() === "up");
    expect(await all.client.push([testObject(testId(1))])).toEqual(["durable"]);
    expect(
      (await all.client.fetch("one", [testId(1), testId(2)]))[0]?.object.uniqueIdentifier,
    ).toBe(testId(1));
  });

  test("that answers what is not known here promises nothing", async () => {
    await using all = await withServer((method, request) => {
      if (method === "Push") {
        const { id } = decodeMessage(peerMethods.push.input, request);
        return encodeMessage(
          peerMethods.push.output,
          create(peerMethods.push.output, { id, outcomes: [9] }),
        );
      }
      if (method === "Commit") {
        return encodeMessage(
          peerMethods.commit.output,
          create(peerMethods.commit.output, { kind: "postponed" }),
        );
      }
      if (method === "Read") {
        return encodeMessage(
          peerMethods.read.output,
          create(peerMethods.read.output, { slots: [{}] }),
        );
      }
      return older(method, request);
    });
    await eventually(() => all.client.state() === "up");
    await expect(all.client.push([testObject(testId(1))])).rejects.toMatchObject({
      failure: "unknownFormat",
    });
    const create1 = { kind: "create", after: testObject(testId(1)) } as const;
    await expect(all.client.remote.commit("one", [create1], [])).rejects.toMatchObject({
      failure: "timeout",
    });
  });

  test.each([
    ["newer", 3, 4, "this node"],
    ["older", 1, 1, "the nodes of region b"],
  ])(
    "that speaks no version of this release, since it is %s, is not asked",
    async (_, protocolMin, protocolMax, behind) => {
      await using all = await withServer((method, request) =>
        method === "Hello"
          ? encodeMessage(
              peerMethods.hello.output,
              create(peerMethods.hello.output, { protocolMin, protocolMax, region: "b" }),
            )
          : older(method, request),
      );
      await eventually(() => all.peers.events.some(({ type }) => type === "peer"));
      expect(all.client.state()).toBe("down");
      await expect(all.client.push([testObject(testId(1))])).rejects.toThrow(
        `speaks versions ${protocolMin} to ${protocolMax} of the peer protocol, this node 2 to 2: upgrade ${behind}`,
      );
    },
  );

  test("that answers with an unknown failure promises nothing", () => {
    const metadata = new Metadata();
    metadata.set("holdfast-failure", "onFire");
    const error: ServiceError = Object.assign(new Error("x"), {
      code: status.UNAVAILABLE,
      details: "it burns",
      metadata,
    });
    expect(faultOf(error, "b", "read")).toMatchObject({
      kind: "answered",
      error: { failure: "peerUnreachable", message: "region b: it burns" },
    });
    const named = Object.assign(new Error("x"), { ...error, details: "region b is retired" });
    expect(faultOf(named, "b", "read")).toMatchObject({
      error: { message: "region b is retired" },
    });
  });
});

test.each([
  ["connect ECONNREFUSED 127.0.2.1:5600", "connection refused: nothing listens there"],
  [
    "Client network socket disconnected before secure TLS connection was established",
    "it closed the connection before the TLS handshake ended",
  ],
  ["read ECONNRESET", "the connection was lost"],
  ["Connection dropped", "the connection was lost"],
  ["certificate has expired", "certificate has expired"],
])("a failed connection is reported in plain words: %s", (words, reason) => {
  const details = `No connection established. Last error: Error: ${words}. Resolution note: `;
  const metadata = new Metadata();
  const error = Object.assign(new Error("x"), { code: status.UNAVAILABLE, details, metadata });
  expect(faultOf(error, "b", "read")).toEqual({ kind: "notSent", reason });
});

test.each([
  [{ protocolMin: 2, protocolMax: 2 }, 2],
  [{ protocolMin: 1, protocolMax: 9 }, 2],
  [{ protocolMin: 1, protocolMax: 1 }, undefined],
  [{ protocolMin: 3, protocolMax: 9 }, undefined],
  // From before there were versions.
  [{ protocolMin: 0, protocolMax: 0 }, undefined],
])("commonVersion finds the common version with %j", (theirs, version) => {
  expect(commonVersion(theirs)).toBe(version);
});
