import { batchItemId, VcenterConnection } from "@holdfast/testing";
import { decode, encode, type Item, ItemType } from "@holdfast/ttlv";
import { beforeEach, describe, expect, test } from "vitest";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import type { Client } from "./access.ts";

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

function answer(request: Uint8Array, client: Client = engine.client): Promise<Uint8Array> {
  return engine.engine.execute(request, client, "request-1");
}

/** The items under a path of tags, wherever a structure repeats. */
function at(bytes: Uint8Array, ...path: readonly number[]): readonly Item[] {
  return path.reduce<readonly Item[]>(
    (items, tag) =>
      items.flatMap((item) =>
        item.type === ItemType.Structure ? item.value.filter((inner) => inner.tag === tag) : [],
      ),
    [decode(bytes)],
  );
}

function values(bytes: Uint8Array, ...path: readonly number[]): readonly unknown[] {
  return at(bytes, ...path).map(({ value }) => value);
}

const success = [0];
const status = (bytes: Uint8Array) => values(bytes, 0x42000f, 0x42007f);
const uniqueIdentifier = (bytes: Uint8Array) =>
  values(bytes, 0x42000f, 0x42007c, 0x420094)[0] as string;
const attributeValues = (bytes: Uint8Array) =>
  values(bytes, 0x42000f, 0x42007c, 0x420008, 0x42000b);

/** Response Message, header of KMIP 1.1 with a Time Stamp and nothing else, one batch item. */
function expected(itemHex: string): string {
  const header =
    "42007a 01 00000048" +
    "420069 01 00000020 42006a 02 00000004 0000000100000000 42006b 02 00000004 0000000100000000" +
    `420092 09 00000008 ${BigInt(engine.now).toString(16).padStart(16, "0")}` +
    "42000d 02 00000004 0000000100000000";
  const item = itemHex.replaceAll(" ", "");
  const length = (0x50 + item.length / 2).toString(16).padStart(8, "0");
  return `42007b 01 ${length} ${header} ${item}`.replaceAll(" ", "");
}

function versionHex(major: number, minor: number): string {
  const number = (value: number) => `${value.toString(16).padStart(8, "0")}00000000`;
  return `420069 01 00000020 42006a 02 00000004 ${number(major)} 42006b 02 00000004 ${number(minor)}`;
}

describe("trust and health", () => {
  test("the first message gets all versions, newest first, and no batch item identifier", async () => {
    const versions = [
      [2, 1],
      [2, 0],
      [1, 4],
      [1, 3],
      [1, 2],
      [1, 1],
      [1, 0],
    ] as const;
    const list = versions.map(([major, minor]) => versionHex(major, minor)).join("");
    const hex = Buffer.from(await answer(new VcenterConnection().hello())).toString("hex");
    expect(hex).toBe(
      expected(
        "42000f 01 00000140 42005c 05 00000004 0000001e00000000 42007f 05 00000004 0000000000000000" +
          `42007c 01 00000118 ${list}`,
      ),
    );
  });

  test("later messages get their identifier back byte for byte", async () => {
    const connection = new VcenterConnection();
    await answer(connection.hello());
    for (const count of [1, 2]) {
      const bytes = await answer(connection.discoverVersions());
      expect(values(bytes, 0x42000f, 0x420093)).toEqual([Uint8Array.from(batchItemId(count))]);
    }
  });

  test("Query Server Information names the vendor", async () => {
    const bytes = await answer(new VcenterConnection().queryServerInformation());
    expect(status(bytes)).toEqual(success);
    expect(values(bytes, 0x42000f, 0x42007c, 0x42009d)).toEqual(["Holdfast"]);
  });
});

const product = {
  "x-Product_Version": "7.0.3 build-19480866",
  "x-Vendor": "VMware, Inc.",
  "x-Product": "VMware vSphere",
};
const place = {
  "x-Identifier": "5026d4d1-3b2c-4f21-b6f1-0a9f2f8b6c11",
  "x-Component": "Virtual Machine",
  "x-Name": "vm-1",
};

