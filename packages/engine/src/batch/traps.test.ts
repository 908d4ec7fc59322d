import { attributeItem, objectItem, tags, versions } from "@holdfast/kmip";
import { VcenterConnection } from "@holdfast/testing";
import { byteString, decode, type Item, ItemType, textString } from "@holdfast/ttlv";
import { beforeEach, expect, test } from "vitest";
import { stateOf } from "../record/lifecycle.ts";
import { aesKey, attributeSet } from "../testing/test-attributes.ts";
import { type TestEngine, testEngine } from "../testing/test-engine.ts";
import type { Client } from "./access.ts";

/*
 * Known mistakes of KMIP servers with vSphere and other clients ("traps"), as far as they concern the
 * engine. Those of connections (13 to 15, 17 to 20) are in the server's `kmip-endpoint.vsphere-traps.test.ts`, those
 * that need a whole region (26, 29) in `test/cluster/region-load.test.ts`.
 */

let engine: TestEngine;

beforeEach(async () => {
  engine = await testEngine();
});

const answer = (request: Uint8Array, client: Client = engine.client) =>
  engine.engine.execute(request, client, "request-1");

/** All tags in a response, each once. */
function tagsIn(item: Item, found = new Set<number>()): ReadonlySet<number> {
  found.add(item.tag);
  if (item.type === ItemType.Structure) for (const inner of item.value) tagsIn(inner, found);
  return found;
}

const custom = (name: string) => ({ tag: tags.Attribute.tag, key: `x\0${name}` });
const vendor = (name: string, value: string) =>
  attributeItem("VendorAttribute", {
    vendorIdentification: "x",
    name,
    value: textString(tags.AttributeValue.tag, value),
  });
const reference = (name: keyof typeof tags) => ({ tag: tags[name].tag, key: "" });

async function create(): Promise<string> {
  return (await engine.ask("1.1", "Create", aesKey())).uniqueIdentifier;
}

test("trap 1: the response has the request's version, even after newer ones were discovered", async () => {
  const connection = new VcenterConnection();
  await answer(connection.hello());
  const bytes = Buffer.from(await answer(connection.create())).toString("hex");
  const version = "42006a02000000040000000100000000" + "42006b02000000040000000100000000";
  // Response Message, header, Protocol Version: the first thing that a client reads.
  expect(bytes.slice(48, 48 + version.length)).toBe(version);
});

test("trap 2: no header field is newer than the version", async () => {
  const newer = [tags.ServerCorrelationValue.tag, tags.ClientCorrelationValue.tag, tags.Nonce.tag];
  const connection = new VcenterConnection();
  for (const request of [connection.hello(), connection.create(), connection.get("unknown")]) {
    const found = tagsIn(decode(await answer(request)));
    for (const tag of newer) expect(found.has(tag)).toBe(false);
  }
});

test("trap 3: no attribute is newer than the version", async () => {
  const uniqueIdentifier = await create();
  const seen = await Promise.all(
    versions.map(async (version) => {
      const request = { uniqueIdentifier, references: [] };
      const { attributes } = await engine.ask(version, "GetAttributes", request);
      return [version, new Set(attributes.map(({ item }) => item.tag))] as const;
    }),
  );
  const since: Readonly<Record<string, string>> = {
    Fresh: "1.1",
    OriginalCreationDate: "1.2",
    RandomNumberGenerator: "1.3",
    Sensitive: "1.4",
    ShortUniqueIdentifier: "2.0",
  };
  for (const [name, first] of Object.entries(since)) {
    const has = seen.filter(([, found]) => found.has(tags[name as "Fresh"].tag));
    expect(has.map(([version]) => version)).toEqual(versions.filter((version) => version >= first));
  }
});

test("trap 4: Register returns its identifier and nothing else", async () => {
  for (const version of versions) {
    const object = objectItem("SymmetricKey", {
      keyBlock: {
        keyFormatType: "Raw",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, new Uint8Array(16)) },
        cryptographicAlgorithm: "AES",
        cryptographicLength: 128,
      },
    });
    const request = { objectType: "SymmetricKey", attributes: attributeSet({}), object };
    expect(Object.keys(await engine.ask(version, "Register", request))).toEqual([
      "uniqueIdentifier",
    ]);
  }
});

