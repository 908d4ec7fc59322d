import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Change, CommitOutcome, ObjectStore, StoredObject } from "../../ports/objects.ts";
import type { ManagedObject } from "../../record/record.ts";
import { encodeRecord, tagOf } from "../../record/record-codec.ts";
import { termFor } from "../../system/index-terms.ts";
import { MemoryInstanceStore } from "../memory/memory-instance-store.ts";
import { MemoryOwnStore } from "../memory/memory-own-store.ts";
import { groupItem, nameItem, sampleObject, sampleRegister } from "./managed-object-conformance.ts";
import { auditEvent, type ObjectStoreSubject } from "./world-conformance.ts";

const names = ["n0", "n1", "n2"];
const groups = ["g0", "g1"];
const slots = 5;
const pagesMax = 100;

/** What a step does to one object; `age` picks which of its known versions the change claims to follow. */
interface Draft {
  readonly slot: number;
  readonly edit: "create" | "attributes" | "destroy" | "touch" | "nothing";
  readonly age: number;
  readonly names: readonly string[];
  readonly group: string | undefined;
}

type Step =
  | { readonly kind: "commit"; readonly drafts: readonly Draft[] }
  | { readonly kind: "markServed"; readonly slot: number; readonly age: number }
  | { readonly kind: "appendAudit" }
  | {
      readonly kind: "find";
      readonly term: string | undefined;
      readonly live: boolean;
      readonly destroyed: boolean;
      readonly limit: number;
    };

const slot = fc.nat({ max: slots - 1 });
/** Mostly the newest version. */
const age = fc.constantFrom(0, 0, 0, 0, 1, 2);
const draft: fc.Arbitrary<Draft> = fc.record({
  slot,
  edit: fc.constantFrom(
    "create",
    "create",
    "attributes",
    "attributes",
    "destroy",
    "touch",
    "nothing",
  ),
  age,
  names: fc.subarray(names, { maxLength: 2 }),
  group: fc.option(fc.constantFrom(...groups), { nil: undefined }),
});
const terms = [...names.map(nameItem), ...groups.map(groupItem)].map(termFor);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: commitOf(1) },
  { weight: 2, arbitrary: commitOf(3) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("markServed" as const), slot, age }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("appendAudit" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("find" as const),
      term: fc.constantFrom(undefined, ...terms),
      live: fc.boolean(),
      destroyed: fc.boolean(),
      limit: fc.integer({ min: 1, max: 4 }),
    }),
  },
);

function commitOf(most: number): fc.Arbitrary<Step> {
  return fc.record({
    kind: fc.constant("commit" as const),
    drafts: fc.uniqueArray(draft, { minLength: 1, maxLength: most, selector: (d) => d.slot }),
  });
}

/** How much a model test runs. */
export interface StoreModelOptions {
  readonly seed?: number;
  readonly numRuns?: number;
  readonly timeoutMs?: number;
}

/** Random sequences of operations: the subject and the store in memory answer the same and end the same. */
export function storeModel(
  name: string,
  open: () => Promise<ObjectStoreSubject>,
  options: StoreModelOptions = {},
): void {
  const { seed = 20260103, numRuns = 50, timeoutMs = 60_000 } = options;
  describe(`${name} as a model in memory`, () => {
    test(
      `answers as the model does (seed ${seed}, ${numRuns} sequences)`,
      async () => {
        const opened = await open();
        try {
          await fc.assert(
            fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
              await compare(opened, steps);
            }),
            { seed, numRuns, endOnFailure: false },
          );
        } finally {
          await opened.close();
        }
      },
      timeoutMs,
    );
  });
}

