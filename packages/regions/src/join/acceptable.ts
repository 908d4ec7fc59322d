import {
  encodeRecord,
  kindOf,
  type ManagedObject,
  recordBytesMax,
  recordKinds,
  regionsOfFacts,
  registersMax,
  systemInstance,
  writeUuid,
} from "@holdfast/engine";

/** Regions that are cut off from each other may each fill a record up to `registersMax`. */
const registersOfAll = 8 * registersMax;
/** A record numbers its regions in one byte. */
const regionsOfAll = 256;

/**
 * Why another region's copy is refused: no region makes such a record, and one that grew so large
 * by joining could not be written, or not be read again. Undefined for a copy that is accepted.
 */
export function refusalOf(object: ManagedObject): string | undefined {
  if (!writeUuid(object.uniqueIdentifier, new Uint8Array(16), 0)) {
    return "malformed identifier";
  }
  if (object.instance === systemInstance && object.facts.destruction !== undefined) {
    return "a system record is not destroyed with a delay";
  }
  if (isKept(object) && object.facts.destroyed !== undefined) {
    // One such fact about a KEK would close every key of its instance, everywhere and for ever.
    return "a system record of this kind is never destroyed";
  }
  if (object.registers.length > registersOfAll) return "it has too many attributes";
  if (regionsIn(object) > regionsOfAll) return "it names too many regions";
  if (encodeRecord(object).length > recordBytesMax) return "it is too large";
  return undefined;
}

/** A system record that is never deleted, as KEKs and regions are. */
function isKept(object: ManagedObject): boolean {
  if (object.instance !== systemInstance) return false;
  const kind = kindOf(object);
  return kind === undefined || !recordKinds[kind].deletable;
}

function regionsIn({ facts, registers }: ManagedObject): number {
  const regions = new Set(regionsOfFacts(facts));
  for (const { stamp } of registers) regions.add(stamp.region);
  return regions.size;
}
