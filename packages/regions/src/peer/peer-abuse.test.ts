import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { encodeRecord, StoreUnavailable } from "@holdfast/engine";
import { groupItem, sampleRegister } from "@holdfast/engine/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { framed, messagesOf, RawClient } from "../testing/peer/test-grpc.ts";
import { eventually, TestPeerStore, testId, testObject } from "../testing/peer/test-peer.ts";
import { testSealing } from "../testing/peer/test-pki.ts";
import { fetchOne, pushBatch, rawServer } from "../testing/peer/test-raw.ts";
import { decodeMessage, encodeMessage, peerMethods, unaryNamed } from "./methods.ts";
import { answer } from "./server/peer-handlers.ts";
import { joinBatch } from "./server/push-receiver.ts";
import { ByteBudget } from "./server-limits.ts";
import { InvalidRequest } from "./status.ts";
import { outcomeOf } from "./wire.ts";

const hello = framed(encodeMessage(peerMethods.hello.input, create(peerMethods.hello.input, {})));

describe("an authenticated peer that sends nonsense", () => {
  test("the largest possible stamp would prevent every later write: such a record is not read", async () => {
    const store = new TestPeerStore("b");
    const stamped = (us: number) =>
      encodeRecord({
        ...testObject(testId(1)),
        registers: [sampleRegister(groupItem("g"), us)],
      });
    const context = {
      store,
      budget: new ByteBudget(1),
      unexpected: (error: unknown) => expect.unreachable(String(error)),
    };
    const [ahead, last] = [stamped(2 ** 52), stamped(Number.MAX_SAFE_INTEGER)];
    const { outcomes } = await joinBatch(context, 1, [last, ahead]);
    expect(outcomes.map(outcomeOf)).toEqual(["unread", "durable"]);
  });

  test.each(["", "x", "-1", "1e3", "1".repeat(16)])(
    "a find from the cursor %j is an invalid request",
    async (after) => {
      const find = { instance: "one", live: true, destroyed: false, limit: 10, after };
      const request = encodeMessage(peerMethods.find.input, create(peerMethods.find.input, find));
      const asked = answer("find", new TestPeerStore("b"), request, testSealing);
      await expect(asked).rejects.toBeInstanceOf(InvalidRequest);
    },
  );

  test.each(["", "o".repeat(65)])(
    "an agreed operation named %j holds and writes nothing",
    async (operation) => {
      const store = new TestPeerStore("b");
      const ids = [testId(1)];
      const reserve = encodeMessage(
        peerMethods.reserve.input,
        create(peerMethods.reserve.input, { instance: "one", ids, operation }),
      );
      const changes = [{ after: encodeRecord(testObject(testId(1))) }];
      const write = encodeMessage(
        peerMethods.write.input,
        create(peerMethods.write.input, { instance: "one", changes, operation }),
      );
      await expect(answer("reserve", store, reserve, testSealing)).rejects.toBeInstanceOf(
        InvalidRequest,
      );
      await expect(answer("write", store, write, testSealing)).rejects.toBeInstanceOf(
        InvalidRequest,
      );
      expect(await store.own.reservations()).toEqual([]);
      expect(await store.own.read("one", ids)).toEqual([undefined]);
    },
  );

  test.each([
    ["a message that is too large", "Fetch", framed(Buffer.alloc(300_000)), "8"],
    ["a length of 4 GiB", "Fetch", Buffer.from("00ffffffff00", "hex"), "8"],
    ["a call without a message", "Fetch", Buffer.alloc(0), "12"],
    ["bytes that are not a message", "Fetch", framed(Buffer.from("ffffffffff", "hex")), "3"],
    ["text that is not UTF-8", "Fetch", framed(Buffer.from("0a02c328", "hex")), "3"],
    ["an unknown method", "Explode", framed(Buffer.alloc(3)), "12"],
    [
      "a message that says it is compressed and is not",
      "Fetch",
      Buffer.from("0100000001ff", "hex"),
      "3",
    ],
    ["a partition that does not exist", "Digests", framed(Buffer.from("0841", "hex")), "3"],
    [
      "a number beyond 2^53",
      "Changes",
      framed(Buffer.from("10ffffffffffffffffff011801", "hex")),
      "3",
    ],
    ["a page of size 0", "Changes", framed(Buffer.alloc(0)), "3"],
    ["a mask of another length", "Leaves", framed(Buffer.from("12020102", "hex")), "3"],
    ["a malformed batch", "Push", framed(Buffer.from("ff", "hex")), "3"],
    ["a malformed probe", "Probe", framed(Buffer.from("ff", "hex")), "3"],
  ])("%s is refused", async (_, method, body, code) => {
    await using all = await rawServer();
    expect((await all.client.call(method, body)).status).toBe(code);
    expect((await all.client.call("Hello", hello)).status).toBe("0");
    expect(all.peers.events.filter((event) => event.type === "warning")).toEqual([]);
    await all.works();
  });

  test("a malformed deadline is refused", async () => {
    await using all = await rawServer();
    const reply = await all.client.call("Hello", hello, { "grpc-timeout": "soon" });
    expect(reply.status).toBe("13");
    await all.works();
  });

  test("a record that cannot be read does not prevent the others of its batch", async () => {
    await using all = await rawServer();
    const good = encodeRecord(testObject(testId(7)));
    const body = framed(pushBatch(4, [good, randomBytes(100), good, Buffer.alloc(0)]));
    const reply = await all.client.call("Push", body);
    const [message] = reply.messages;
    const pushed = decodeMessage(peerMethods.push.output, message ?? Buffer.alloc(0));
    expect([pushed.id, pushed.outcomes]).toEqual([4, [1, 5, 1, 5]]);
    expect(all.store.pushed).toHaveLength(2);
  });

  test("messages of countless empty fields are refused before they are decoded", async () => {
    await using all = await rawServer();
    using large = await RawClient.open(all.address, all.peers.authority.node("a"), "large");
    const empty = (tag: number, bytes: number) => Buffer.alloc(bytes, Buffer.from([tag, 0]));
    const inEvent = (bytes: number) => {
      const details = empty(0x42, bytes);
      const length = Buffer.from([
        0x80 | (bytes & 0x7f),
        0x80 | ((bytes >> 7) & 0x7f),
        bytes >> 14,
      ]);
      return Buffer.concat([Buffer.from([0x1a]), length, details]);
    };
    // An empty record costs more than an empty field.
    const push = await all.client.call("Push", framed(empty(0x12, 200_000)));
    expect(push.status).toBe("3");
    for (const [method, message] of [
      ["Hello", empty(0x1a, 1_000_000)],
      ["Fetch", empty(0x12, 1_000_000)],
      ["Commit", empty(0x12, 1_000_000)],
      ["Commit", inEvent(1_000_000)],
    ] as const) {
      const answered = await large.call(method, framed(message));
      expect(answered).toMatchObject({ status: "3", message: "the request does not decode" });
    }
    await all.works();
  });

  test("random bytes to every method are refused or answered", async () => {
    await using all = await rawServer();
    for (const { name } of Object.values(peerMethods)) {
      for (let round = 0; round < 8; round += 1) {
        const body = framed(randomBytes(1 + 37 * round));
        const { status } = await all.client.call(name, body);
        expect(["0", "3", "14"]).toContain(status);
      }
    }
    await all.works();
  });
});

