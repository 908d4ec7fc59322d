import {
  InstanceKeyRing,
  type ManagedObject,
  resealed,
  type SealedMaterial,
} from "@holdfast/engine";
import {
  MemoryKekStore,
  MemoryOwnStore,
  MemoryRootOfTrust,
  sampleObject,
} from "@holdfast/engine/testing";
import { expect, test } from "vitest";
import { systemIds as ids } from "../../base/system.ts";
import { restoreKey } from "./restore.ts";

const instance = ids.uuid();
const secret = Buffer.from("secret");
const clock = { wallMs: () => 1_700_000_000_000, monotonicMs: () => 0 };

test("a key whose material is withheld is sealed for clients in the restore itself", async () => {
  const store = new MemoryOwnStore({ wallMs: clock.wallMs });
  await store.instances.ensure(instance, instance);
  const [keks, root] = [new MemoryKekStore(), new MemoryRootOfTrust(ids)];
  const keyRing = new InstanceKeyRing({
    ...{ rootOf: () => root, keks, clock, ids, region: "a", observe: () => undefined },
    ...{ kekCacheMs: 1e9, graceMs: 1e9 },
  });
  const sample = sampleObject(instance, ids.uuid());
  const { uniqueIdentifier: key, objectType } = sample;
  const binding = { instance, uniqueIdentifier: key, objectType };
  const material = await keyRing.seal(binding, secret);
  await keyRing.makeWithheld(instance, 0);
  const [kek = "", withheld = ""] = (await keks.list(instance)).map(({ id }) => id);
  const destruction = { time: 5, region: "a", until: 9e9, state: "pending", us: 1 } as const;
  const pending: ManagedObject = { ...sample, material, facts: { destruction } };
  const after = await keyRing.holding(() => resealed(keyRing, pending, { kek, withheld }));
  expect(after.material?.kekId).toBe(withheld);
  await store.commit(instance, [{ kind: "create", after }], []);
  const principal = { name: "ada", id: "token-1", roles: [], instances: undefined, remote: "" };
  const call = { params: { instance, key }, audit: "key.restore", principal, requestId: "r" };
  const deps = { region: "a", store, wallMs: clock.wallMs, keyRing };
  await restoreKey(deps, instance, call as never);
  const [stored] = await store.read(instance, [key]);
  expect(stored?.object.facts.destruction?.state).toBe("restored");
  const now = stored?.object.material as SealedMaterial;
  expect(now.kekId).toBe(kek);
  expect(Buffer.from(await keyRing.open(binding, now))).toEqual(secret);
});
