import { randomBytes, randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { Event } from "../../base/observe.ts";
import { MemoryLocks } from "../../concurrency/memory-locks.ts";
import type { RootOfTrustFailure } from "../../ports/keys.ts";
import { kekStoreConformance } from "../conformance/kek-store-conformance.ts";
import { locksConformance } from "../conformance/locks-conformance.ts";
import { sampleObject } from "../conformance/managed-object-conformance.ts";
import { objectStoreConformance } from "../conformance/object-store-conformance.ts";
import { ownStoreConformance } from "../conformance/own-store/own-store-conformance.ts";
import { rootOfTrustConformance } from "../conformance/root-of-trust-conformance.ts";
import { storeModel } from "../conformance/store-model-conformance.ts";
import { MemoryInstanceStore } from "./memory-instance-store.ts";
import { MemoryKekStore } from "./memory-kek-store.ts";
import { MemoryOwnStore } from "./memory-own-store.ts";
import { MemoryRootOfTrust } from "./memory-root-of-trust.ts";

async function openStore() {
  const instances = new MemoryInstanceStore();
  const subject = new MemoryOwnStore({ instances });
  return {
    subject,
    instances,
    auditOf: async (instance: string) => subject.auditOf(instance),
    close: async () => undefined,
  };
}

objectStoreConformance("MemoryOwnStore", openStore);
storeModel("MemoryOwnStore", openStore);
ownStoreConformance("MemoryOwnStore", async () => {
  const { subject, instances } = await openStore();
  return {
    subject,
    instances,
    setStatus: async (instance, status) => instances.setStatus(instance, status),
    damage: async (_instance, id) => subject.damage(id),
    upgrade: async (_instance, id) => subject.damage(id, true),
    close: async () => undefined,
  };
});
kekStoreConformance("MemoryKekStore", async () => ({
  subject: new MemoryKekStore(),
  close: async () => undefined,
}));
locksConformance("MemoryLocks", async () => ({
  subject: new MemoryLocks({ waitMs: 60_000 }),
  waitMs: 60_000,
  hasty: new MemoryLocks({ waitMs: 1_000 }),
  close: async () => undefined,
}));

rootOfTrustConformance(
  "MemoryRootOfTrust",
  async () => {
    const subject = new MemoryRootOfTrust({ uuid: randomUUID, randomBytes });
    const fail = (failure: RootOfTrustFailure) => async () => subject.fail(failure);
    return {
      subject,
      rotate: async () => subject.rotate(),
      fail: {
        unavailable: fail("unavailable"),
        denied: fail("denied"),
        disabled: fail("disabled"),
        gone: fail("gone"),
      },
      mend: async () => subject.fail(undefined),
      close: async () => undefined,
    };
  },
  {
    rotates: true,
    failures: ["unavailable", "denied", "disabled", "gone"],
    mends: ["unavailable", "denied", "disabled", "gone"],
  },
);

test("changes that a caller makes to returned bytes do not reach the store", async () => {
  const { subject, instances } = await openStore();
  await instances.ensure("i", "i");
  const after = sampleObject("i", randomUUID());
  await subject.commit("i", [{ kind: "create", after }], []);
  const [first] = await subject.read("i", [after.uniqueIdentifier]);
  first?.object.material?.ciphertext.fill(0);
  const [second] = await subject.read("i", [after.uniqueIdentifier]);
  expect(second?.object.material?.ciphertext[0]).toBe(9);
});

test("an instance that is being removed takes no changes and is still read", async () => {
  const { subject, instances } = await openStore();
  await instances.ensure("i", "i");
  const after = sampleObject("i", randomUUID());
  await subject.commit("i", [{ kind: "create", after }], []);
  instances.setStatus("i", "Removing");
  expect(await instances.ensure("i", "i")).toBe("Removing");
  expect(await subject.commit("i", [], [])).toEqual({ kind: "instanceClosed" });
  expect((await subject.read("i", [after.uniqueIdentifier]))[0]?.object.instance).toBe("i");
});

test("locks report who had to give up waiting", async () => {
  const events: Event[] = [];
  const locks = new MemoryLocks({ waitMs: 20, observe: (event) => events.push(event) });
  let end: () => void = () => undefined;
  const held = locks.withLock("r", () => new Promise<void>((resolve) => (end = resolve)));
  await locks.withLock("r", async () => end());
  await held;
  expect(events).toEqual([
    { type: "lock", result: "acquired" },
    { type: "lock", result: "contended" },
  ]);
});
