import { randomUUID } from "node:crypto";
import { KeyRingUnavailable, type ManagedObject, type SealedMaterial } from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test } from "vitest";
import type { Seals } from "../../join/heal.ts";
import {
  change,
  type MemoryPeer,
  objectOf,
  openRegions,
  put,
  recordsOf,
  termOf,
} from "../../testing/leader/test-peer.ts";
import { TestTime } from "../../testing/test-time.ts";
import { PeerReader } from "./reader.ts";
import { catchUp, digestCheck } from "./resync.ts";

let time: TestTime;
let own: MemoryOwnStore;
let peer: MemoryPeer;

beforeEach(async () => {
  time = new TestTime();
  ({ own, peer } = await openRegions(time));
});

const seal = (kekId: string, byte = 0): SealedMaterial => ({
  ...{ kekId, nonce: new Uint8Array(12).fill(byte), ciphertext: new Uint8Array(32) },
});

/** Both duties of a leader with these seals. */
async function leader(seals: Partial<Seals>) {
  const epoch = await own.newEpoch();
  const [opens, releases, newer] = [async () => true, async () => false, async () => undefined];
  const all = { opens, releases, newer, ...seals };
  const observe = () => undefined;
  const reader = new PeerReader({ peer, own, timers: time, observe, seals: all });
  return {
    caughtUp: () => time.until(catchUp(own, [reader]).run(termOf(epoch))),
    checked: () => time.until(digestCheck(own, [reader]).run(termOf(epoch))),
  };
}

/** The material of every record. */
async function materialIn(store: MemoryOwnStore): Promise<readonly unknown[]> {
  return [...(await recordsOf(store)).values()].map(({ material }) => material);
}

describe("digests", () => {
  test("take another seal under the same KEK once the own key opens, and put nothing in quarantine while it is closed", async () => {
    const kek = randomUUID();
    const [ours, theirs] = [seal(kek, 2), seal(kek, 1)];
    let closed = true;
    const opens = async () => {
      if (closed) throw new KeyRingUnavailable(false, "closed");
      return true;
    };
    const newer = async (one: ManagedObject) => ({ ...one, material: theirs });
    const { caughtUp, checked } = await leader({ opens, newer });
    const key = objectOf({ material: ours });
    await put(own, [key]);
    await put(peer.store, [{ ...key, material: theirs }]);
    expect(await caughtUp()).toMatchObject({ left: 0 });
    expect(await checked()).toEqual({ done: 0, left: 0 });
    expect(await materialIn(own)).toEqual([ours]);
    expect(await own.quarantined()).toBe(0);
    closed = false;
    await checked();
    expect(await materialIn(own)).toEqual([theirs]);
    expect(await checked()).toEqual({ done: 0, left: 0 });
  });

  test("fetch what is under another KEK again once the own key opens, and nothing while it is closed", async () => {
    const [erased, present] = [seal(randomUUID()), seal(randomUUID())];
    let closed = true;
    const opens = async ({ material }: ManagedObject) => {
      if (closed) throw new KeyRingUnavailable(false, "closed");
      return material?.kekId === present.kekId;
    };
    const { caughtUp, checked } = await leader({ opens });
    const objects = Array.from({ length: 3 }, () => objectOf({ material: erased }));
    await put(own, objects);
    await put(
      peer.store,
      objects.map((object) => ({ ...object, material: present })),
    );
    expect(await caughtUp()).toMatchObject({ left: 0 });
    expect(await checked()).toEqual({ done: 0, left: 0 });
    expect(await materialIn(own)).toEqual(objects.map(() => erased));
    closed = false;
    expect(await checked()).toEqual({ done: 3, left: 0 });
    expect(await materialIn(own)).toEqual(objects.map(() => present));
  });

  test("fetch what is under another KEK again once the own copy is under the same one", async () => {
    const kek = randomUUID();
    const [withheld, released, theirs] = [seal(randomUUID()), seal(kek, 2), seal(kek, 1)];
    // As the key ring decides: each region releases what it withholds, and of two seals the lower one stays.
    const newer = async (one: ManagedObject, other: ManagedObject) =>
      one.material?.kekId === withheld.kekId ? one : { ...one, material: other.material };
    const { caughtUp, checked } = await leader({ newer });
    const key = objectOf({ material: withheld });
    await put(own, [key]);
    await put(peer.store, [{ ...key, material: theirs }]);
    await caughtUp();
    expect(await checked()).toEqual({ done: 0, left: 0 });
    expect(await materialIn(own)).toEqual([withheld]);
    await change(own, key, { material: released });
    expect(await checked()).toEqual({ done: 1, left: 0 });
    expect(await materialIn(own)).toEqual([theirs]);
    expect(await checked()).toEqual({ done: 0, left: 0 });
  });
});
