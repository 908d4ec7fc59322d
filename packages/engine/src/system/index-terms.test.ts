import { dateTime, enumeration, type Item, integer, structure, textString } from "@holdfast/ttlv";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeRecord, encodeRecord } from "../record/record-codec.ts";
import {
  anyManagedObject,
  customItem,
  groupItem,
  nameItem,
  sampleObject,
  sampleRegister,
} from "../testing/conformance/managed-object-conformance.ts";
import { indexTerms, nameOfTerm, termFor } from "./index-terms.ts";

const seed = 20260102;

function applicationItem(namespace: string, data?: string): Item {
  return structure(0x420004, [
    textString(0x420003, namespace),
    ...(data === undefined ? [] : [textString(0x420002, data)]),
  ]);
}

function alternativeItem(name: string, type: number): Item {
  return structure(0x4200bf, [textString(0x4200c0, name), enumeration(0x4200c1, type)]);
}

describe("termFor", () => {
  test.each<[string, Item, string]>([
    ["Name", nameItem("key-1"), "n"],
    ["a Name by its value alone", structure(0x420053, [textString(0x420055, "key-1")]), "n"],
    ["Object Group", groupItem("group"), "g"],
    ["Application Specific Information", applicationItem("ssl", "www.example.com"), "s"],
    ["Alternative Name", alternativeItem("urn:x", 1), "a"],
    ["custom attribute", customItem("Identifier", "vm-1"), "v"],
  ])("%s", (_name, item, letter) => {
    expect(termFor(item)).toMatch(new RegExp(`^${letter}[-_A-Za-z0-9]{10,22}$`));
    expect(termFor(item)).toBe(termFor(structuredClone(item)));
  });

  test.each<[string, Item]>([
    ["an attribute that is not indexed", integer(0x42002c, 12)],
    ["a namespace without data", applicationItem("ssl")],
    ["a custom attribute that is not text", vendor(dateTime(0x42000b, 1n))],
    ["a custom attribute without value", vendor()],
    ["a name that is not a structure", textString(0x420053, "key-1")],
    ["a group that is not text", integer(0x420056, 1)],
  ])("gives no term for %s", (_name, item) => {
    expect(termFor(item)).toBeUndefined();
  });

  function vendor(value?: Item): Item {
    return structure(0x420008, [
      textString(0x42009d, "x"),
      textString(0x42000a, "Name"),
      ...(value === undefined ? [] : [value]),
    ]);
  }

  test("ignores a name's type, but not its value or the kind of attribute", () => {
    const uri = structure(0x420053, [textString(0x420055, "k"), enumeration(0x420054, 2)]);
    expect(termFor(uri)).toBe(termFor(nameItem("k")));
    const all = [nameItem("k"), nameItem("K"), groupItem("k"), alternativeItem("k", 1)];
    expect(new Set(all.map(termFor)).size).toBe(all.length);
  });

  test("keeps fields apart", () => {
    expect(termFor(applicationItem("a1", "b"))).not.toBe(termFor(applicationItem("a", "1b")));
    expect(termFor(customItem("a", "1:b"))).not.toBe(termFor(customItem("a1", ":b")));
  });
});

describe("indexTerms", () => {
  const registers = [
    sampleRegister(nameItem("key-1"), 1),
    sampleRegister(nameItem("key-2"), 1, "", 1),
    sampleRegister(groupItem("group"), 1),
    sampleRegister(groupItem("group"), 1, "", 1),
    { ...sampleRegister(groupItem("gone"), 1, "", 2), value: undefined },
    sampleRegister(integer(0x42002c, 12), 1),
  ];
  const object = sampleObject("i", "u", registers);
  const [first, second, group] = [nameItem("key-1"), nameItem("key-2"), groupItem("group")];

  test("has one entry per term, and names are unique", () => {
    expect(indexTerms(object)).toEqual([
      { term: termFor(first), unique: true },
      { term: termFor(second), unique: true },
      { term: termFor(group), unique: false },
    ]);
  });

  test("keeps a destroyed object's name as a term that is not unique", () => {
    const destroyed = { ...object, facts: { destroyed: { time: 1, region: "a" } } };
    expect(indexTerms(destroyed)).toEqual(
      indexTerms(object).map(({ term }) => ({ term, unique: false })),
    );
  });

  test("nameOfTerm returns the name", () => {
    expect(nameOfTerm(object, termFor(second) ?? "")).toBe("key-2");
    expect(nameOfTerm(object, "n?")).toBe("");
  });

  test(`gives any object the same terms before and after it is stored (seed ${seed})`, () => {
    fc.assert(
      fc.property(anyManagedObject, (any) => {
        const terms = new Set(indexTerms(any).map(({ term }) => term));
        const back = indexTerms(decodeRecord(encodeRecord(any)));
        expect(new Set(back.map(({ term }) => term))).toEqual(terms);
      }),
      { seed, numRuns: 200 },
    );
  });
});
