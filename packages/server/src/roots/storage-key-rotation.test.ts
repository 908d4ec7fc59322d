import { randomBytes } from "node:crypto";
import { type AuditEvent, StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { RotateStorageKey, storageKeyHandlers } from "./storage-key-rotation.ts";

const random = (length: number) => randomBytes(length);
const root = new MemoryRootOfTrust({ uuid: () => "", randomBytes: random }, "tests");
const second = { number: 2, madeMs: 1_800_000_000_000, rotation: undefined, left: 0 };

const call = {
  principal: { name: "admin", id: "1" },
  requestId: "r",
  audit: "storage-key.rotate",
} as never;

/** Asks the route over a store in this state, in which a rotation begins as said; `left` gets the evidence. */
function rotate(begins: () => Promise<number | undefined>, left: AuditEvent[] = []) {
  const own = { storageKeyState: async () => second, rotateStorageKey: begins };
  const leaveEvidence = async (events: readonly AuditEvent[]) => void left.push(...events);
  const { rotateStorageKey } = storageKeyHandlers({
    ...{ region: "a", own, root: async () => root, randomBytes: random },
    ...{ records: { leaveEvidence }, clock: { wallMs: () => 5 } },
  });
  return rotateStorageKey(call);
}

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

test("evidence comes before the rotation begins, and after it", async () => {
  const left: AuditEvent[] = [];
  const begins = async () => {
    expect(left).toMatchObject([{ action: "storage-key.rotate", outcome: "pending", target: "a" }]);
    return 3;
  };
  await rotate(begins, left);
  expect(left.slice(1)).toMatchObject([{ outcome: "success", target: "a", detail: { number: 3 } }]);
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
