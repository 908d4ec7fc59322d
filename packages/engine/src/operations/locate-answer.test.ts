import {
  type IdentifierReference,
  isVersion1,
  type Request,
  tags,
  type Version,
  versions,
  within,
} from "@holdfast/kmip";
import { integer } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import type { EngineOptions } from "../batch/execute.ts";
import { aesKey, named } from "../testing/test-attributes.ts";
import {
  type Criteria,
  is,
  LabelledObjects,
  part,
  uniqueIdentifierOf,
  uniqueIdentifiersOf,
} from "../testing/test-locate.ts";

let objects: LabelledObjects;

describe("members of an object group", () => {
  const group = [is("ObjectGroup", "pool")];

  beforeEach(async () => {
    objects = await LabelledObjects.make();
    for (const label of ["first", "second", "third"])
      await objects.add(label, aesKey({ ObjectGroup: "pool" }));
    await objects.add("outside", aesKey());
  });

  const serve = (label: string) =>
    objects.engine.ask("2.1", "Get", { uniqueIdentifier: objects.identifierOf(label) });
  const members = async (
    objectGroupMember: "GroupMemberFresh" | "GroupMemberDefault",
    version: Version = "2.1",
    given: Criteria = group,
  ) => (await objects.locate(version, given, { objectGroupMember })).labels;

  test("are fresh if they were not served", async () => {
    await serve("second");
    for (const version of versions.slice(1)) {
      expect(await members("GroupMemberFresh", version)).toEqual(["third", "first"]);
    }
    expect(await members("GroupMemberFresh", "2.1", [])).toEqual(["outside", "third", "first"]);
  });

  test("are the default in turn, the oldest first", async () => {
    for (const label of ["first", "second", "third"]) {
      expect(await members("GroupMemberDefault")).toEqual([label]);
      expect(await members("GroupMemberDefault", "1.1")).toEqual([label]);
      await serve(label);
    }
    expect(await members("GroupMemberDefault")).toEqual(["first"]);
    expect(await members("GroupMemberDefault", "2.1", [is("ObjectGroup", "none")])).toEqual([]);
  });
});

describe("the ID Placeholder after Locate", () => {
  beforeEach(async () => {
    objects = await LabelledObjects.make();
    for (const label of ["a", "b"])
      await objects.add(label, aesKey({ ObjectGroup: "pair", Name: named(label) }));
  });

  const pair = [is("ObjectGroup", "pair")];

  /** What a Get without identifier then returns, in a batch that made an object before. */
  async function then(version: Version, locate: Partial<Request<"Locate">>) {
    const { items } = await objects.engine.send(version, [
      ["Create", aesKey()],
      ["Locate", { attributes: [], ...locate }],
      ["GetAttributes", { references: [] }],
    ]);
    const answer = items[2];
    return objects.labelOf(uniqueIdentifierOf(answer)) ?? answer?.reason;
  }

  test.each(versions)("in %s is set by one match, cleared by none or several", async (version) => {
    const nothing = isVersion1(version) ? "ItemNotFound" : "ObjectNotFound";
    expect(await then(version, { attributes: [is("Name", named("a"))] })).toBe("a");
    expect(await then(version, { attributes: pair })).toBe(nothing);
    expect(await then(version, { attributes: pair, maximumItems: 2 })).toBe(nothing);
    expect(await then(version, { attributes: pair, maximumItems: 1 })).toBe("b");
    expect(await then(version, { attributes: pair, maximumItems: 0 })).toBe(nothing);
    expect(await then(version, { attributes: [is("Name", named("c"))] })).toBe(nothing);
    if (within(version, "1.3")) {
      const second = { attributes: pair, offsetItems: 1 };
      expect(await then(version, second)).toBe(nothing);
      expect(await then(version, { ...second, maximumItems: 2 })).toBe(nothing);
      expect(await then(version, { ...second, maximumItems: 1 })).toBe("a");
    }
  });

  test("can be searched for, and finds nothing when it is empty", async () => {
    const reference = (one: IdentifierReference) => is("UniqueIdentifier", one);
    const placeholder = reference({ special: "IDPlaceholder" });
    const { items } = await objects.engine.send("2.1", [
      ["Locate", { attributes: [placeholder] }],
      ["Create", aesKey()],
      ["Locate", { attributes: [placeholder] }],
      ["Locate", { attributes: [reference({ position: 0 })] }],
      ["Locate", { attributes: [part("Link", ...emptyLink())] }],
    ]);
    const uniqueIdentifier = uniqueIdentifierOf(items[1]);
    const found = [0, 2, 3, 4].map((at) => uniqueIdentifiersOf(items[at]));
    expect(found).toEqual([[], [uniqueIdentifier], [uniqueIdentifier], []]);
  });

  const emptyLink = () => [integer(tags.LinkedObjectIdentifier.tag, 99)];
});

