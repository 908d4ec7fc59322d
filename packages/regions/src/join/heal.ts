import {
  encodeRecord,
  KeyRingUnavailable,
  type ManagedObject,
  type OwnStore,
  type StoredObject,
  withSealedParts,
} from "@holdfast/engine";
import { failureIn } from "../ports/waiting.ts";
import { type JoinOutcome, join, storedOf } from "./join.ts";

/** Whether everything sealed in an object opens. */
export type Opens = (object: ManagedObject) => Promise<boolean>;

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

/** A join that looked at what is sealed; `replaces` where the first copy's seals are broken. */
export type OpenedJoin = JoinOutcome & { readonly replaces?: boolean };

/**
 * The join of two copies that differ only in what is sealed, where all of it opens in one of them
 * and not in the other. Undefined for any other copies, and while the instance's key is closed.
 */
export async function joinOpened(
  first: ManagedObject,
  other: ManagedObject,
  opens: Opens,
): Promise<OpenedJoin | undefined> {
  // A copy without sealed parts counts as one that opens, and must not replace one that has them.
  if ((first.material === undefined) !== (other.material === undefined)) return undefined;
  const whole = join(withSealedParts(first, other), other);
  if (whole.kind !== "joined") return undefined;
  try {
    if (await opens(first)) {
      return (await opens(other)) ? undefined : join(first, withSealedParts(other, first));
    }
    return (await opens(other)) ? { ...whole, replaces: true } : undefined;
  } catch (error) {
    if (error instanceof KeyRingUnavailable) return undefined;
    throw error;
  }
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
