import type { IdentifierReference, ResponseItem, Version } from "@holdfast/kmip";
import { beforeEach, describe, expect, test } from "vitest";
import { isDestroyed } from "../record/lifecycle.ts";
import { aesKey, named } from "../testing/test-attributes.ts";
import { type TestEngine, type TestItem, testEngine } from "../testing/test-engine.ts";
import { is, uniqueIdentifierOf } from "../testing/test-locate.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const header = { batchErrorContinuationOption: "Continue" } as const;

async function send(
  version: Version,
  items: readonly TestItem[],
): Promise<readonly ResponseItem[]> {
  return (await engine.send(version, items, header)).items;
}

async function keyNamed(name: string): Promise<string> {
  const key = aesKey({ Name: named(name), ObjectGroup: "pair" });
  return (await engine.ask("2.1", "Create", key)).uniqueIdentifier;
}

async function destroyedOf(identifiers: readonly string[]): Promise<readonly boolean[]> {
  const objects = await engine.store.read("i", identifiers);
  return objects.map((one) => one !== undefined && isDestroyed(one.object.facts));
}

const locate = (name: string): TestItem => ["Locate", { attributes: [is("Name", named(name))] }];
const destroy = (uniqueIdentifier: IdentifierReference): TestItem => [
  "Destroy",
  { uniqueIdentifier },
];
const located = { special: "Locate" } as const;

describe.each(["2.0", "2.1"] as const)("a reference to an operation in KMIP %s", (version) => {
  test("means its latest occurrence", async () => {
    const [a, b] = [await keyNamed("a"), await keyNamed("b")];
    const items = await send(version, [locate("a"), locate("b"), destroy(located)]);
    expect(uniqueIdentifierOf(items[2])).toBe(b);
    expect(await destroyedOf([a, b])).toEqual([false, true]);
  });

  test.each<[string, TestItem]>([
    ["found nothing", locate("none")],
    ["failed", ["Locate", { maximumItems: -1 }]],
  ])("means no object if its latest occurrence %s", async (_, item) => {
    const a = await keyNamed("a");
    const items = await send(version, [locate("a"), item, destroy(located)]);
    expect(items[2]?.reason).toBe("ObjectNotFound");
    expect(await destroyedOf([a])).toEqual([false]);
  });

  test("never chooses one of several objects", async () => {
    const both = [await keyNamed("a"), await keyNamed("b")];
    const pair: TestItem = ["Locate", { attributes: [is("ObjectGroup", "pair")] }];
    const [, refused] = await send(version, [pair, destroy(located)]);
    expect(refused).toMatchObject({ status: "OperationFailed", reason: "InvalidField" });
    expect(await destroyedOf(both)).toEqual([false, false]);
    const [, second] = await send(version, [pair, destroy({ position: 1 })]);
    expect(uniqueIdentifierOf(second)).toBe(both[0]);
    expect(await destroyedOf(both)).toEqual([true, false]);
  });
});
