import type { Change, Fact, ManagedObject, ObjectStore, StoredObject } from "@holdfast/engine";
import { sampleObject } from "@holdfast/engine/testing";
import { type TestOptions, type TestRegion, TestRegions } from "./test-regions.ts";

/** The instance of the tests of two regions. */
export const instance = "instance";

/** Two level regions that know the instance. */
export async function regionsWithInstance(options: TestOptions = {}): Promise<TestRegions> {
  const regions = await TestRegions.level(options);
  for (const { own } of [regions.a, regions.b]) await own.instances.ensure(instance, instance);
  return regions;
}

/** A new key. */
export function newKey(regions: TestRegions, more: Partial<ManagedObject> = {}): ManagedObject {
  return { ...sampleObject(instance, regions.id()), ...more };
}

/** The change that makes an object. */
export function creation(after: ManagedObject): Change {
  return { kind: "create", after };
}

/** The change that adds a fact. */
export function adding(
  before: StoredObject,
  name: keyof ManagedObject["facts"],
  fact: Fact,
): Change {
  const facts = { ...before.object.facts, [name]: fact };
  const material = name === "destroyed" ? undefined : before.object.material;
  return { kind: "update", before, after: { ...before.object, facts, material } };
}

/** Reads one record through a store. */
export async function get(
  store: ObjectStore,
  { uniqueIdentifier }: { readonly uniqueIdentifier: string },
): Promise<StoredObject | undefined> {
  const [stored] = await store.read(instance, [uniqueIdentifier]);
  return stored;
}

/** Reads a record that must be there. */
export async function must(
  store: ObjectStore,
  key: { readonly uniqueIdentifier: string },
): Promise<StoredObject> {
  const stored = await get(store, key);
  if (stored === undefined) throw new Error(`${key.uniqueIdentifier} does not exist`);
  return stored;
}

/** Puts a record into one region's store, bypassing all rules. */
export async function put({ own }: TestRegion, object: ManagedObject): Promise<void> {
  const outcome = await own.commit(instance, [creation(object)], []);
  if (outcome.kind !== "committed") throw new Error(outcome.kind);
}
