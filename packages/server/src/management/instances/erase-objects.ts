import {
  type Change,
  deletionRegion,
  type Fact,
  type FindQuery,
  isCorrupt,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  type OwnStoredObject,
  pendingDestruction,
  restorableTerm,
  StoreUnavailable,
} from "@holdfast/engine";

export interface EraseOptions {
  readonly own: Pick<OwnStore, "find" | "commit">;
  /** A read of it takes the other region's copy in the place of a damaged record. */
  readonly store: Pick<ObjectStore, "read">;
  readonly active: () => boolean;
  /** Objects erased in one call at most. */
  readonly limit: number;
}

/** What one call erased. */
export interface Erased {
  readonly done: number;
  /** Nothing of the instance can be opened in this store any more. */
  readonly all: boolean;
  /** Records that do not prove themselves and that no region can replace: they stay where they are, and open nothing. */
  readonly unproven: number;
}

const pageRecords = 128;
const recordsPerCommit = 64;
const readsAtOnce = 16;

/**
 * Destroys an instance's objects in the region's own store and removes their material. The fact is that of the
 * deletion: each region writes the same one by itself. Objects that were destroyed before stay as they were.
 */
export async function eraseObjects(
  instance: string,
  fact: Fact,
  options: EraseOptions,
): Promise<Erased> {
  let done = 0;
  let all = true;
  let unproven = 0;
  for (const which of [{ live: true, destroyed: false }, restorable]) {
    const limit = options.limit - done;
    const erased = await eraseFound(instance, fact, which, { ...options, limit });
    done += erased.done;
    unproven += erased.unproven;
    all &&= erased.all;
  }
  return { done, all, unproven };
}

/** More restorable objects than these are not counted: that there are some decides. */
const restorableMax = 1_000;

/** How many objects of an instance are destroyed and can be restored, as a store has them: at most `restorableMax`. */
export async function countRestorable(
  own: Pick<OwnStore, "find">,
  instance: string,
): Promise<number> {
  let count = 0;
  let query: FindQuery | undefined = { ...restorable, limit: pageRecords };
  while (query !== undefined && count < restorableMax) {
    const { objects, next } = await own.find(instance, query);
    count += objects.filter(({ object }) => pendingDestruction(object.facts)).length;
    query = next === undefined ? undefined : { ...query, after: next };
  }
  return Math.min(count, restorableMax);
}

const restorable = { live: false, destroyed: true, term: restorableTerm } as const;

async function eraseFound(
  instance: string,
  fact: Fact,
  which: Pick<FindQuery, "live" | "destroyed" | "term">,
  { own, store, active, limit }: EraseOptions,
): Promise<Erased> {
  let done = 0;
  let unproven = 0;
  let after: string | undefined;
  let left = false;
  while (active() && done < limit) {
    const page = await own.find(instance, {
      ...which,
      limit: pageRecords,
      listDamaged: true,
      ...(after !== undefined && { after }),
    });
    const free = page.objects.filter(
      ({ reserved, object }) => reserved === undefined && object.facts.destroyed === undefined,
    );
    // An agreed operation that holds a record ends soon.
    if (page.objects.some(({ reserved }) => reserved !== undefined)) left = true;
    for (let at = 0; at < free.length; at += recordsPerCommit) {
      const some = free.slice(at, at + recordsPerCommit);
      const erased = await commitErased(own, instance, fact, some);
      done += erased;
      if (erased < some.length) left = true;
    }
    const { ids = [] } = page.damaged ?? {};
    const lost = await countUnproven(store, instance, ids);
    unproven += lost;
    // A record that was replaced by another region's copy is erased in the next run.
    if (lost < ids.length) left = true;
    if (page.next === undefined) return { done, all: !left, unproven };
    after = page.next;
  }
  return { done, all: false, unproven };
}

async function countUnproven(
  store: EraseOptions["store"],
  instance: string,
  ids: readonly string[],
): Promise<number> {
  let count = 0;
  for (let at = 0; at < ids.length; at += readsAtOnce) {
    const some = ids.slice(at, at + readsAtOnce);
    const lost = await Promise.all(some.map((id) => isUnproven(store, instance, id)));
    count += lost.filter(Boolean).length;
  }
  return count;
}

/** Whether a record does not prove itself, and no region that can be asked has a copy that does. */
export async function isUnproven(
  store: EraseOptions["store"],
  instance: string,
  id: string,
): Promise<boolean> {
  try {
    await store.read(instance, [id]);
    return false;
  } catch (error) {
    if (isCorrupt(error)) return true;
    throw error;
  }
}

/** All of them together, or one by one where one was changed meanwhile. */
async function commitErased(
  own: Pick<OwnStore, "commit">,
  instance: string,
  fact: Fact,
  objects: readonly OwnStoredObject[],
): Promise<number> {
  const changes = objects.map(
    (before): Change => ({ kind: "update", before, after: erased(before.object, fact) }),
  );
  const outcome = await own.commit(instance, changes, [], { joined: true });
  if (outcome.kind === "committed") return objects.length;
  if (outcome.kind !== "conflict" && outcome.kind !== "reserved") {
    throw new StoreUnavailable("corrupt", `objects are not erased: ${outcome.kind}`);
  }
  if (objects.length === 1) return 0;
  let done = 0;
  for (const one of objects) done += await commitErased(own, instance, fact, [one]);
  return done;
}

/** An object as its instance's deletion leaves it. */
function erased(object: ManagedObject, { time }: Fact): ManagedObject {
  if (object.facts.destroyed !== undefined) return object;
  const destroyed = { time, region: deletionRegion };
  return {
    ...object,
    material: undefined,
    facts: { ...object.facts, destroyed },
    lastChange: Math.max(object.lastChange, destroyed.time),
  };
}
