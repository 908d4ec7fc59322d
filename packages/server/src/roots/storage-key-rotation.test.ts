import { randomBytes } from "node:crypto";
import { StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { RotateStorageKey, storageKeyHandlers } from "./storage-key-rotation.ts";

const random = (length: number) => randomBytes(length);
const root = new MemoryRootOfTrust({ uuid: () => "", randomBytes: random }, "tests");
const second = { number: 2, madeMs: 1_800_000_000_000, rotation: undefined, left: 0 };

/** The routes over a store in this state, in which a rotation begins as said. */
function handlers(begins: () => Promise<number | undefined>) {
  const own = { storageKeyState: async () => second, rotateStorageKey: begins };
  return storageKeyHandlers({ region: "a", own, root: async () => root, randomBytes: random });
}

const rotate = (begins: () => Promise<number | undefined>) =>
  handlers(begins).rotateStorageKey({} as never);

test("the routes show the number, since when, and what a rotation does", async () => {
  expect(await rotate(async () => 3)).toEqual({
    ...{ region: "a", number: 2, rotation: "none", left: 0 },
    since: "2027-01-15T08:00:00.000Z",
  });
});

test("a second rotation at once is refused, and a closed root of trust is named", async () => {
  await expect(rotate(async () => undefined)).rejects.toMatchObject({ code: "wrongState" });
  const closed = new StoreUnavailable("keyClosed", "the root of trust does not open storage key 3");
  await expect(rotate(() => Promise.reject(closed))).rejects.toMatchObject({
    ...{ code: "rootUnavailable", message: closed.message },
  });
  const other = new StoreUnavailable("noLease", "Redis may not be used now");
  await expect(rotate(() => Promise.reject(other))).rejects.toBe(other);
});

test("what is left is told only by the leader, and a run never asks for the next at once", async () => {
  const duty = new RotateStorageKey({
    continueRotation: async () => ({ done: 7, left: 5, isUnderWay: true }),
  });
  expect(duty.left).toBeUndefined();
  const term = new AbortController();
  const context = { epoch: 1, signal: term.signal, active: () => true };
  expect(await duty.run(context)).toEqual({ done: 7, left: 0 });
  expect(duty.left).toBe(5);
  term.abort();
  expect(duty.left).toBeUndefined();
});
