import { attributeItem, vendorAttribute } from "@holdfast/kmip";
import { type Item, textString } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import {
  attributeWord,
  isPlanned,
  type Judge,
  newIdentifier,
  type Present,
  rowOf,
  shownRow,
} from "./plan-row.ts";

const id = "0a1b2c3d-0000-4000-8000-000000000001";
const other = "0a1b2c3d-0000-4000-8000-000000000002";
const judge = (changed: Partial<Judge> = {}): Judge => ({
  present: new Map(),
  names: new Map(),
  wrapped: false,
  newId: undefined,
  dropsNames: false,
  ...changed,
});
const name = (value: string) => attributeItem("Name", { value, type: "UninterpretedTextString" });
const basic: readonly Item[] = [
  attributeItem("ObjectType", "SymmetricKey"),
  attributeItem("State", "Active"),
  attributeItem("CryptographicAlgorithm", "AES"),
  attributeItem("CryptographicLength", 256),
];
const key = (...more: readonly Item[]) => ({ id, items: [...basic, ...more], unread: [] });
const changed = (item: Item) => ({
  id,
  items: [...basic.filter(({ tag }) => tag !== item.tag), item],
  unread: [],
});
const there = (more: Partial<Present> = {}): ReadonlyMap<string, Present> =>
  new Map([
    [
      id,
      {
        ...{ id, type: "SymmetricKey", state: "Active", algorithm: "AES", length: 256, names: [] },
        ...more,
      },
    ],
  ]);

