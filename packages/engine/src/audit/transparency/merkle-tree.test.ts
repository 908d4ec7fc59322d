import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isConsistent } from "../../testing/test-witness.ts";
import { leafHash, MerkleNodes, MerkleRange, nodeHash, rootFromInclusion } from "./merkle-tree.ts";

const leaves = Array.from({ length: 130 }, (_, at) => leafHash(Buffer.from(`event ${at}`)));
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

/** RFC 6962, section 2.1, word for word. */
function treeHash(part: readonly Uint8Array[]): Uint8Array {
  if (part.length === 1) return part[0] as Uint8Array;
  let half = 1;
  while (2 * half < part.length) half *= 2;
  return nodeHash(treeHash(part.slice(0, half)), treeHash(part.slice(half)));
}

function rangeOf(begin: number, end: number): MerkleRange {
  const range = MerkleRange.empty(begin);
  for (const leaf of leaves.slice(begin, end)) range.append(leaf);
  return range;
}

const sizes = fc
  .tuple(fc.integer({ min: 1, max: 129 }), fc.integer({ min: 1, max: 129 }), fc.nat(129))
  .map(([one, other, kept]) => {
    const [old, size] = [Math.min(one, other), Math.max(one, other)];
    return { old, size, kept: Math.min(kept, size) };
  });

describe("the tree of RFC 6962", () => {
  test("has the roots and proofs that sigsum-witness and spicy accepted", () => {
    expect(base64(rangeOf(0, 0).root())).toBe("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    expect(base64(rangeOf(0, 3).root())).toBe("cuDRdZjUDBQ/FOv7BeLFxN3Wvr8WXzVpRDrEaViH0wI=");
    expect(base64(rangeOf(0, 7).root())).toBe("tB1hsuDNzm6A+zectuO70A/7f7O6qCUZXvH4oOkWvX8=");
    const nodes = new MerkleNodes();
    nodes.addLeaves(0, leaves.slice(0, 7));
    const proof = [
      "mwsvHVi/CGiQtBRvCe+kLKE+UlqgM5OSFWDFgU/1MIg=",
      "gLKe3Q40uHrlLrIswbfHmAiKu9gBf3ZG0V+aVx0r8Oc=",
      "lZegCMOZEI3cZ/iBYp372ha+Y/y3S0KJL3Sd3gjTNko=",
      "AxUgzKdSr6Z0XKjgZ6s1UlDaQ4i9WheoT3ZYtt4g3hk=",
    ];
    expect(nodes.consistency(3, 7).map(base64)).toEqual(proof);
    expect(nodes.inclusion(3, 7).map(base64)).toEqual([0, 2, 3].map((at) => proof[at]));
    expect(nodes.inclusion(2, 7).map(base64)).toEqual([1, 2, 3].map((at) => proof[at]));
  });

  test("has the same root from its ranges, however they were kept", () => {
    fc.assert(
      fc.property(sizes, ({ size, kept }) => {
        const range = rangeOf(0, kept);
        const again = MerkleRange.from(0, kept, range.hashes);
        for (const leaf of leaves.slice(kept, size)) again?.append(leaf);
        expect(again?.root()).toEqual(treeHash(leaves.slice(0, size)));
        expect(again?.end).toBe(size);
      }),
    );
  });

  test("proves each leaf that is kept, from the range before it; other sizes and paths are refused", () => {
    fc.assert(
      fc.property(sizes, ({ size, kept }) => {
        const nodes = new MerkleNodes();
        nodes.add(rangeOf(0, kept));
        nodes.addLeaves(kept, leaves.slice(kept, size));
        const root = rangeOf(0, size).root();
        for (let leaf = kept; leaf < size; leaf += 1) {
          const path = nodes.inclusion(leaf, size);
          const hash = leaves[leaf] as Uint8Array;
          expect(rootFromInclusion(leaf, size, hash, path)).toEqual(root);
          expect(rootFromInclusion(leaf, size, hash, [...path, root])).toBeUndefined();
          expect(rootFromInclusion(leaf + size, size, hash, path)).toBeUndefined();
          if (path.length === 0) continue;
          expect(rootFromInclusion(leaf, size, hash, path.slice(1))).not.toEqual(root);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("proves that it grew, even if only ranges of what was between are kept", () => {
    fc.assert(
      fc.property(sizes, ({ old, size, kept }) => {
        const nodes = new MerkleNodes();
        nodes.add(rangeOf(0, old));
        if (kept > old) nodes.add(rangeOf(old, kept));
        const from = Math.max(old, kept);
        nodes.addLeaves(from, leaves.slice(from, size));
        const proof = nodes.consistency(old, size);
        const roots = [rangeOf(0, old).root(), rangeOf(0, size).root()] as const;
        if (old === size) expect(proof).toEqual([]);
        else expect(isConsistent([old, size], roots, proof)).toBe(true);
        expect(nodes.consistency(0, size)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  test("says which leaf is not kept any more", () => {
    const nodes = new MerkleNodes();
    nodes.add(rangeOf(0, 8));
    expect(() => nodes.inclusion(3, 8)).toThrow("leaf 4 of the audit log is not kept any more");
    expect(MerkleRange.from(0, 3, rangeOf(0, 4).hashes)).toBeUndefined();
    expect(MerkleRange.from(0, 1, [Buffer.alloc(31)])).toBeUndefined();
  });
});
