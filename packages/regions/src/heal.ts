import {
  encodeRecord,
  type ManagedObject,
  type Observer,
  type OwnStore,
  type StoredObject,
  withSealedParts,
} from "@holdfast/engine";
import { join } from "./join.ts";
import { storedOf } from "./merge.ts";
import { failureIn } from "./waiting.ts";

/** Whether everything sealed in an object opens. */
export type Opens = (object: ManagedObject) => Promise<boolean>;

/** Where another copy of an object may be. */
export interface CopySource {
  readonly region: string;
  read(instance: string, ids: readonly string[]): Promise<readonly (StoredObject | undefined)[]>;
}

/** An object made whole, and whose copy it came from. */
export interface Found {
  readonly stored: StoredObject;
  readonly region: string;
}

/**
 * An object whose sealed parts do not open, joined with a copy of which all do: everything but these is what a join makes
 * of both. Undefined where no copy opens; one that cannot be asked for counts as none.
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
 * Puts the broken copy of the own store aside, and what was found in its place. Where that cannot be written now, or a
 * writer was faster, the answer is as true without: the next reader tries again.
 */
export async function replaceBroken(
  own: OwnStore,
  instance: string,
  broken: StoredObject,
  { stored, region }: Found,
  observe: Observer,
): Promise<void> {
  const { uniqueIdentifier } = broken.object;
  const reason = `its seal is broken, and the copy of region ${region} opens`;
  try {
    const copy = encodeRecord(broken.object);
    await own.quarantine(instance, uniqueIdentifier, reason, { copy });
    const change = { kind: "update", before: broken, after: stored.object } as const;
    const { kind } = await own.commit(instance, [change], [], { joined: true });
    if (kind !== "committed") return;
    const message = `record ${uniqueIdentifier} was replaced by the copy of region ${region}: its own seal was broken`;
    observe({ type: "warning", message });
  } catch (error) {
    failureIn(error);
  }
}
