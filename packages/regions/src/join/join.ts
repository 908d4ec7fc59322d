import {
  areKnownAlike,
  areUnderOtherKeks,
  compareRegisters as compareIdentities,
  type Destruction,
  encodeRecord,
  type Fact,
  type Facts,
  isSameItem,
  isSameSeal,
  type ManagedObject,
  type Register,
  type Revocation,
  recordTag,
  type StoredObject,
  withSealedParts,
} from "@holdfast/engine";
import { refusalOf } from "./acceptable.ts";

/** What the join of two copies of a record results in. */
export type JoinOutcome =
  | { readonly kind: "joined"; readonly object: ManagedObject }
  /** Their immutable parts differ, so that neither may be chosen. */
  | { readonly kind: "conflict"; readonly reason: string };

/** A region whose stamp is ahead of this node's clock, and by how much. */
export interface Ahead {
  readonly region: string;
  readonly ms: number;
}

type Compare<Value> = (a: Value, b: Value) => number;

/**
 * An object with nothing else in it, whose canonical bytes the join compares when everything else
 * is equal.
 */
const bare: ManagedObject = {
  uniqueIdentifier: "",
  instance: "",
  objectType: 0,
  fixed: [],
  material: undefined,
  facts: {},
  registers: [],
  lastChange: 0,
};

/** Clocks of two hosts under NTP differ by less. */
const toleranceMs = 1_000;

/**
 * The only merge in the system: commutative, associative, idempotent, and nothing in it ever goes
 * back. It unites the facts (the earliest wins), keeps each register's last write, the last
 * destruction with a delay or restore, and the latest date of the last change, and drops the
 * material if either copy is destroyed for good.
 */
export function join(a: ManagedObject, b: ManagedObject): JoinOutcome {
  if (a === b || areKnownAlike(a, b)) return { kind: "joined", object: settled(a) };
  const facts = joinFacts(a.facts, b.facts);
  const destroyed = facts.destroyed !== undefined;
  const reason = differenceOf(a, b, destroyed);
  if (reason !== undefined) return { kind: "conflict", reason };
  const object: ManagedObject = {
    uniqueIdentifier: a.uniqueIdentifier,
    instance: a.instance,
    objectType: a.objectType,
    fixed: a.fixed,
    material: destroyed ? undefined : a.material,
    facts,
    registers: joinRegisters(a.registers, b.registers),
    lastChange: Math.max(a.lastChange, b.lastChange),
  };
  return { kind: "joined", object };
}

/**
 * The same, but where the copies were sealed apart (`areSealedApart`), the first one's seals stay: each region re-seals its
 * own records, so neither needs the other's. Whether both seals hold the same is not looked at.
 */
export function joinKeepingSeals(own: ManagedObject, other: ManagedObject): JoinOutcome {
  return join(own, areSealedApart(own, other) ? withOwnSeals(own, other) : other);
}

/**
 * Whether the seals of two copies differ for a reason that needs no look into them: other KEKs made them, as during a rekey,
 * or the object was destroyed with a delay, so that a restore may have sealed its material anew under the same KEK.
 */
export function areSealedApart(one: ManagedObject, other: ManagedObject): boolean {
  const mayBeRestored = (one.facts.destruction ?? other.facts.destruction) !== undefined;
  return (
    areUnderOtherKeks(one, other) || (mayBeRestored && !isSameSeal(one.material, other.material))
  );
}

/** A copy with the seals of the own one, if other KEKs made its own; the copy itself otherwise. */
export function withSealsOf(own: ManagedObject, copy: ManagedObject): ManagedObject {
  return areUnderOtherKeks(own, copy) ? withOwnSeals(own, copy) : copy;
}

/** A copy with the own seals; the copy itself where one of the two lacks material that is not destroyed. */
function withOwnSeals(own: ManagedObject, copy: ManagedObject): ManagedObject {
  const { material, facts } = copy;
  const destroyed = own.facts.destroyed !== undefined || facts.destroyed !== undefined;
  if (!destroyed && (own.material === undefined) !== (material === undefined)) return copy;
  return settled(withSealedParts(copy, own));
}

/** An object and its tag. */
export function storedOf(object: ManagedObject): StoredObject {
  return { object, tag: recordTag(object) };
}

/**
 * The join of any number of copies, with the seals of the first; undefined for none. A copy that no region makes is a
 * conflict, whichever region it is from.
 */