test("trap 5: Discover Versions includes 1.1, newest first, and lists all if asked for none", async () => {
  const { versions: list } = await engine.ask("1.1", "DiscoverVersions", { versions: [] });
  const numbers = list.map(({ major, minor }) => major * 10 + minor);
  expect(numbers).toContain(11);
  expect(numbers).toEqual(numbers.toSorted((a, b) => b - a));
});

test("trap 6: no batch item identifier is made up, and a given one stays binary", async () => {
  const connection = new VcenterConnection();
  const first = tagsIn(decode(await answer(connection.hello())));
  expect(first.has(tags.UniqueBatchItemID.tag)).toBe(false);
  const second = Buffer.from(await answer(connection.discoverVersions()));
  expect(second.includes(Buffer.from("514c4b4301000000", "hex"))).toBe(true);
});

test("trap 7: a request for a custom attribute that does not exist succeeds without it", async () => {
  const uniqueIdentifier = await create();
  const request = { uniqueIdentifier, references: [custom("Product_Version")] };
  const { attributes } = await engine.ask("1.1", "GetAttributes", request);
  expect(attributes).toEqual([]);
});

test("trap 8: the State can be requested alone", async () => {
  const uniqueIdentifier = await create();
  const request = { uniqueIdentifier, references: [reference("State")] };
  const { attributes } = await engine.ask("1.1", "GetAttributes", request);
  expect(attributes.map(({ item }) => item.value)).toEqual([1]);
});

test("trap 9: many long custom texts can be added, three in a batch, with index 0", async () => {
  const uniqueIdentifier = await create();
  const texts = Array.from({ length: 60 }, (_, at) => [`name ${at}`, "ü".repeat(512)] as const);
  for (let at = 0; at < texts.length; at += 3) {
    const { items } = await engine.send(
      "1.1",
      texts
        .slice(at, at + 3)
        .map(([name, value]) => [
          "AddAttribute",
          { uniqueIdentifier, newAttribute: { item: vendor(name, value) } },
        ]),
    );
    expect(items.map(({ status }) => status)).toEqual(["Success", "Success", "Success"]);
  }
  const references = texts.map(([name]) => custom(name));
  const { attributes } = await engine.ask("1.1", "GetAttributes", { uniqueIdentifier, references });
  expect(attributes).toHaveLength(60);
  expect(attributes.every(({ index }) => index === undefined || index === 0)).toBe(true);
});

test("trap 10: a key stays Pre-Active until it is activated, and activating it twice is not an error", async () => {
  const uniqueIdentifier = await create();
  const state = async () => {
    const [stored] = await engine.store.read("i", [uniqueIdentifier]);
    return stored && stateOf(stored.object.facts);
  };
  engine.now += 10 * 365 * 86_400;
  await engine.ask("1.1", "Get", { uniqueIdentifier });
  expect(await state()).toBe("PreActive");
  for (const version of versions) await engine.ask(version, "Activate", { uniqueIdentifier });
  expect(await state()).toBe("Active");
});

test("trap 11: a Get without options returns the key Raw and unwrapped", async () => {
  const uniqueIdentifier = await create();
  for (const version of versions) {
    const { object } = await engine.ask(version, "Get", { uniqueIdentifier });
    const [block] = (object?.value ?? []) as readonly Item[];
    const fields = new Map(((block?.value ?? []) as readonly Item[]).map((one) => [one.tag, one]));
    expect(fields.get(tags.KeyFormatType.tag)?.value).toBe(1);
    expect(fields.has(tags.KeyWrappingData.tag)).toBe(false);
  }
});

test("trap 12: an Operation Policy Name is returned as it was given", async () => {
  const key = aesKey({ OperationPolicyName: "default" });
  const { uniqueIdentifier } = await engine.ask("1.0", "Create", key);
  const request = { uniqueIdentifier, references: [reference("OperationPolicyName")] };
  for (const version of ["1.0", "1.1", "1.2"] as const) {
    const { attributes } = await engine.ask(version, "GetAttributes", request);
    expect(attributes.map(({ item }) => item.value)).toEqual(["default"]);
  }
});

