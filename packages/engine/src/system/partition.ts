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
