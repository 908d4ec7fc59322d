import { decode } from "@holdfast/ttlv";
import { SealBroken, UnknownKek } from "../base/errors.ts";
import type { KeyRing } from "../ports/keys.ts";
import type { StoredObject } from "../ports/objects.ts";
import type { OperationContext } from "../ports/operation-context.ts";
import type { ManagedObject } from "../record/record.ts";
import { storedLimits } from "../record/record-codec.ts";
import { RecordError } from "../record/record-items.ts";
import { isWithheldKek } from "../system/wrapped-kek.ts";
import { openMaterial } from "./material.ts";
import { sealedDigestOf, withDigests } from "./object-digest.ts";

/** The stored object on which the work succeeded, and the result. */
export interface Healed<Result> {
  readonly stored: StoredObject;
  readonly result: Result;
}

/**
 * Runs `work` on an object's sealed parts. If they do not open, another region's copy whose parts all open replaces the
 * object, and `work` runs on that: AES-GCM proves which copy is intact. Without such a copy, throws what `work` threw.
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

/** Whether all sealed parts of an object open. */
export async function opens(
  keyRing: Pick<KeyRing, "open">,
  object: ManagedObject,
): Promise<boolean> {
  try {
    if (sealedDigestOf(object) !== undefined) await withDigests(keyRing, object);
    const { facts, material } = object;
    // Of a destruction that is not final too: a restore needs it. What is withheld is opened by nobody but a restore.
    const isAside = facts.destroyed !== undefined || isWithheldKek(material?.kekId ?? "");
    if (!isAside && material !== undefined) {
      decode(await openMaterial(keyRing, object, material), storedLimits);
    }
    return true;
  } catch (error) {
    if (isBroken(error)) return false;
    throw error;
  }
}

/** Whether a sealed part, or the id of the KEK that sealed it, may have been altered. */
function isBroken(error: unknown): boolean {
  return error instanceof SealBroken || error instanceof UnknownKek || error instanceof RecordError;
}