test("trap 16: another certificate of the instance can use the same keys, one of another instance cannot", async () => {
  const uniqueIdentifier = await create();
  const get = [["Get", { uniqueIdentifier }]] as const;
  const second = { instance: "i", fingerprint: "rotated" };
  expect((await engine.sendAs(second, "1.1", get)).items).toMatchObject([{ status: "Success" }]);
  const stranger = { instance: "j", fingerprint: "fp" };
  expect((await engine.sendAs(stranger, "1.1", get)).items).toMatchObject([
    { status: "OperationFailed", reason: "ItemNotFound" },
  ]);
});

test("trap 21: the very next request sees what was answered before", async () => {
  const connection = new VcenterConnection();
  for (let count = 0; count < 20; count++) {
    const uniqueIdentifier = await create();
    const { items } = await engine.send("1.1", [["Get", { uniqueIdentifier }]]);
    expect(items).toMatchObject([{ status: "Success" }]);
    await answer(connection.activate(uniqueIdentifier));
    const request = { uniqueIdentifier, references: [reference("State")] };
    const { attributes } = await engine.ask("1.1", "GetAttributes", request);
    expect(attributes.map(({ item }) => item.value)).toEqual([2]);
  }
});

test("trap 22: a missing password is reported clearly, and only if the instance has users", async () => {
  const withUsers = { ...engine.client, verifyPassword: async () => false };
  const { items } = await engine.sendAs(withUsers, "1.1", [["Create", aesKey()]]);
  expect(items).toMatchObject([
    { reason: "AuthenticationNotSuccessful", message: "a Credential is required" },
  ]);
  expect((await engine.send("1.1", [["Create", aesKey()]])).items).toMatchObject([
    { status: "Success" },
  ]);
});

test("trap 23: a Credential may come in some messages and not in others", async () => {
  const connection = new VcenterConnection();
  const login = { username: "u", password: "p" };
  const uniqueIdentifier = await create();
  const requests = [
    connection.hello(),
    connection.get(uniqueIdentifier, login),
    connection.get(uniqueIdentifier),
    connection.getAttribute(uniqueIdentifier, "State", login),
  ];
  for (const request of requests) {
    const found = Buffer.from(await answer(request)).toString("hex");
    expect(found).toContain("42007f05000000040000000000000000");
  }
});

test("trap 24: keys that accumulate can be found by the attributes that vSphere gave them", async () => {
  const wanted = await create();
  await create();
  const item = vendor("Identifier", "vm-uuid-1");
  await engine.ask("1.1", "AddAttribute", { uniqueIdentifier: wanted, newAttribute: { item } });
  const { uniqueIdentifiers } = await engine.ask("1.1", "Locate", { attributes: [{ item }] });
  expect(uniqueIdentifiers).toEqual([wanted]);
});

test("trap 25: no date deactivates a key that was given no date", async () => {
  const uniqueIdentifier = await create();
  await engine.ask("1.1", "Activate", { uniqueIdentifier });
  const references = [reference("DeactivationDate"), reference("ProtectStopDate")];
  const request = { uniqueIdentifier, references };
  expect((await engine.ask("1.1", "GetAttributes", request)).attributes).toEqual([]);
  engine.now += 50 * 365 * 86_400;
  await engine.ask("1.1", "Get", { uniqueIdentifier });
  const [stored] = await engine.store.read("i", [uniqueIdentifier]);
  expect(stored && stateOf(stored.object.facts)).toBe("Active");
});

test("trap 27: an identifier is 36 characters and never changes", async () => {
  const uniqueIdentifier = await create();
  expect(uniqueIdentifier).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  for (const operation of ["Get", "Activate", "GetAttributeList"] as const) {
    const { items } = await engine.send("1.1", [[operation, { uniqueIdentifier }]]);
    expect(items).toMatchObject([{ payload: { uniqueIdentifier } }]);
  }
});

test("trap 28: header options that are not sent have safe defaults", async () => {
  const { items } = await engine.send("1.1", [
    ["Create", aesKey()],
    ["Activate", {}],
    ["Query", { queryFunctions: ["QueryOperations"] }],
    ["Destroy", {}],
    ["Get", {}],
  ]);
  // In order, at once, without a size limit, and stopped at the first failure.
  expect(items.map(({ operation, status }) => `${operation} ${status}`)).toEqual([
    "Create Success",
    "Activate Success",
    "Query Success",
    "Destroy OperationFailed",
  ]);
});