describe("many objects", () => {
  const count = 700;

  async function fill(options: Partial<EngineOptions> = {}): Promise<void> {
    objects = await LabelledObjects.make(options);
    for (let at = 0; at < count; at += 100) {
      const batch = Array.from(
        { length: 100 },
        (_, of) => ["Create" as const, aesKey({ ObjectGroup: `g${(at + of) % 7}` })] as const,
      );
      await objects.engine.send("2.1", batch);
    }
  }

  test("are all found, and their number is returned if it is known soon", async () => {
    await fill();
    const all = await objects.locate("2.1", []);
    expect(new Set(all.uniqueIdentifiers).size).toBe(count);
    expect(all.locatedItems).toBe(count);
    const one = await objects.locate("2.1", [], { maximumItems: 1 });
    expect(one.uniqueIdentifiers).toEqual(all.uniqueIdentifiers.slice(0, 1));
    expect(one.locatedItems).toBeUndefined();
    const inGroup = await objects.locate("2.1", [is("ObjectGroup", "g3")], { maximumItems: 1 });
    expect(inGroup.locatedItems).toBe(count / 7);
  });

  test("let other work run", async () => {
    await fill();
    let turns = 0;
    const count = (): void => {
      turns += 1;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await objects.locate("2.1", [is("ObjectType", "SecretData")]);
    clearImmediate(timer);
    expect(turns).toBeGreaterThanOrEqual(5);
  });

  test("are the same in pages as at once", async () => {
    await fill();
    const { uniqueIdentifiers } = await objects.locate("2.1", []);
    const paged: string[] = [];
    for (let offsetItems = 0; offsetItems < count; offsetItems += 150) {
      const page = await objects.locate("2.1", [], { offsetItems, maximumItems: 150 });
      paged.push(...page.uniqueIdentifiers);
    }
    expect(paged).toEqual(uniqueIdentifiers);
  });

  test("are refused beyond the limit of a walk, unless an index leads to them", async () => {
    await fill({ locateWalkMax: 200 });
    const wide = { attributes: [is("State", "Active")] };
    expect(await objects.engine.reason("2.1", "Locate", wide)).toBe("ServerLimitExceeded");
    expect(await objects.engine.reason("1.2", "Locate", wide)).toBe("GeneralFailure");
    const { uniqueIdentifiers } = await objects.locate("2.1", [is("ObjectGroup", "g3")]);
    expect(uniqueIdentifiers).toHaveLength(count / 7);
    const some = await objects.locate("2.1", [], { maximumItems: 100 });
    expect(some.uniqueIdentifiers).toHaveLength(100);
  });

  test("are refused if the response would be too large", async () => {
    await fill({ responseBytesMax: 20_000 });
    expect(await objects.engine.reason("2.1", "Locate", { attributes: [] })).toBe(
      "ResponseTooLarge",
    );
    const { uniqueIdentifiers } = await objects.locate("2.1", [], { maximumItems: 300 });
    expect(uniqueIdentifiers).toHaveLength(300);
  });
});

test("objects of an Undo batch are found in it, by the same rules", async () => {
  objects = await LabelledObjects.make();
  await objects.add("before", aesKey({ ObjectGroup: "one" }));
  const { items } = await objects.engine.send(
    "2.1",
    [
      ["Create", aesKey({ ObjectGroup: "one" })],
      ["Locate", { attributes: [is("ObjectGroup", "one")] }],
      ["Destroy", { uniqueIdentifier: objects.identifierOf("before") }],
      ["Locate", { attributes: [is("ObjectGroup", "one")] }],
      ["Locate", { attributes: [is("ObjectGroup", "one")], storageStatusMask: 4 }],
    ],
    { batchErrorContinuationOption: "Undo" },
  );
  const made = uniqueIdentifierOf(items[0]);
  const found = [1, 3, 4].map((at) => uniqueIdentifiersOf(items[at]));
  expect(found).toEqual([
    [made, objects.identifierOf("before")],
    [made],
    [objects.identifierOf("before")],
  ]);
});
