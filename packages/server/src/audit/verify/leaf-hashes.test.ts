import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { LeafHashes } from "./leaf-hashes.ts";

test("finds the hash of each leaf that was added, and no other", () => {
  const hashes = new LeafHashes();
  const leaves = Array.from({ length: 1_000 }, (_, at) => {
    return { partition: at % 3, number: 7 + 2 * Math.floor(at / 3), hash: randomBytes(32) };
  });
  for (const leaf of leaves) hashes.add(leaf);
  for (const { partition, number, hash } of leaves) {
    expect(Buffer.compare(hashes.get(partition, number) ?? Buffer.of(), hash)).toBe(0);
    expect(hashes.get(partition, number + 1)).toBeUndefined();
  }
  expect([hashes.get(0, 5), hashes.get(3, 7)]).toEqual([undefined, undefined]);
});
