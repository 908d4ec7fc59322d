import { ConnectionError, type KmipClient } from "@holdfast/client";
import { TtlvError } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import { Peer } from "./peer.ts";

const around = {
  now: () => 0,
  date: () => new Date(0),
  sleep: async () => undefined,
  newId: () => "1",
};

test("an answer that cannot be read, such as one that is too large, is the refusal of one object and ends nothing", async () => {
  let calls = 0;
  const get = async () => {
    calls += 1;
    const cause = new TtlvError("message of 20000000 bytes, more than the limit of 16777216", 0);
    throw new ConnectionError("lost", "kms:5696: the answer is not KMIP: it is too large", cause);
  };
  const client = { version: "1.4", get } as unknown as KmipClient;
  const peer = new Peer(client, { ms: 60_000, around, who: "the source" }, true);
  expect(await peer.object("id-1", "OpaqueObject")).toEqual({
    id: "id-1",
    gone: false,
    refused: expect.stringContaining("it is too large"),
  });
  expect(calls).toBe(4);
});
