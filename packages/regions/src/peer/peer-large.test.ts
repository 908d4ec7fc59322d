import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { encodeRecord } from "@holdfast/engine";
import { describe, expect, test } from "vitest";
import { framed, RawClient } from "../testing/peer/test-grpc.ts";
import { eventually, testId, testObject } from "../testing/peer/test-peer.ts";
import { fetchOne, pushBatch, rawServer } from "../testing/peer/test-raw.ts";
import { encodeMessage, peerMethods } from "./methods.ts";

describe("on a connection for large messages", () => {
  /** A call whose message is announced, and begun. */
  const begun = (client: RawClient, bytes: number) => {
    const stream = client.stream("Fetch");
    stream.write(framed(Buffer.alloc(bytes)).subarray(0, 15));
    return stream;
  };
  const record = encodeRecord(testObject(testId(1), { bytes: 400_000 }));

  test("a message that is too large is refused, whether it is a request or a batch", async () => {
    await using all = await rawServer({ largeRequestBytes: 500_000 });
    using large = await RawClient.open(all.address, all.peers.authority.node("a"), "large");
    for (const method of ["Fetch", "Push"]) {
      expect((await large.call(method, framed(Buffer.alloc(600_000)))).status).toBe("8");
    }
    expect((await large.call("Push", framed(pushBatch(1, [record])))).status).toBe("0");
    // On any other connection it is as before.
    expect((await all.client.call("Push", framed(pushBatch(1, [record])))).status).toBe("8");
    await all.works();
  });

  test("more messages at once than the limit are refused, and other calls are not delayed", async () => {
    await using all = await rawServer({ largeCalls: 2, largeMs: 60_000 });
    using large = await RawClient.open(all.address, all.peers.authority.node("a"), "large");
    using other = await RawClient.open(all.address, all.peers.authority.node("a"), "large");
    const held = [begun(large, 1_000_000), begun(large, 1_000_000)];
    // Once the server has both: else a call on the other connection may take the place of one.
    await new Promise<void>((resolve) => void large.session.ping(() => resolve()));
    const fetch = framed(
      encodeMessage(peerMethods.fetch.input, create(peerMethods.fetch.input, {})),
    );
    const refused = () => other.call("Fetch", fetch);
    while ((await refused()).status !== "8") await setTimeout(5);
    expect((await refused()).message).toBe("too many calls at once");
    await all.works();
    for (const stream of held) stream.close();
    while ((await refused()).status !== "0") await setTimeout(5);
  });

  test("calls and pushes that never end are ended", async () => {
    await using all = await rawServer({ largeCalls: 1, largeMs: 300 });
    using large = await RawClient.open(all.address, all.peers.authority.node("a"), "large");
    const call = begun(large, 1_000_000);
    const ended = new Promise<string>((resolve) => {
      call.on("response", (headers) => resolve(String(headers["grpc-status"])));
    });
    expect(await ended).toBe("4");
    call.destroy();
    const push = large.stream("Push");
    push.write(framed(pushBatch(1, [])));
    const over = await new Promise<string>((resolve) => {
      push.on("trailers", (headers) => resolve(String(headers["grpc-status"])));
      push.resume();
    });
    expect(over).toBe("4");
    await all.works();
  });

  test("replies that the peer does not read wait, and do not pile up", async () => {
    await using all = await rawServer({
      largeCalls: 4,
      largeMs: 60_000,
      largeRepliesBytes: 4_000_000,
    });
    using large = await RawClient.open(all.address, all.peers.authority.node("a"), "large");
    let asked = 0;
    const object = testObject(testId(1), { bytes: 3_000_000 });
    all.store.fetch = async () => {
      asked += 1;
      return [{ object, tag: "00".repeat(16) }];
    };
    const streams = Array.from({ length: 20 }, () => {
      const stream = large.stream("Fetch");
      stream.pause();
      stream.end(fetchOne);
      return stream;
    });
    // One is being sent; the others that are accepted at all wait for it.
    await eventually(() => asked >= 4);
    await setTimeout(200);
    expect(asked).toBeLessThanOrEqual(5);
    for (const stream of streams) stream.destroy();
    await all.works();
  });
});
