/** How many partitions a store has; fixed for ever, since a record's place depends on it. */
export const partitionCount = 64;

/**
 * The number of the partition `{sys}`, after those of instances.
 * @alias
 */
export const sysPartition = partitionCount;

/** Records that are known before any instance (KEKs, instances, regions) belong to this instance. */
export const systemInstance = "{sys}";

/**
 * How many audit trails a store has: one of each partition, `{sys}` included, and then the surplus of each partition of
 * instances, which has what one instance writes beyond its share.
 */
export const trailCount = 2 * partitionCount + 1;

/** The partition of an audit trail. */
export function partitionOfTrail(trail: number): number {
  return trail > sysPartition ? trail - sysPartition - 1 : trail;
}

/** Whether a trail is the surplus of a partition. */
export function isSurplus(trail: number): boolean {
  return trail > sysPartition;
}

/** The trails that may have entries of an instance. */
export function trailsOf(instance: string): readonly number[] {
  const partition = partitionOf(instance);
  return partition === sysPartition ? [partition] : [partition, sysPartition + 1 + partition];
}

/** Of `kept` entries that a trail keeps, those that one instance may have beside others in its partition's own. */
export function auditShare(kept: number): number {
  return Math.ceil(kept / 4);
}

/**
 * The partition of an instance: FNV-1a (32 bits, offset 0x811c9dc5, prime 0x01000193) over its UTF-8 bytes, mod 64;
 * `sysPartition` for `systemInstance`.
 */
export function partitionOf(instance: string): number {
  if (instance === systemInstance) return sysPartition;
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(instance, "utf8")) {
    state = Math.imul(state ^ byte, 0x01000193) >>> 0;
  }
  return state % partitionCount;
}
