import {
  encodeRecord,
  KeyRingUnavailable,
  type ManagedObject,
  type OwnStore,
  type StoredObject,
  withSealedParts,
} from "@holdfast/engine";
import { failureIn } from "../ports/waiting.ts";
import { type JoinOutcome, join, joinKeepingSeals, storedOf } from "./join.ts";

/** Whether everything sealed in an object opens. */
export type Opens = (object: ManagedObject) => Promise<boolean>;

/** What a key ring knows of the seals of copies. */
export interface Seals {
  readonly opens: Opens;
  /**
   * `own` with the seals that both copies keep, which are those of the newer KEK; undefined if they do not hold the same.
   * Both open.
   */
  readonly newer: (own: ManagedObject, other: ManagedObject) => Promise<ManagedObject | undefined>;
  /** Whether the material of a restored object holds what was withheld. */
  readonly releases: (before: ManagedObject, after: ManagedObject) => Promise<boolean>;
}

/** Where another copy of an object may be. */
export interface CopySource {
  readonly region: string;
  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]>;
}

/** A healed object, and the region whose copy was used. */
export interface Found {
  readonly stored: StoredObject;
  readonly region: string;
}

/**
 * A join that looked at what is sealed; `replaces` where the first copy's seals are broken, `closed` where it could not
 * look.
 */
export type OpenedJoin = JoinOutcome & { readonly replaces?: boolean; readonly closed?: boolean };

/**
 * The join of two copies that differ only in what is sealed: with the parts of the copy that opens, or, if both open to
 * the same, with those under the newer KEK. While the instance's key is closed, the first copy's seals stay if the copies
 * were sealed apart (`joinKeepingSeals`). A conflict for any other copies.
 */
export async function joinOpened(
  first: ManagedObject,
  other: ManagedObject,
  seals: Seals,
): Promise<OpenedJoin> {
  const [own, copy] = bothDestroyed(first, other);
  const differ = join(own, copy);
  // A copy without sealed parts counts as one that opens, and must not replace one that has them.
  if (differ.kind === "joined" || (own.material === undefined) !== (copy.material === undefined)) {
    return differ;
  }
  const whole = join(withSealedParts(own, copy), copy);
  if (whole.kind !== "joined") return differ;
  try {
    if (await seals.opens(own)) {
      if (!(await seals.opens(copy))) return join(own, withSealedParts(copy, own));
      const kept = await seals.newer(own, copy);
      return kept === undefined ? differ : join(kept, withSealedParts(copy, kept));
    }
    return (await seals.opens(copy)) ? { ...whole, replaces: true } : differ;
  } catch (error) {
    if (error instanceof KeyRingUnavailable) {
      return { ...joinKeepingSeals(own, copy), closed: true };
    }
    throw error;
  }
}

/** Two copies of which one is destroyed, both without material: only their Digests are still sealed. */
function bothDestroyed(
  first: ManagedObject,
  other: ManagedObject,
): readonly [ManagedObject, ManagedObject] {
  const destroyed = first.facts.destroyed !== undefined || other.facts.destroyed !== undefined;
  if (!destroyed) return [first, other];
  return [
    { ...first, material: undefined },
    { ...other, material: undefined },
  ];
}

/**
 * An object whose sealed parts do not open, joined with a copy whose sealed parts all do: these
 * come from the copy, everything else is the join of both. Undefined where no copy opens; a source
 * that cannot be reached counts as one without a copy.
 */
export async function openingCopy(
  instance: string,
  { object }: StoredObject,
  sources: readonly CopySource[],
  opens: Opens,
): Promise<Found | undefined> {
  for (const { region, read } of sources) {
    const copy = await copyIn(read(instance, [object.uniqueIdentifier]));
    if (copy === undefined) continue;
    const outcome = join(withSealedParts(object, copy), copy);
    if (outcome.kind === "joined" && (await opens(outcome.object))) {
      return { stored: storedOf(outcome.object), region };
    }
  }
  return undefined;
}

async function copyIn(
  answer: Promise<readonly (StoredObject | undefined)[]>,
): Promise<ManagedObject | undefined> {
  try {
    return (await answer)[0]?.object;
  } catch (error) {
    failureIn(error);
    return undefined;
  }
}

/**
 * Keeps in quarantine a copy of the own store whose seals are broken, before another region's copy
 * takes its place.
 */
export async function putBrokenAside(
  own: OwnStore,
  broken: ManagedObject,
  region: string,
): Promise<void> {
  const { instance, uniqueIdentifier } = broken;
  const reason = `its seal is broken: the copy of region ${region}, which opens, takes its place`;
  await own.quarantine(instance, uniqueIdentifier, reason, { copy: encodeRecord(broken) });
}

/**
 * Puts the broken copy of the own store aside, and writes what was found in its place. If that
 * cannot be written now, or another writer was faster, the answer is still true; the next reader
 * tries again.
 */
export async function replaceBroken(
  own: OwnStore,
  instance: string,
  broken: StoredObject,
  { stored, region }: Found,
): Promise<void> {
  try {
    await putBrokenAside(own, broken.object, region);
    const change = { kind: "update", before: broken, after: stored.object } as const;
    await own.commit(instance, [change], [], { joined: true });
  } catch (error) {
    failureIn(error);
  }
}