export function joinAll(copies: readonly ManagedObject[]): JoinOutcome | undefined {
  const [first, ...others] = copies;
  if (first === undefined) return undefined;
  for (const copy of copies) {
    const reason = refusalOf(copy);
    if (reason !== undefined) return { kind: "conflict", reason };
  }
  let outcome: JoinOutcome = { kind: "joined", object: settled(first) };
  for (const copy of others) {
    if (outcome.kind === "joined") outcome = joinKeepingSeals(outcome.object, copy);
  }
  return outcome;
}

/** A copy as a join leaves it: without material once it is destroyed for good, even if a peer sent some. */
export function settled(object: ManagedObject): ManagedObject {
  return object.facts.destroyed === undefined || object.material === undefined
    ? object
    : { ...object, material: undefined };
}

/**
 * The stamp of an object that is furthest ahead of a clock, if it is ahead by more than clocks
 * differ.
 */
export function clockAhead(object: ManagedObject, wallMs: number): Ahead | undefined {
  let ahead: Ahead | undefined;
  for (const { stamp } of object.registers) {
    const ms = stamp.us / 1_000 - wallMs;
    if (ms > (ahead?.ms ?? toleranceMs)) ahead = { region: stamp.region, ms };
  }
  return ahead;
}

/** Which immutable part differs between the copies. */
function differenceOf(a: ManagedObject, b: ManagedObject, destroyed: boolean): string | undefined {
  if (a.uniqueIdentifier !== b.uniqueIdentifier) return "the identifier differs";
  if (a.instance !== b.instance) return "the instance differs";
  if (a.objectType !== b.objectType) return "the object type differs";
  const { fixed } = a;
  if (
    fixed.length !== b.fixed.length ||
    !fixed.every((item, at) => isSameItem(item, b.fixed[at]))
  ) {
    return "attributes fixed at creation differ";
  }
  if (destroyed || isSameSeal(a.material, b.material)) return undefined;
  return "the sealed material differs";
}

function joinFacts(a: Facts, b: Facts): Facts {
  const served = earliest(a.served, b.served, compareFacts);
  const activated = earliest(a.activated, b.activated, compareFacts);
  const deactivated = earliest(a.deactivated, b.deactivated, compareRevocations);
  const compromised = earliest(a.compromised, b.compromised, compareRevocations);
  const destroyed = earliest(a.destroyed, b.destroyed, compareFacts);
  const destruction = earliest(a.destruction, b.destruction, compareDestructions);
  return {
    ...(served && { served }),
    ...(activated && { activated }),
    ...(deactivated && { deactivated }),
    ...(compromised && { compromised }),
    ...(destroyed && { destroyed }),
    ...(destruction && { destruction }),
  };
}

function earliest<Value>(
  a: Value | undefined,
  b: Value | undefined,
  compare: Compare<Value>,
): Value | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compare(a, b) <= 0 ? a : b;
}

function compareFacts(a: Fact, b: Fact): number {
  return a.time - b.time || compareText(a.region, b.region);
}

/** The details go with the fact that wins. */
function compareRevocations(a: Revocation, b: Revocation): number {
  return (
    compareFacts(a, b) ||
    compareBytes({ ...bare, facts: { deactivated: a } }, { ...bare, facts: { deactivated: b } })
  );
}

/** The last write comes first. Of two at the same time a restore wins: it loses no key. */
function compareDestructions(a: Destruction, b: Destruction): number {
  return b.us - a.us || compareText(b.state, a.state) || compareFacts(a, b) || b.until - a.until;
}

function joinRegisters(a: readonly Register[], b: readonly Register[]): readonly Register[] {
  const joined = new Map<string, Register>();
  for (const register of a) joined.set(identityOf(register), register);
  for (const register of b) {
    const identity = identityOf(register);
    const other = joined.get(identity);
    if (other === undefined || compareStamps(other, register) < 0) {
      joined.set(identity, register);
    }
  }
  return [...joined.values()].toSorted(compareIdentities);
}

/** Numbers first, and the key's length before the key: no two identities are the same text. */
function identityOf({ tag, index, key, origin }: Register): string {
  return `${tag}.${index}.${key.length}.${key}${origin}`;
}

/** Who wrote last: by stamp, then by region, then by the value's bytes. */
function compareStamps(a: Register, b: Register): number {
  return (
    a.stamp.us - b.stamp.us ||
    compareText(a.stamp.region, b.stamp.region) ||
    (isSameItem(a.value, b.value)
      ? 0
      : compareBytes({ ...bare, registers: [a] }, { ...bare, registers: [b] }))
  );
}

function compareBytes(a: ManagedObject, b: ManagedObject): number {
  return Buffer.compare(encodeRecord(a), encodeRecord(b));
}

function compareText(a: string, b: string): number {
  return Number(a > b) - Number(a < b);
}
