import { expect, test } from "vitest";
import { chainHash, chainStart } from "./audit-chain.ts";

test("a hash of the chain depends on the hash before, on the entry's number and on its bytes", () => {
  const [one, other] = [chainStart("a", 1).hash, chainStart("a", 2).hash];
  const entry = Buffer.from("entry");
  const hashes = [
    chainHash(one, 1, entry),
    chainHash(other, 1, entry),
    chainHash(one, 2, entry),
    chainHash(one, 2 ** 40 + 1, entry),
    chainHash(one, 1, Buffer.from("other")),
  ].map((hash) => Buffer.from(hash).toString("hex"));
  expect(new Set(hashes).size).toBe(hashes.length);
  expect(chainHash(one, 1, entry)).toEqual(chainHash(one, 1, Buffer.from("entry")));
});
