import { create } from "@bufbuild/protobuf";
import { encodeMessage, peerMethods } from "../../peer/methods.ts";
import type { ServerLimits } from "../../peer/server-limits.ts";
import { framed, RawClient } from "./test-grpc.ts";
import { TestPeerStore, TestPeers, testId, testObject } from "./test-peer.ts";

/** A server, and a client with a peer's certificate that can send anything. */
export async function rawServer(limits: Partial<ServerLimits> = {}) {
  const store = new TestPeerStore("b");
  const peers = new TestPeers();
  const { server, address } = await peers.serve(store, { limits });
  const client = await RawClient.open(address, peers.authority.node("a"));
  return {
    store,
    peers,
    server,
    address,
    client,
    /** The server still does its work for an honest peer. */
    async works() {
      const honest = await peers.connected([address]);
      const [outcome] = await honest.push([testObject(testId(1))]);
      const { region } = await honest.hello();
      if (outcome !== "durable" || region !== "b") throw new Error("an honest peer is not served");
    },
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await peers[Symbol.asyncDispose]();
    },
  };
}

/** A message that asks for one object. */
export const fetchOne: Buffer = framed(
  encodeMessage(
    peerMethods.fetch.input,
    create(peerMethods.fetch.input, { instance: "one", ids: [testId(1)] }),
  ),
);

/** The bytes of a batch. */
export function pushBatch(id: number, records: readonly Uint8Array[]): Buffer {
  return encodeMessage(
    peerMethods.push.input,
    create(peerMethods.push.input, { id, records: [...records] }),
  );
}