describe("an authenticated peer that uses too much", () => {
  test("calls that never end are ended", async () => {
    await using all = await rawServer({ callMs: 300 });
    const stream = all.client.stream("Fetch");
    stream.write(Buffer.from("0000000010", "hex"));
    const ended = new Promise<string>((resolve) => {
      stream.on("response", (headers) => resolve(String(headers["grpc-status"])));
    });
    expect(await ended).toBe("4");
    stream.destroy();
    await all.works();
  });

  test("more calls at once than the limit are refused", async () => {
    await using all = await rawServer({ calls: 4, callMs: 2_000 });
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let asked = 0;
    all.store.before = (method) => {
      if (method !== "fetch") return;
      asked += 1;
      return released;
    };
    const fetch = framed(
      encodeMessage(peerMethods.fetch.input, create(peerMethods.fetch.input, { instance: "one" })),
    );
    const calls = Array.from({ length: 4 }, () => all.client.call("Fetch", fetch));
    await eventually(() => asked === 4);
    using second = await RawClient.open(
      `127.0.0.1:${all.server.address.port}`,
      all.peers.authority.node("a"),
    );
    const refused = await second.call("Fetch", fetch);
    expect([refused.status, refused.message]).toEqual(["8", "too many calls at once"]);
    release();
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(["0", "0", "0", "0"]);
    await all.works();
  });

  test.each(["Push", "Probe"])("more streams of %s than the limit are refused", async (method) => {
    await using all = await rawServer({ streams: 2 });
    const open = () => all.client.stream(method);
    const held = [open(), open()];
    const again = () => all.client.call(method, framed(pushBatch(1, [])));
    expect((await again()).status).toBe("8");
    for (const stream of held) stream.close();
    while ((await again()).status === "8") await setTimeout(5);
    await all.works();
  });

  test("a stream of probes that the peer does not read stops the server from answering", async () => {
    await using all = await rawServer();
    let answered = 0;
    all.store.before = () => {
      answered += 1;
    };
    const stream = all.client.stream("Probe");
    const probes = Array.from({ length: 20_000 }, () => hello);
    stream.write(Buffer.concat(probes));
    let before = -1;
    while (answered > before || answered === 0) {
      before = answered;
      await setTimeout(100);
    }
    expect(answered).toBeLessThan(10_000);
    stream.resume();
    stream.end();
    while (answered < probes.length) await setTimeout(5);
    await all.works();
  });

  test("pushes wait while too much is being joined", async () => {
    await using all = await rawServer({ pushBytes: 100_000 });
    let joining = 0;
    let most = 0;
    all.store.push = async (objects) => {
      joining += objects.length;
      most = Math.max(most, joining);
      await setTimeout(20);
      joining -= objects.length;
      return objects.map(() => "durable");
    };
    const record = encodeRecord(testObject(testId(1), { bytes: 20_000 }));
    const batches = Array.from({ length: 100 }, (_, id) => framed(pushBatch(id + 1, [record])));
    const reply = await all.client.call("Push", Buffer.concat(batches));
    expect(reply.messages).toHaveLength(100);
    expect(most).toBeLessThan(30);
    await all.works();
  });

  test("replies that the peer does not read do not pile up", async () => {
    await using all = await rawServer({ repliesBytes: 4_000_000 });
    const object = testObject(testId(1), { bytes: 900_000 });
    all.store.fetch = async () => [{ object, tag: "00".repeat(16) }];
    const statuses: string[] = [];
    const streams = Array.from({ length: 100 }, () => {
      const stream = all.client.stream("Fetch");
      stream.on("response", (headers) => statuses.push(String(headers["grpc-status"])));
      stream.pause();
      stream.end(fetchOne);
      return stream;
    });
    await eventually(() => statuses.length === 100);
    // Five fill the room; the others must ask for large messages, which wait for each other.
    expect(statuses.filter((status) => status === "8")).toHaveLength(95);
    for (const stream of streams) stream.destroy();
    await all.works();
  });

  test("replies to calls that are over take no room", async () => {
    await using all = await rawServer({ repliesBytes: 100_000 });
    const object = testObject(testId(1), { bytes: 90_000 });
    let asked = 0;
    const answers: (() => void)[] = [];
    let waits = true;
    all.store.fetch = async () => {
      asked += 1;
      if (waits) await new Promise<void>((resolve) => answers.push(resolve));
      return [{ object, tag: "00".repeat(16) }];
    };
    const streams = Array.from({ length: 4 }, () => {
      const stream = all.client.stream("Fetch");
      stream.end(fetchOne);
      return stream;
    });
    await eventually(() => asked === 4);
    for (const stream of streams) stream.destroy();
    waits = false;
    // The server has seen the ends before it answers this.
    await all.works();
    for (const answer of answers) answer();
    await all.works();
    expect((await all.client.call("Fetch", fetchOne)).status).toBe("0");
  });

  test("replies that the peer has read make room", async () => {
    await using all = await rawServer({ repliesBytes: 100_000 });
    const object = testObject(testId(1), { bytes: 90_000 });
    all.store.fetch = async () => [{ object, tag: "00".repeat(16) }];
    for (let call = 0; call < 20; call += 1) {
      expect((await all.client.call("Fetch", fetchOne)).status).toBe("0");
    }
  });
});

