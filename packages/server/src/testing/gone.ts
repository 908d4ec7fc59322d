import { isDeepStrictEqual } from "node:util";
import { type ManagedObject, readAnyRecord, readKekRecord, sysPartition } from "@holdfast/engine";
import type { MemoryRegion, MemoryRegions } from "./memory-regions.ts";

/** The objects of an instance in a region's own store, with those that are destroyed. */
export async function objectsOf(
  { own }: MemoryRegion,
  instance: string,
): Promise<readonly ManagedObject[]> {
  const found = await own.find(instance, { live: true, destroyed: true, limit: 256 });
  return found.objects.map(({ object }) => object);
}

/** The system records in a region's own store. */
export async function systemRecords({ own }: MemoryRegion): Promise<readonly ManagedObject[]> {
  return (await own.changes(sysPartition, 0, 1_000, 1 << 24)).objects;
}

/** What of a deleted instance can still be used in a region, and where the regions differ; nothing, if all is well. */
export async function leftOf(regions: MemoryRegions, instance: string): Promise<readonly string[]> {
  const left: string[] = [];
  for (const region of regions.both) {
    const status = await region.own.status(instance);
    if (status !== "Deleted") left.push(`status ${status}`);
    const objects = await objectsOf(region, instance);
    const usable = objects.filter(({ facts, material }) => material ?? !facts.destroyed);
    const records = (await systemRecords(region)).filter((record) => isUsable(record, instance));
    left.push(...[...usable, ...records].map(({ uniqueIdentifier }) => uniqueIdentifier));
  }
  const { numbers } = await regions.a.own.position();
  for (const partition of numbers.keys()) {
    const [one, other] = await Promise.all(regions.both.map(({ own }) => own.digests(partition)));
    if (!isDeepStrictEqual(one, other)) left.push(`partition ${partition}`);
  }
  return left;
}

function isUsable(record: ManagedObject, instance: string): boolean {
  const kek = readKekRecord(record);
  if (kek?.instance === instance) return kek.kek.wraps.length > 0;
  const read = readAnyRecord(record);
  if (read === undefined || read.type === "Kek" || !("instance" in read)) return false;
  return read.instance !== instance || record.facts.destroyed === undefined;
}
