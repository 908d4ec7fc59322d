import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { collectionTypes, readAdapter, readCertificate } from "./bodies.ts";
import { Refusal } from "./refusals.ts";

const crkId = "7c2b1a90-3f54-4f0e-8d5b-1b6a9e3c7d21";
const data = { profile: "native_1.0", profile_data: { crk_id: crkId } };

function body(kind: "adapter" | "certificate", resource: unknown, changes: object = {}) {
  const metadata = { collectionType: collectionTypes[kind], collectionTotal: 1 };
  return { metadata, resources: [resource], ...changes };
}

/** The code of a refusal, and the field that it names. */
function codeOf(work: () => unknown): readonly [string | undefined, string | undefined] {
  try {
    work();
  } catch (error) {
    if (error instanceof Refusal) return [error.text.code, error.text.target?.name];
    throw error;
  }
  return ["none", undefined];
}

const wrongOrders: readonly (readonly [given: unknown, code: string, field?: string])[] = [
  [undefined, "BAD_BODY_ERR"],
  [null, "BAD_BODY_ERR"],
  ["text", "BAD_BODY_ERR"],
  [[], "BAD_BODY_ERR"],
  [{}, "BAD_BODY_ERR"],
  [body("adapter", data, { more: 1 }), "BAD_BODY_ERR"],
  [body("certificate", data), "BAD_BODY_ERR"],
  [body("adapter", data, { resources: [] }), "BAD_BODY_ERR"],
  [body("adapter", data, { resources: [data, data] }), "BAD_BODY_ERR"],
  [
    body("adapter", data, {
      metadata: { collectionType: collectionTypes.adapter, collectionTotal: 2 },
    }),
    "COLLECTION_TOTAL_MISMATCH_ERR",
  ],
  [body("adapter", { ...data, crn: "x" }), "BAD_BODY_ERR"],
  [body("adapter", { ...data, name: 5 }), "BAD_BODY_ERR"],
  [body("adapter", { ...data, profile: 1 }), "BAD_BODY_ERR"],
  [body("adapter", { ...data, profile_data: { crk_id: 1 } }), "BAD_BODY_ERR"],
  [body("adapter", { ...data, profile: "native_2.0" }), "INVALID_FIELD_ERR", "profile"],
  [body("adapter", { profile: "native_1.0" }), "INVALID_FIELD_ERR", "crk_id"],
  [body("adapter", { ...data, profile_data: { crk_id: "" } }), "INVALID_FIELD_ERR", "crk_id"],
  [
    body("adapter", { ...data, profile_data: { crk_id: crkId, x: "y" } }),
    "INVALID_FIELD_ERR",
    "profile_data",
  ],
  [body("adapter", { ...data, description: "x".repeat(241) }), "INVALID_FIELD_ERR", "description"],
  ...["", "a b", "a.b", "-a", "a_", "keys", "certificates", crkId, "x".repeat(65), "ä"].map(
    (name) => [body("adapter", { ...data, name }), "INVALID_FIELD_ERR", "name"] as const,
  ),
];

describe("an order of an adapter", () => {
  test.each([
    [{ ...data }, { name: undefined, description: "", crkId }],
    [
      { ...data, description: "" },
      { name: undefined, description: "", crkId },
    ],
    [
      { ...data, name: "a_b-C9", description: "x" },
      { name: "a_b-C9", description: "x", crkId },
    ],
    [
      { ...data, name: null, description: null },
      { name: undefined, description: "", crkId },
    ],
  ])("%j is read", (resource, read) => {
    expect(readAdapter(body("adapter", resource))).toEqual(read);
  });

  test.each(wrongOrders)("%j is refused with %s", (given, code, field) => {
    expect(codeOf(() => readAdapter(given))).toEqual([code, field]);
  });
});

describe("a new certificate", () => {
  test("is read with its text as it is, and may be called certificates", () => {
    const certificate = "\r\n-----BEGIN";
    const given = body("certificate", { name: "certificates", certificate });
    expect(readCertificate(given)).toEqual({ name: "certificates", certificate });
  });

  test.each([
    [{}, "INVALID_FIELD_ERR", "certificate"],
    [{ certificate: "" }, "INVALID_FIELD_ERR", "certificate"],
    [{ certificate: "x".repeat(32_769) }, "INVALID_FIELD_ERR", "certificate"],
    [{ certificate: "x", name: "key" }, "INVALID_FIELD_ERR", "name"],
    [{ certificate: ["x"] }, "BAD_BODY_ERR", undefined],
    [{ certificate: "x", kind: "authority" }, "BAD_BODY_ERR", undefined],
  ])("%j is refused with %s", (resource, code, field) => {
    expect(codeOf(() => readCertificate(body("certificate", resource)))).toEqual([code, field]);
  });
});

test("no body makes anything but an order or a refusal, and no value of it is in the refusal", () => {
  const secret = "hunter2hunter2";
  const leaf = fc.oneof(fc.constant(secret), fc.string(), fc.jsonValue({ maxDepth: 3 }));
  const names = ["name", "description", "profile", "profile_data", "certificate", "__proto__"];
  const resource = fc.oneof(leaf, fc.dictionary(fc.constantFrom(...names), leaf, { maxKeys: 6 }));
  const whole = fc.oneof(
    leaf,
    fc.record({
      metadata: fc.oneof(
        leaf,
        fc.record({
          collectionType: fc.constantFrom(...Object.values(collectionTypes)),
          collectionTotal: fc.integer({ min: 0, max: 2 }),
        }),
      ),
      resources: fc.oneof(leaf, fc.array(resource, { maxLength: 2 })),
    }),
  );
  fc.assert(
    fc.property(whole, (given) => {
      for (const read of [readAdapter, readCertificate]) {
        try {
          const { name } = read(given);
          if (name !== undefined) expect(name).toMatch(/^[\w-]{1,64}$/);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          expect(error.status).toBe(400);
          expect(JSON.stringify(error.text)).not.toContain(secret);
        }
      }
    }),
  );
});
