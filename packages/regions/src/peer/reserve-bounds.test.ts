import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { TestPeerStore, testId } from "../testing/peer/test-peer.ts";
import { testSealing } from "../testing/peer/test-pki.ts";
import { encodeMessage, peerMethods } from "./methods.ts";
import { answer } from "./server/peer-handlers.ts";
import { InvalidRequest } from "./status.ts";

test("an instance's name is held beside each record, so a long one is refused", async () => {
  const store = new TestPeerStore("b");
  const reserve = (instance: string) =>
    encodeMessage(
      peerMethods.reserve.input,
      create(peerMethods.reserve.input, { instance, ids: [testId(1)], operation: "o" }),
    );
  await expect(
    answer("reserve", store, reserve("i".repeat(257)), testSealing),
  ).rejects.toBeInstanceOf(InvalidRequest);
  expect(await store.own.reservations()).toEqual([]);
  await answer("reserve", store, reserve("one"), testSealing);
  expect(await store.own.reservations()).toHaveLength(1);
});
