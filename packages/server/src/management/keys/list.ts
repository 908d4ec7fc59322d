import { setImmediate } from "node:timers/promises";
import type { Call, Contract } from "@holdfast/admin";
import {
  creatorOf,
  creatorTerm,
  type FindQuery,
  type ManagedObject,
  type ObjectStore,
  pendingDestruction,
  restorableTerm,
  type State,
  stateValues,
  termFor,
  vendorItem,
  vendorTags,
} from "@holdfast/engine";
import { attributeItem, attributes } from "@holdfast/kmip";
import { textString } from "@holdfast/ttlv";
import {
  createdSeconds,
  enumerationOf,
  type KeyAnswer,
  keyAnswer,
  namesOf,
  stateNow,
  typeOf,
  vendorKeys,
  vendorText,
} from "./key-answer.ts";

/** What lists are read from. */
export interface ListDeps {
  readonly store: Pick<ObjectStore, "find">;
  readonly wallMs: () => number;
}

/** What a list is narrowed by. */
export type KeyFilter = Omit<Call<Contract["listKeys"]>["query"], "limit" | "cursor">;

/** Which page of a list. */
export interface PageOf {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** A page, which may be short, or empty, although more follow. */
export interface KeyPage {
  readonly items: KeyAnswer[];
  readonly next?: string;
}

type Test = (object: ManagedObject) => boolean;

/** Objects that one call looks at: what a page costs does not grow with the number of keys. */
const lookedAtMax = 2_000;
/** Fewer are not worth another question to the store: the page ends there. */
const leastAsked = 16;
const askedMax = 128;

/** A page of an instance's objects, newest first. */
export async function listKeys(
  { store, wallMs }: ListDeps,
  instance: string,
  filter: KeyFilter,
  page: PageOf,
  more: Test = () => true,
): Promise<KeyPage> {
  const tests = [...testsOf(filter, wallMs()), more];
  const narrowed = narrow(filter);
  const items: KeyAnswer[] = [];
  let next = page.cursor;
  let lookedAt = 0;
  do {
    const limit = Math.min(askedMax, page.limit - items.length);
    const query = { ...narrowed, limit, ...(next !== undefined && { after: next }) };
    const found = await store.find(instance, query);
    for (const { object } of found.objects) {
      if (tests.every((test) => test(object))) items.push(keyAnswer(object, wallMs()));
    }
    lookedAt += Math.max(1, found.objects.length);
    ({ next } = found);
    // Lets other work run: a page may be long.
    await setImmediate();
  } while (
    next !== undefined &&
    lookedAt < lookedAtMax &&
    page.limit - items.length >= Math.min(leastAsked, page.limit)
  );
  return next === undefined ? { items } : { items, next };
}

/** The part of the store that holds every match. */
function narrow(filter: KeyFilter): Pick<FindQuery, "term" | "live" | "destroyed"> {
  const isDestroyed = (state: State) => stateValues[state] >= stateValues.Destroyed;
  const states = filter.restorable === true ? (["Destroyed"] as const) : wantedStates(filter);
  const term = termOf(filter);
  return {
    live: states?.some((state) => !isDestroyed(state)) ?? true,
    destroyed: states?.some(isDestroyed) ?? true,
    ...(term !== undefined && { term }),
  };
}

/** The states of which an object must have one; undefined = any. */
function wantedStates({ state, states }: KeyFilter): readonly State[] | undefined {
  const several = states?.split(",") as readonly State[] | undefined;
  if (state === undefined || several === undefined) return state === undefined ? several : [state];
  return several.filter((one) => one === state);
}

/** The term that the fewest objects share. */
function termOf({
  name,
  xIdentifier,
  xName,
  createdBy,
  restorable,
}: KeyFilter): string | undefined {
  if (name !== undefined) {
    return termFor(attributeItem("Name", { value: name, type: "UninterpretedTextString" }));
  }
  if (xIdentifier !== undefined) return vendorTerm(vendorKeys.xIdentifier, xIdentifier);
  if (xName !== undefined) return vendorTerm(vendorKeys.xName, xName);
  if (restorable === true) return restorableTerm;
  return createdBy !== undefined && isFingerprint(createdBy) ? creatorTerm(createdBy) : undefined;
}

function vendorTerm(key: string, text: string): string | undefined {
  return termFor(vendorItem({ key, value: textString(vendorTags.AttributeValue, text) }));
}

function testsOf(filter: KeyFilter, wallMs: number): readonly Test[] {
  const { algorithm, type, createdAfter, createdBefore, restorable } = filter;
  const states = wantedStates(filter);
  const { xIdentifier, xName, name, createdBy } = filter;
  const algorithmTag = attributes.CryptographicAlgorithm.tag;
  const tests: readonly (Test | false)[] = [
    restorable === true && (({ facts }) => pendingDestruction(facts) !== undefined),
    states !== undefined && ((object) => states.includes(stateNow(object, wallMs))),
    algorithm !== undefined && ((object) => isWord(enumerationOf(object, algorithmTag), algorithm)),
    type !== undefined && ((object) => isWord(typeOf(object), type)),
    createdAfter !== undefined &&
      ((object) => secondsOf(object) * 1000 >= Date.parse(createdAfter)),
    createdBefore !== undefined &&
      ((object) => secondsOf(object) * 1000 < Date.parse(createdBefore)),
    xIdentifier !== undefined &&
      ((object) => vendorText(object, vendorKeys.xIdentifier) === xIdentifier),
    xName !== undefined && ((object) => vendorText(object, vendorKeys.xName) === xName),
    name !== undefined && ((object) => namesOf(object).includes(name)),
    createdBy !== undefined && ((object) => creatorOf(object) === createdBy),
  ];
  return tests.filter((test) => test !== false);
}

/** Ignores case: nobody remembers how KMIP writes `AES` and `SymmetricKey`. */
function isWord(text: string | undefined, wanted: string): boolean {
  return text?.toLowerCase() === wanted.toLowerCase();
}

function secondsOf(object: ManagedObject): number {
  return createdSeconds(object) ?? object.lastChange;
}

function isFingerprint(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}
