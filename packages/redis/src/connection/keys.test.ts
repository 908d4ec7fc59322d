import { sysPartition, uuidText } from "@holdfast/engine";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bucketCount,
  bucketKey,
  instanceKeys,
  partitionPrefix,
  recordKey,
  termPlace,
} from "./keys.ts";

const seed = 20260202;

test("a partition's prefix is its number in braces, or {sys}", () => {
  expect(partitionPrefix(0)).toBe("{p00}:");
  expect(partitionPrefix(63)).toBe("{p63}:");
  expect(partitionPrefix(sysPartition)).toBe("{sys}:");
});

test(`a record's key is its prefix and the identifier's bytes (seed ${seed})`, () => {
  fc.assert(
    fc.property(fc.uuid(), (uuid) => {
      const key = recordKey("{p00}:o:", uuid);
      expect(key?.toString("latin1", 0, 8)).toBe("{p00}:o:");
      expect(key?.toString("hex", 8)).toBe(uuid.replaceAll("-", ""));
    }),
    { seed },
  );
});

test(`an identifier is read from its key (seed ${seed})`, () => {
  fc.assert(
    fc.property(fc.uuid(), (uuid) => {
      expect(uuidText(recordKey("", uuid) ?? Buffer.alloc(0))).toBe(uuid);
    }),
    { seed },
  );
});

test(`every term lies in a bucket that bucketKey names (seed ${seed})`, () => {
  const buckets = new Set(Array.from({ length: bucketCount }, (_, at) => bucketKey("{p00}:", at)));
  expect(buckets.size).toBe(bucketCount);
  fc.assert(
    fc.property(fc.string(), (term) => {
      expect(buckets).toContain(termPlace("{p00}:", "i", term).bucket);
    }),
    { seed },
  );
});

test(`a text that is not a lower-case UUID has no key (seed ${seed})`, () => {
  fc.assert(
    fc.property(fc.uuid(), fc.nat({ max: 35 }), fc.string({ maxLength: 1 }), (uuid, at, text) => {
      const changed = uuid.slice(0, at) + text + uuid.slice(at + 1);
      const form = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
      expect(recordKey("p", changed) !== undefined).toBe(form.test(changed));
    }),
    { seed, numRuns: 2_000 },
  );
  for (const text of ["", "x", "3F2504E0-4F89-41D3-9A0C-0305E82C3301", "Ā".repeat(36)]) {
    expect(recordKey("p", text)).toBeUndefined();
  }
});

describe("instances do not share keys", () => {
  test("a colon is escaped, so that it never leads into another instance's blocks", () => {
    expect(instanceKeys("{p00}:", "a:0").live).toBe("{p00}:l:a%3A0");
    expect(instanceKeys("{sys}:", "a\ud800b").status).toBe("{sys}:s:a%EF%BF%BDb");
  });

  test(`any two instances have different keys (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        fc.pre(a !== b);
        expect(instanceKeys("", a).live).not.toBe(instanceKeys("", b).live);
        const block = /^l:.*:\d+$/;
        expect(instanceKeys("", a).live).not.toMatch(block);
      }),
      { seed },
    );
  });
});

test("a term's place depends on instance and term; a name keeps 128 bits", () => {
  const name = `n${"A".repeat(22)}`;
  const group = `g${"A".repeat(10)}`;
  expect(termPlace("{p00}:", "i", name).hash).toHaveLength(16);
  expect(termPlace("{p00}:", "i", group).hash).toHaveLength(8);
  expect(termPlace("{p00}:", "i", group).bucket).toMatch(/^\{p00\}:t:[0-9a-f]{3}$/);
  expect(termPlace("{p00}:", "j", name).hash).not.toEqual(termPlace("{p00}:", "i", name).hash);
});
