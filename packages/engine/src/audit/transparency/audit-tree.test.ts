import { generateKeyPairSync, randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StoreUnavailable } from "../../base/errors.ts";
import { readHeads, readLeaves, writeHeads, writeLeaves } from "./audit-leaves.ts";
import { readRange, readSigned, treeOfHeads, writeRange, writeSigned } from "./audit-tree.ts";
import { leafHash, MerkleRange } from "./merkle-tree.ts";
import { signCheckpoint } from "./signed-note.ts";

const hash = leafHash(Buffer.from("one"));
const heads = writeHeads({
  storeId: randomUUID(),
  heads: new Map([
    [64, { removed: 0, number: 3, hash }],
    [7, { removed: 5, number: 2 ** 40, hash }],
  ]),
});

function signedOf(leaves: number) {
  const before = MerkleRange.empty();
  for (let leaf = 0; leaf < leaves; leaf += 1) before.append(hash);
  const tree = treeOfHeads({ before, heads, note: "" });
  const checkpoint = { origin: "log.example", size: tree.end, root: tree.root() };
  const note = signCheckpoint(checkpoint, generateKeyPairSync("ed25519").privateKey);
  return { before, heads, note };
}

describe("what the store keeps of the log", () => {
  test("is read as it was written", () => {
    const leaves = [
      { partition: 7, number: 2 ** 40, hash },
      { partition: 255, number: 0, hash },
    ];
    expect(readLeaves(writeLeaves(leaves))).toEqual(leaves);
    expect(writeHeads(readHeads(heads) ?? { storeId: "", heads: new Map() })).toBe(heads);
    expect(heads).toMatch(/^holdfast audit heads 1\nstore \S+\n7 5 1099511627776 /);
    const since = MerkleRange.empty(6);
    since.append(hash);
    const read = readSigned(writeSigned({ ...signedOf(5), since }));
    expect(writeRange(read.since ?? MerkleRange.empty())).toBe(writeRange(since));
    expect(readRange(writeRange(read.before)).end).toBe(5);
  });

  test.each([
    ["heads of another tree", { ...signedOf(5), before: MerkleRange.empty() }],
    ["other heads", { ...signedOf(5), heads: heads.replace(" 3 ", " 4 ") }],
    ["heads in another order", { ...signedOf(5), heads: heads.replace("\n7 5 ", "\n007 5 ") }],
    ["no checkpoint", { ...signedOf(5), note: "" }],
  ])("is refused if it has %s", (_name, signed) => {
    expect(() => readSigned(writeSigned(signed))).toThrow(StoreUnavailable);
  });

  test("is refused with one kind of error, whatever it is", () => {
    const genuine = writeSigned(signedOf(3));
    const pieces = fc.oneof(fc.string(), fc.json(), fc.constantFrom('"', "-1", "1e99", "null"));
    fc.assert(
      fc.property(fc.nat(genuine.length), fc.nat(30), pieces, (at, length, piece) => {
        const changed = genuine.slice(0, at) + piece + genuine.slice(at + length);
        for (const text of [piece, changed]) {
          for (const read of [readSigned, readRange]) {
            try {
              read(text);
            } catch (error) {
              expect(error).toBeInstanceOf(StoreUnavailable);
            }
          }
          readHeads(text);
          readLeaves(Buffer.from(text));
        }
      }),
    );
  });
});
