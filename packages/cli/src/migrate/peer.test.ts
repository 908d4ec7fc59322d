import { ConnectionError, type KmipClient, MalformedResponseError } from "@holdfast/client";
import { attributes } from "@holdfast/kmip";
import { TtlvError } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import { Peer } from "./peer.ts";
import { lacks } from "./verify.ts";

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

test("attributes that cannot be understood are named as in a report, so that those of each server are no loss", async () => {
  const references = [
    { tag: attributes.LeaseTime.tag, key: "" },
    { tag: attributes.VendorAttribute.tag, key: "x\0Owner" },
    { tag: 0, key: "Secret Sauce" },
  ];
  const getAttributes = async () => {
    throw new MalformedResponseError("kms:5696", "no");
  };
  const getAttributeList = async () => ({ references });
  const client = { version: "2.1", getAttributes, getAttributeList } as unknown as KmipClient;
  const peer = new Peer(client, { ms: 60_000, around, who: "the source" }, true);
  const read = await peer.describe("id-1");
  const unread = "unread" in read ? read.unread : [];
  expect(unread).toEqual(["Lease Time", "x-Owner", "Secret Sauce"]);
  const row = { id: "id-1", type: "SymmetricKey", names: [], comes: true };
  expect(lacks({ ...row, unread: unread.slice(0, 1) }, undefined)).toBe(false);
  expect(lacks({ ...row, unread }, undefined)).toBe(true);
});
