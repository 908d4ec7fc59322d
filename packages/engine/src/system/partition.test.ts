import { expect, test } from "vitest";
import { partitionCount, partitionOf, sysPartition, systemInstance } from "./partition.ts";

test.each([
  // Never change these: they say where an instance's records are. Computed by hand from FNV-1a's published vectors.
  ["", 0x811c9dc5 % 64],
  ["a", 0xe40c292c % 64],
  ["foobar", 0xbf9cf968 % 64],
  ["demo", 54],
  ["3f2504e0-4f89-41d3-9a0c-0305e82c3301", 49],
  ["größe", 26],
])("the partition of %j is %i", (instance, partition) => {
  expect(partitionOf(instance)).toBe(partition);
});

test("instances are spread evenly over the partitions", () => {
  const counts = new Array<number>(partitionCount).fill(0);
  for (let i = 0; i < 6_400; i += 1) {
    const partition = partitionOf(`instance-${i}`);
    counts[partition] = (counts[partition] ?? 0) + 1;
  }
  expect(Math.min(...counts)).toBeGreaterThan(50);
  expect(Math.max(...counts)).toBeLessThan(200);
});

test("the system's records have a partition of their own", () => {
  expect(partitionOf(systemInstance)).toBe(sysPartition);
  expect(sysPartition).toBe(partitionCount);
});
