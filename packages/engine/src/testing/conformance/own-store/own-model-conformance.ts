import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { digestsOf } from "../../../ports/digest.ts";
import type { Change, StoredObject } from "../../../ports/objects.ts";
import type { OwnCommitOptions, OwnStore } from "../../../ports/own-store.ts";
import type { ManagedObject } from "../../../record/record.ts";
import { termFor } from "../../../system/index-terms.ts";
import { MemoryOwnStore } from "../../memory/memory-own-store.ts";
import {
  groupItem,
  nameItem,
  sampleObject,
  sampleRegister,
} from "../managed-object-conformance.ts";
import type { StoreModelOptions } from "../store-model-conformance.ts";
import { type OwnStoreSubject, OwnWorld } from "./own-world-conformance.ts";

const slots = 5;
const operations = ["one", "two"] as const;
const texts = ["n", "m"] as const;

const draft = fc.record({
  slot: fc.nat({ max: slots - 1 }),
  /** How many versions before the newest the change names. */
  age: fc.constantFrom(0, 0, 0, 0, 1),
  edit: fc.constantFrom("create", "attributes", "attributes", "destroy", "touch", "nothing"),
  names: fc.subarray([...texts]),
  group: fc.option(fc.constantFrom("g", "h"), { nil: undefined }),
});
const how = fc.record(
  { joined: fc.constant(true), operation: fc.constantFrom(...operations) },
  { requiredKeys: [] },
);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("commit" as const),
      drafts: fc.uniqueArray(draft, { minLength: 1, maxLength: 3, selector: (d) => d.slot }),
      how,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("reserve" as const),
      slots: fc.uniqueArray(fc.nat({ max: slots - 1 }), { minLength: 1, maxLength: 3 }),
      operation: fc.constantFrom(...operations),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("release" as const),
      operation: fc.constantFrom(...operations),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("served" as const),
      slot: fc.nat({ max: slots - 1 }),
    }),
  },
);

type Of<Maker> = Maker extends fc.Arbitrary<infer Made> ? Made : never;
type Draft = Of<typeof draft>;
type Step = Of<typeof step>;

/** Random sequences of a region's own operations: the subject and the store in memory answer the same and end the same. */
export function ownStoreModel(
  name: string,
  open: () => Promise<OwnStoreSubject>,
  options: StoreModelOptions = {},
): void {
  const { seed = 20261125, numRuns = 50, timeoutMs = 120_000 } = options;
  describe(`${name} as a model of a region's own store`, () => {
    test(
      `answers as the model does (seed ${seed}, ${numRuns} sequences)`,
      async () => {
        const opened = await open();
        try {
          await fc.assert(
            fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
              await compare(opened, steps);
            }),
            { seed, numRuns, endOnFailure: true },
          );
        } finally {
          await opened.close();
        }
      },
      timeoutMs,
    );
  });
}

async function compare(opened: OwnStoreSubject, steps: readonly Step[]): Promise<void> {
  const world = await OwnWorld.make(opened);
  const { instance, partition } = world;
  const model = new MemoryOwnStore();
  await model.instances.install(instance);
  const start = await world.number();
  const history = new History(instance);
  for (const [at, next] of steps.entries()) {
    const said = `step ${at}: ${JSON.stringify(next)}`;
    const ours = await perform(model, instance, history, next, at);
    expect(await perform(opened.subject, instance, history, next, at), said).toEqual(ours);
    const read = await model.read(instance, history.ids);
    expect((await opened.subject.read(instance, history.ids)).map(seen), said).toEqual(
      read.map(seen),
    );
    history.add(read);
  }
  for (const term of [undefined, ...texts.map((text) => termFor(nameItem(text)))]) {
    const query = { live: true, destroyed: true, limit: 20, ...(term && { term }) };
    const found = async (store: OwnStore) => (await store.find(instance, query)).objects.map(seen);
    expect(await found(opened.subject), `found under ${term}`).toEqual(await found(model));
  }
  expect(await opened.subject.counts(instance)).toEqual(await model.counts(instance));
  const theirs = (await world.pages(start)).flatMap(({ objects }) => objects);
  const ours = (await model.changes(partition, 0, 100, 1 << 20)).objects;
  expect(theirs).toEqual(ours);
  expect(await world.number()).toBe(start + ((await model.position()).numbers[partition] ?? 0));
  const digests = Buffer.from(await opened.subject.digests(partition));
  expect(digests.equals(Buffer.from(digestsOf(await world.leaves())))).toBe(true);
  for (const operation of operations) await opened.subject.release(instance, operation);
}

function seen(stored: (StoredObject & { readonly reserved?: string }) | undefined): unknown {
  return stored && [stored.object.uniqueIdentifier, stored.tag, stored.reserved];
}

/** Every version that the model has shown, by slot, newest last. */
class History {
  readonly instance: string;
  readonly ids = Array.from({ length: slots }, () => randomUUID());
  readonly #versions: StoredObject[][] = Array.from({ length: slots }, () => []);

  constructor(instance: string) {
    this.instance = instance;
  }

  add(stored: readonly (StoredObject | undefined)[]): void {
    for (const [at, version] of stored.entries()) {
      const versions = this.#versions[at];
      if (version && versions && versions.at(-1)?.tag !== version.tag) versions.push(version);
    }
  }

  before(at: number, back: number): StoredObject | undefined {
    const versions = this.#versions[at] ?? [];
    return versions.at(-1 - back) ?? versions[0];
  }

  fresh(at: number): ManagedObject {
    return sampleObject(this.instance, this.ids[at] ?? "");
  }
}

async function perform(
  store: OwnStore,
  instance: string,
  history: History,
  next: Step,
  at: number,
): Promise<unknown> {
  switch (next.kind) {
    case "commit": {
      const changes = next.drafts.map((drafted) => changeOf(history, drafted, at));
      let written = 0;
      const options: OwnCommitOptions = {
        ...next.how,
        written: () => {
          written += 1;
        },
      };
      return [await store.commit(instance, changes, [], options), written];
    }
    case "reserve": {
      const ids = next.slots.map((slot) => history.ids[slot] ?? "");
      return store.reserve(instance, ids, next.operation);
    }
    case "release":
      return store.release(instance, next.operation);
    case "served": {
      const before = history.before(next.slot, 0);
      if (before === undefined) return false;
      const served = { time: at, region: "a" };
      const after = { ...before.object, facts: { ...before.object.facts, served } };
      return store.markServed(instance, before, after);
    }
  }
}

function changeOf(history: History, drafted: Draft, at: number): Change {
  const before = history.before(drafted.slot, drafted.age);
  if (before === undefined || drafted.edit === "create") {
    return { kind: "create", after: withAttributes(history.fresh(drafted.slot), drafted, at) };
  }
  return { kind: "update", before, after: edited(before.object, drafted, at) };
}

function edited(object: ManagedObject, drafted: Draft, at: number): ManagedObject {
  switch (drafted.edit) {
    case "destroy": {
      const facts = { ...object.facts, destroyed: { time: at, region: "a" } };
      return { ...object, material: undefined, facts };
    }
    case "touch":
      return { ...object, lastChange: object.lastChange + at + 1 };
    case "nothing":
      return object;
    case "create":
    case "attributes":
      return withAttributes(object, drafted, at);
  }
}

function withAttributes(object: ManagedObject, drafted: Draft, at: number): ManagedObject {
  const group = drafted.group === undefined ? [] : [sampleRegister(groupItem(drafted.group), at)];
  const names = drafted.names.map((name, index) => sampleRegister(nameItem(name), at, "", index));
  return { ...object, registers: [...names, ...group] };
}
