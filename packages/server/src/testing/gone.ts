import { type ManagedObject, readAnyRecord, readKekRecord, sysPartition } from "@holdfast/engine";
import { expect } from "vitest";
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

/** Expects that nothing of the instance can be used any more in either region, and that both hold the same. */
export async function expectGone(regions: MemoryRegions, instance: string): Promise<void> {
  for (const region of regions.both) {
    expect(await region.own.status(instance)).toBe("Deleted");
    for (const object of await objectsOf(region, instance)) {
      expect(object.facts.destroyed).toBeDefined();
      expect(object.material).toBeUndefined();
    }
    for (const record of await systemRecords(region)) {
      if (readKekRecord(record)?.instance === instance) {
        expect(readKekRecord(record)?.kek.wraps).toEqual([]);
      }
      const read = readAnyRecord(record);
      if (read?.type !== "Kek" && read !== undefined && "instance" in read) {
        expect(read.instance).toBe(instance);
        expect(record.facts.destroyed).toBeDefined();
      }
    }
  }
  const { numbers } = await regions.a.own.position();
  for (const partition of numbers.keys()) {
    const [one, other] = await Promise.all(regions.both.map(({ own }) => own.digests(partition)));
    expect(one, `partition ${partition}`).toEqual(other);
  }
}