describe("decoding", () => {
  const names = Object.values(peerMethods).flatMap((method) => unaryNamed(method.name) ?? []);
  const store = new TestPeerStore("b");
  store.push = async () => [];

  test("random bytes are refused or answered, and throw nothing else", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.uint8Array({ maxLength: 400 }),
        async (name, bytes) => {
          await answer(name, store, bytes, testSealing).catch((error: unknown) => {
            expect(error instanceof InvalidRequest || error instanceof StoreUnavailable).toBe(true);
          });
        },
      ),
      { numRuns: 2_000, seed: 7 },
    );
  });

  test("damaged messages are refused or answered, and throw nothing else", async () => {
    const object = testObject(testId(1));
    const record = encodeRecord(object);
    const stored = { record, tag: Buffer.alloc(16) };
    const requests: readonly [(typeof names)[number], Uint8Array][] = [
      [
        "commit",
        encodeMessage(
          peerMethods.commit.input,
          create(peerMethods.commit.input, {
            instance: "one",
            changes: [{ after: record, before: stored }],
            audit: [
              { outcome: "success", detail: [{ name: "n", value: { case: "text", value: "t" } }] },
            ],
          }),
        ),
      ],
      [
        "write",
        encodeMessage(
          peerMethods.write.input,
          create(peerMethods.write.input, {
            instance: "one",
            changes: [{ after: record }],
            operation: "o",
          }),
        ),
      ],
      [
        "markServed",
        encodeMessage(
          peerMethods.markServed.input,
          create(peerMethods.markServed.input, { instance: "one", before: stored, after: record }),
        ),
      ],
      [
        "leaves",
        encodeMessage(
          peerMethods.leaves.input,
          create(peerMethods.leaves.input, { partition: 3, mask: Buffer.alloc(32), after: 5n }),
        ),
      ],
    ];
    const damage = fc.tuple(
      fc.constantFrom(...requests),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      }),
    );
    await fc.assert(
      fc.asyncProperty(damage, async ([[name, request], changes]) => {
        const bytes = Uint8Array.from(request);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        await answer(name, store, bytes, testSealing).catch((error: unknown) => {
          expect(error instanceof InvalidRequest || error instanceof StoreUnavailable).toBe(true);
        });
      }),
      { numRuns: 2_000, seed: 7 },
    );
  });

  test("the test splits frames correctly", () => {
    expect(messagesOf(Buffer.concat([framed(Buffer.of(1, 2)), framed(Buffer.alloc(0))]))).toEqual([
      Buffer.of(1, 2),
      Buffer.alloc(0),
    ]);
  });
});

test("the peer port survives connections that are cut at any moment", async () => {
  await using all = await rawServer();
  for (let round = 0; round < 20; round += 1) {
    using client = await RawClient.open(
      `127.0.0.1:${all.server.address.port}`,
      all.peers.authority.node("a"),
    );
    const call = client.call("Push", Buffer.concat([framed(pushBatch(1, [])), randomBytes(50)]));
    call.catch(() => undefined);
    await setTimeout(round);
  }
  await eventually(() => all.server.connections("a") <= 1);
  await all.works();
});
