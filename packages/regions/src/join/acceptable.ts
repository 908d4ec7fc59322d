import {
  type ManagedObject,
  registersMax,
  systemInstance,
  systemTypes,
  writeUuid,
} from "@holdfast/engine";

/** Regions that are cut off from each other fill a record each for itself, up to `registersMax`. */
const registersOfAll = 8 * registersMax;
/** Types of system records that are deleted for ever by their destroyed fact. */
const deletable: ReadonlySet<number> = new Set([
  systemTypes.Instance,
  systemTypes.Certificate,
  systemTypes.Token,
  systemTypes.User,
  systemTypes.Authority,
  systemTypes.Setting,
  systemTypes.Backup,
]);
/** A record numbers them in one byte. */
const regionsOfAll = 256;

/**
 * Why a copy of another region is not taken: no region makes such a record, and one that grew so by joining could not be
 * written, or not be read again. Undefined for a copy that is.
 */
export function refusalOf(object: ManagedObject): string | undefined {
  if (!writeUuid(object.uniqueIdentifier, new Uint8Array(16), 0)) {
    return "malformed identifier";
  }
  if (isKept(object) && object.facts.destroyed !== undefined) {
    // One such fact about a KEK would close every key of its instance, everywhere and for ever.
    return "no region destroys such a system record";
  }
  if (object.registers.length > registersOfAll) return "it has too many attributes";
  if (regionsIn(object) > regionsOfAll) return "it names too many regions";
  return undefined;
}

/** KEKs and regions are never deleted; what else management writes is. */
function isKept({ instance, objectType }: ManagedObject): boolean {
  if (instance !== systemInstance) return false;
  return !deletable.has(objectType);
}

function regionsIn({ facts, registers }: ManagedObject): number {
  const { served, activated, deactivated, compromised, destroyed } = facts;
  const regions = new Set<string>();
  for (const { stamp } of registers) regions.add(stamp.region);
  for (const fact of [served, activated, deactivated, compromised, destroyed]) {
    if (fact !== undefined) regions.add(fact.region);
  }
  return regions.size;
}