describe("a line of the plan", () => {
  test("has everything but material and its digest", () => {
    const digest = attributeItem("Digest", {
      hashingAlgorithm: "SHA_256",
      digestValue: new Uint8Array(32).fill(0xab),
    });
    const row = rowOf(
      key(
        name("web\u001b[31m"),
        attributeItem("ActivationDate", 1_700_000_000),
        attributeItem("Link", { type: "NextLink", linkedObjectIdentifier: other }),
        vendorAttribute("x", "Product", textString(0, "vSphere")),
        attributeItem("CryptographicUsageMask", 0x0c),
        digest,
      ),
      judge(),
    );
    expect(row).toEqual({
      ...{ id, type: "SymmetricKey", state: "Active", algorithm: "AES", length: 256 },
      names: ["web\u001b[31m"],
      dates: { ActivationDate: "2023-11-14T22:13:20Z" },
      links: [{ LinkType: "NextLink", LinkedObjectIdentifier: other }],
      custom: { "x-Product": "vSphere" },
      attributes: { CryptographicUsageMask: ["Encrypt", "Decrypt"] },
      comes: true,
    });
  });

  test.each<[string, Item, string]>([
    ["is destroyed", attributeItem("State", "Destroyed"), "destroyed"],
    [
      "is destroyed and was compromised",
      attributeItem("State", "DestroyedCompromised"),
      "destroyed",
    ],
    ["is not extractable", attributeItem("Extractable", false), "not extractable"],
    ["is sensitive", attributeItem("Sensitive", true), "sensitive"],
    ["has no value", attributeItem("KeyValuePresent", false), "outside the source"],
    ["is archived", attributeItem("ArchiveDate", 1_700_000_000), "archived"],
    ["is a template", attributeItem("ObjectType", "Template"), "unknown type"],
    ["is of a vendor's type", attributeItem("ObjectType", "0x80000001"), "unknown type"],
    ["wrapped others", name(`holdfast-transport-${id}`), "a transport key"],
  ])("says why an object does not come that %s", (_, item, why) => {
    const row = rowOf(changed(item), judge());
    expect(row.comes).toBe(false);
    expect(row.why).toContain(why);
  });

  test("lets a sensitive key come if the source wraps, and says that no client can get it", () => {
    const row = rowOf(changed(attributeItem("Sensitive", true)), judge({ wrapped: true }));
    expect(row.comes).toBe(true);
    expect(shownRow(row)).toMatchObject({ comes: "yes, but no client can get it: sensitive" });
    const other = rowOf(changed(attributeItem("Sensitive", false)), judge({ wrapped: true }));
    expect(shownRow(other)).toMatchObject({ comes: "yes" });
  });

  test("keeps the server's refusal", () => {
    const row = rowOf({ id, refused: "GetAttributes: PermissionDenied", gone: false }, judge());
    expect(row).toMatchObject({ id, comes: false });
    expect(row.why).toContain("PermissionDenied");
  });

  test.each(["7", id.toUpperCase(), "../../etc/passwd", "a b"])(
    "gives %s a new identifier only if that is asked for",
    (own) => {
      const read = { ...key(), id: own };
      expect(rowOf(read, judge()).why).toContain("--new-identifiers");
      expect(rowOf(read, judge({ newId: () => other }))).toMatchObject({
        comes: true,
        becomes: other,
      });
    },
  );

  test("gets the same new identifier in each plan, and another one for another object or instance", () => {
    const created = attributeItem("InitialDate", 1_700_000_000);
    const becomes = (instance: string, own: string, ...more: readonly Item[]) =>
      rowOf(
        { ...key(created, ...more), id: own },
        judge({ newId: (row) => newIdentifier(instance, row) }),
      ).becomes;
    const first = becomes("one", "7");
    expect(first).toMatch(/^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/);
    expect(becomes("one", "7", name("named later"))).toBe(first);
    const others = [
      becomes("two", "7"),
      becomes("one", "8"),
      becomes("one", "AB"),
      becomes("one", "ab"),
    ];
    expect(new Set([first, ...others]).size).toBe(5);
  });

  test.each<[string, Partial<Present>, boolean]>([
    ["the same kind of key", {}, true],
    ["another type", { type: "SecretData" }, false],
    ["another algorithm", { algorithm: "DES3" }, false],
    ["another length", { length: 128 }, false],
    ["a destroyed one", { state: "Destroyed" }, false],
  ])("with %s of its identifier at the target", (_, present, comes) => {
    const row = rowOf(key(), judge({ present: there(present) }));
    expect(row.comes).toBe(comes);
    if (!comes) expect(row.why).toContain("clash");
  });

  test("of a second key with one name clashes, or comes without the name", () => {
    const first = { ...key(name("web")), id: other };
    for (const dropsNames of [false, true]) {
      const one = judge({ dropsNames });
      expect(rowOf(first, one).comes).toBe(true);
      const row = rowOf(key(name("web"), name("own")), one);
      if (dropsNames) expect(row).toMatchObject({ comes: true, drops: ["web"] });
      else expect(row.why).toContain(`the name web is also that of ${other}`);
    }
  });

  test("does not clash with the name that the same object has at the target", () => {
    const names = new Map([["web", id]]);
    expect(rowOf(key(name("web")), judge({ names, present: there() })).comes).toBe(true);
  });

  test("of the table says as what and without what an object comes", () => {
    const row = {
      ...rowOf(key(), judge()),
      becomes: other,
      drops: ["web"],
      unread: ["Secret Sauce"],
    };
    expect(shownRow(row)).toMatchObject({
      comes: `yes, as ${other}, without the name web, without Secret Sauce`,
    });
    expect(shownRow(rowOf(changed(attributeItem("State", "Destroyed")), judge()))).toMatchObject({
      comes: "no: destroyed: it has no material any more",
    });
  });
});

describe("an object that is read again", () => {
  const before = key(name("web"), name("own"));
  const row = rowOf(before, judge());

  test("is the planned one if only other attributes changed at its source", () => {
    const items = [...basic, name("own"), name("web"), attributeItem("ActivationDate", 1)];
    expect(isPlanned(items, row)).toBe(true);
  });

  test.each<[string, readonly Item[]]>([
    ["algorithm", [...before.items, attributeItem("CryptographicAlgorithm", "DES3")].toReversed()],
    ["length", [...before.items, attributeItem("CryptographicLength", 128)].toReversed()],
    ["type", [...before.items, attributeItem("ObjectType", "SecretData")].toReversed()],
    ["name", key(name("web"), name("other")).items],
    ["number of names", key(name("web")).items],
  ])("is another one if it has another %s", (_, items) => {
    expect(isPlanned(items, row)).toBe(false);
  });
});

test.each<[Item, string]>([
  [attributeItem("OperationPolicyName", "default"), "Operation Policy Name"],
  [vendorAttribute("x", "Product", textString(0, "a")), "x-Product"],
])("an attribute is called as the management API calls it", (item, word) => {
  expect(attributeWord(item)).toBe(word);
});
