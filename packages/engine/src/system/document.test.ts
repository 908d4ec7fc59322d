import { describe, expect, test } from "vitest";
import { decodeRecord, encodeRecord } from "../record/record-codec.ts";
import {
  claimsField,
  documentRecord,
  documentTerms,
  readDocument,
  withDestroyed,
  withFields,
} from "./document.ts";
import { instanceRecord, systemTypes } from "./system-record.ts";

const now = (us: number, region = "a") => ({ us, region });
const id = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";

const certificate = () =>
  documentRecord(
    {
      type: systemTypes.Certificate,
      id,
      fixed: { instance: "i", fingerprint: "ab" },
      fields: { name: "vcenter", [claimsField]: JSON.stringify(["name i vcenter", "print ab"]) },
    },
    now(5_000_000),
  );

describe("a document", () => {
  test("survives the store's form", () => {
    const record = decodeRecord(encodeRecord(certificate()));
    expect(readDocument(record)).toEqual({
      type: systemTypes.Certificate,
      id,
      fixed: { instance: "i", fingerprint: "ab" },
      fields: { name: "vcenter", claims: '["name i vcenter","print ab"]' },
      destroyed: undefined,
    });
  });

  test("has its fields set anew and deleted one by one", () => {
    const changed = withFields(
      certificate(),
      { name: "other", note: "n", [claimsField]: undefined },
      now(6_000_000),
    );
    expect(readDocument(changed)?.fields).toEqual({ name: "other", note: "n" });
    expect(changed.lastChange).toBe(6);
  });

  test("claims what it says until it is deleted", () => {
    const terms = documentTerms(certificate());
    expect(terms.map(({ unique }) => unique)).toEqual([true, true]);
    expect(new Set(terms.map(({ term }) => term)).size).toBe(2);
    const gone = withDestroyed(certificate(), now(9_000_000, "b"));
    expect(documentTerms(gone)).toEqual([]);
    expect(readDocument(gone)?.destroyed).toEqual({ time: 9, region: "b" });
    expect(withDestroyed(gone, now(10_000_000))).toBe(gone);
  });

  test("of an instance has the name that instances always had", () => {
    const record = instanceRecord({ instance: "i", name: "demo" }, now(1));
    expect(readDocument(record)).toMatchObject({
      fixed: { instance: "i" },
      fields: { name: "demo" },
    });
    expect(
      readDocument(withFields(record, { name: "new", description: "d" }, now(2)))?.fields,
    ).toEqual({ name: "new", description: "d" });
  });

  test.each(["{", "{}", "7", ""])("with claims that are none claims nothing: %s", (claims) => {
    expect(
      documentTerms(withFields(certificate(), { [claimsField]: claims }, now(9_000_000))),
    ).toEqual([]);
  });
});