/** Connection 2 or 4: each attribute is requested alone and does not exist, then all three are added at once. */
async function describeKey(
  connection: VcenterConnection,
  id: string,
  given: typeof product | typeof place,
) {
  for (const name of Object.keys(given)) {
    const bytes = await answer(connection.getAttribute(id, name));
    expect(status(bytes)).toEqual(success);
    expect(attributeValues(bytes)).toEqual([]);
  }
  const added = await answer(connection.addAttributes(id, given));
  expect(status(added)).toEqual([0, 0, 0]);
  expect(attributeValues(added)).toEqual(Object.values(given));
}

const keyMaterial = (bytes: Uint8Array) =>
  values(bytes, 0x42000f, 0x42007c, 0x42008f, 0x420040, 0x420045, 0x420043)[0] as Uint8Array;

describe("a new key", () => {
  test("can be made as 7.0.3 does it, over four connections", async () => {
    const [first, second, third, fourth] = Array.from({ length: 4 }, () => new VcenterConnection());
    if (!first || !second || !third || !fourth) throw new Error("four connections");
    for (const connection of [first, second, third, fourth]) await answer(connection.hello());

    const created = await answer(first.create());
    expect(status(created)).toEqual(success);
    const id = uniqueIdentifier(created);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);

    await describeKey(second, id, product);

    const got = await answer(third.get(id));
    expect(values(got, 0x42000f, 0x42007c, 0x42008f, 0x420040, 0x420042)).toEqual([1]);
    expect(keyMaterial(got).length).toBe(32);
    const preActive = await answer(third.getAttribute(id, "State"));
    expect(attributeValues(preActive)).toEqual([1]);
    expect(status(await answer(third.activate(id)))).toEqual(success);

    await describeKey(fourth, id, place);

    const again = new VcenterConnection();
    expect(keyMaterial(await answer(again.get(id)))).toEqual(keyMaterial(got));
    expect(attributeValues(await answer(again.getAttribute(id, "State")))).toEqual([2]);
  });

  test("can be made as 8.0.1 does it, with a password in some requests only", async () => {
    const login = { username: "vcenter", password: "pässword" };
    const connection = new VcenterConnection();
    const id = uniqueIdentifier(await answer(connection.create(login)));
    const got = await answer(connection.get(id, login));
    expect(keyMaterial(got).length).toBe(32);
    expect(attributeValues(await answer(connection.getAttribute(id, "State", login)))).toEqual([1]);
    for (const name of Object.keys(product)) {
      expect(attributeValues(await answer(connection.getAttribute(id, name)))).toEqual([]);
    }
    expect(status(await answer(connection.activate(id, login)))).toEqual(success);
    expect(status(await answer(connection.addAttributes(id, product)))).toEqual([0, 0, 0]);
    await describeKey(connection, id, place);
    for (const [name, value] of Object.entries({ ...product, ...place })) {
      expect(attributeValues(await answer(connection.getAttribute(id, name)))).toEqual([value]);
    }
  });

  test("has two fields in the response to Create, and nothing else", async () => {
    const created = await answer(new VcenterConnection().create());
    const id = uniqueIdentifier(created);
    expect(Buffer.from(created).toString("hex")).toBe(
      expected(
        "42000f 01 00000078 42005c 05 00000004 0000000100000000" +
          `420093 08 00000008 ${Buffer.from(batchItemId(1)).toString("hex")}` +
          "42007f 05 00000004 0000000000000000" +
          "42007c 01 00000040 420057 05 00000004 0000000200000000" +
          `420094 07 00000024 ${Buffer.from(id).toString("hex")}00000000`,
      ),
    );
    expect(Buffer.from(encode(decode(created)))).toEqual(Buffer.from(created));
  });
});
