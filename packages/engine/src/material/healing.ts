import { SealBroken, UnknownKek } from "../base/errors.ts";
import type { KeyRing } from "../ports/keys.ts";
import type { StoredObject } from "../ports/objects.ts";
import type { OperationContext } from "../ports/operation-context.ts";
import type { ManagedObject } from "../record/record.ts";
import { openObject } from "./material.ts";
import { sealedDigestOf, withDigests } from "./object-digest.ts";

/** What a stored object was when work on it succeeded, and what that came to. */
export interface Healed<Result> {
  readonly stored: StoredObject;
  readonly result: Result;
}

/**
 * Works on an object's sealed parts. Where they do not open, another region's copy of which all open is worked on, and
 * takes its place: AES-GCM proves which copy is true. Throws as `work` did without one.
 */
export async function healing<Result>(
  { keyRing, objects }: Pick<OperationContext, "keyRing" | "objects">,
  stored: StoredObject,
  work: (object: ManagedObject) => Result | Promise<Result>,
): Promise<Healed<Result>> {
  try {
    return { stored, result: await work(stored.object) };
  } catch (error) {
    if (!isBroken(error)) throw error;
    const healed = await objects.heal(stored, (object) => opens(keyRing, object));
    if (healed === undefined) throw error;
    return { stored: healed, result: await work(healed.object) };
  }
}

/** Whether all that is sealed in an object is what was sealed. */
export async function opens(
  keyRing: Pick<KeyRing, "open">,
  object: ManagedObject,
): Promise<boolean> {
  try {
    if (sealedDigestOf(object) !== undefined) await withDigests(keyRing, object);
    const { facts, material } = object;
    if (facts.destroyed === undefined && material !== undefined) await openObject(keyRing, object);
    return true;
  } catch (error) {
    if (isBroken(error)) return false;
    throw error;
  }
}

/** Whether what is sealed, or the name of the key that sealed it, may be altered. */
function isBroken(error: unknown): boolean {
  return error instanceof SealBroken || error instanceof UnknownKek;
}