async function compare(opened: ObjectStoreSubject, steps: readonly Step[]): Promise<void> {
  const instance = randomUUID();
  const instances = new MemoryInstanceStore();
  const model = new MemoryOwnStore({ instances });
  await instances.ensure(instance, "model");
  await opened.instances.ensure(instance, "model");
  const ids = Array.from({ length: slots }, () => randomUUID());
  const history = new History(instance, ids);
  for (const [at, next] of steps.entries()) {
    const [ours, theirs] = await both(model, opened.subject, (store) =>
      perform(store, instance, history, next, at),
    );
    expect(theirs, `step ${at}: ${JSON.stringify(next)}`).toEqual(ours);
    const stored = await model.read(instance, ids);
    const read = await opened.subject.read(instance, ids);
    expect(read.map(fingerprint), `after step ${at}`).toEqual(stored.map(fingerprint));
    history.add(stored);
  }
  const everything = {
    kind: "find",
    live: true,
    destroyed: true,
    limit: 3,
    term: undefined,
  } as const;
  const [ours, theirs] = await both(model, opened.subject, (store) =>
    perform(store, instance, history, everything, steps.length),
  );
  expect(theirs, "at the end").toEqual(ours);
  expect((await opened.auditOf(instance)).map(({ action }) => action)).toEqual(
    model.auditOf(instance).map(({ action }) => action),
  );
}

async function both<Answer>(
  model: ObjectStore,
  subject: ObjectStore,
  run: (store: ObjectStore) => Promise<Answer>,
): Promise<readonly [Answer, Answer]> {
  return [await run(model), await run(subject)];
}

/** Tag and actual hash of what a store returned: both must agree. */
function fingerprint(stored: StoredObject | undefined): string | undefined {
  return stored && `${stored.tag} ${tagOf(encodeRecord(stored.object))}`;
}

/** Every version that the model has shown, by slot, newest last. */
class History {
  readonly #instance: string;
  readonly #ids: readonly string[];
  readonly #versions: StoredObject[][];

  constructor(instance: string, ids: readonly string[]) {
    this.#instance = instance;
    this.#ids = ids;
    this.#versions = ids.map(() => []);
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
    return sampleObject(this.#instance, this.#ids[at] ?? "");
  }
}

async function perform(
  store: ObjectStore,
  instance: string,
  history: History,
  next: Step,
  at: number,
): Promise<unknown> {
  switch (next.kind) {
    case "commit": {
      const changes = next.drafts.map((drafted) => changeOf(history, drafted, at));
      const outcome: CommitOutcome = await store.commit(instance, changes, [auditEvent(`${at}`)]);
      return outcome;
    }
    case "markServed": {
      const before = history.before(next.slot, next.age);
      if (before === undefined) return false;
      const served = { time: at, region: "a" };
      const after = { ...before.object, facts: { ...before.object.facts, served } };
      return store.markServed(instance, before, after);
    }
    case "appendAudit":
      return store.appendAudit(instance, [auditEvent(`${at} alone`)], true);
    case "find":
      return findAll(store, instance, next);
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
    case "attributes":
    case "create":
      return withAttributes(object, drafted, at);
    case "destroy":
      return { ...object, material: undefined, facts: { destroyed: { time: at, region: "a" } } };
    case "touch":
      return { ...object, lastChange: object.lastChange + at };
    case "nothing":
      return object;
  }
}

function withAttributes(object: ManagedObject, drafted: Draft, at: number): ManagedObject {
  const group = drafted.group === undefined ? [] : [sampleRegister(groupItem(drafted.group), at)];
  return {
    ...object,
    registers: [
      ...drafted.names.map((name, index) => sampleRegister(nameItem(name), at, "", index)),
      ...group,
    ],
  };
}

async function findAll(
  store: ObjectStore,
  instance: string,
  query: Extract<Step, { kind: "find" }>,
): Promise<readonly string[]> {
  const found: string[] = [];
  let after: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const { objects, next } = await store.find(instance, {
      live: query.live,
      destroyed: query.destroyed,
      limit: query.limit,
      ...(query.term !== undefined && { term: query.term }),
      ...(after !== undefined && { after }),
    });
    expect(objects.length).toBeLessThanOrEqual(query.limit);
    found.push(...objects.map((stored) => `${stored.object.uniqueIdentifier} ${stored.tag}`));
    if (next === undefined) return found;
    after = next;
  }
  throw new Error(`a find did not end after ${pagesMax} pages`);
}
