import {
  type ManagedObject,
  type ReplicationSource,
  refuseUnknown,
  sysPartition,
} from "@holdfast/engine";

const pageRecords = 256;
const pageBytes = 1 << 20;

/** All of the system's own records in a region's store. */
export async function* systemRecords(
  source: Pick<ReplicationSource, "changes">,
): AsyncGenerator<ManagedObject> {
  for (let after = 0; ; ) {
    const page = await source.changes(sysPartition, after, pageRecords, pageBytes);
    refuseUnknown(page);
    yield* page.objects;
    if (page.upTo >= page.last || page.upTo <= after) return;
    after = page.upTo;
  }
}
