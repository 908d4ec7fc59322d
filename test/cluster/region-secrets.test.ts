import { hash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KmipClient } from "@holdfast/client";
import { ObjectKekStore, readRecord, systemInstance } from "@holdfast/engine";
import {
  attributeItem,
  attributes,
  attributeValue,
  encodeRequest,
  objectItem,
  tags,
} from "@holdfast/kmip";
import { openLocalRoot } from "@holdfast/root-of-trust";
import { answerOf } from "@holdfast/testing";
import { byteString, encode, type Item } from "@holdfast/ttlv";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { answered, createKey, keyBytes, registerKey } from "../support/keys.ts";
import { openStoreOf } from "../support/node-root.ts";
import { systemClock, systemIds } from "../support/redis-store.ts";
import { type Region, startRegion } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";
import { patient } from "../support/root-regions.ts";
import { findSecrets, type Haystack, haystacksOf } from "../support/search.ts";

const password = `Correct-Horse-${randomBytes(6).toString("hex")}`;
const wrongPassword = `Wrong-Horse-${randomBytes(6).toString("hex")}`;

let region: Region;
/** Name → bytes that must not be found anywhere. */
const secrets = new Map<string, Uint8Array>();
/** The answers to clients. */
const told: string[] = [];

beforeAll(async () => {
  region = await startRegion({
    instances: ["vcenter", "named"],
    admin: true,
    users: { named: { ada: password } },
    settings: { log: { level: "debug" }, audit: { reads: "strict" } },
    redisConfig: { rdbcompression: "no" },
  });
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
});

test("no key, secret or password is in Redis, its files, logs, metrics or errors", async () => {
  await using client = await letIn(region, "vcenter", 0);
  const id = await keepAndUse(client);
  await failWithSecrets(client);
  await logIn();
  await rememberRoots();
  for (const redis of [region.redis.primary, ...region.redis.replicas]) {
    await redis.command("save");
  }
  const stores = await Promise.all(
    [region.redis.primary, ...region.redis.replicas].map(haystacksOf),
  );
  const logs = region.nodes.map((node) => ({ name: node.logFile, bytes: text(node.logText()) }));
  const metrics = await Promise.all(
    region.nodes.map(async (node) => ({
      name: `metrics of ${node.name}`,
      bytes: text(await node.metrics()),
    })),
  );
  const haystacks = [
    ...stores.flat(),
    ...logs,
    ...metrics,
    { name: "answers", bytes: text(told.join("\n")) },
  ];
  expect(findSecrets(haystacks, secrets)).toEqual([]);
  expect(findSecrets(haystacks, digests())).toEqual([]);
  looksWhereItIs(haystacks, id);
});

/** The control: a value that is not secret is found in each kind of place, in every form. */
function looksWhereItIs(haystacks: readonly Haystack[], id: string): void {
  const raw = Buffer.from(id.replaceAll("-", ""), "hex");
  const found = (secret: Uint8Array) =>
    findSecrets(haystacks, new Map([["control", secret]])).join("\n");
  for (const place of ["appendonly.aof", "dump.rdb", "keys of"]) {
    expect(found(text("no secret: rack 12"))).toContain(place);
  }
  expect(found(raw)).toMatch(/keys of .*: raw of control/);
  expect(found(text(id))).toMatch(/\.log: raw of control/);
  expect(found(text("holdfast_requests_total"))).toContain("metrics of a1: raw");
  expect(told.length).toBeGreaterThan(4);
}

/** Makes objects of several types with known bytes; destroys one. Returns one that stays. */
async function keepAndUse(client: KmipClient): Promise<string> {
  const keys = ["a key", "a destroyed key"].map((name) => remember(name, randomBytes(32)));
  const described = { item: attributeItem("ContactInformation", "no secret: rack 12") };
  const [id = "", gone = ""] = await Promise.all(
    keys.map((key) => answered(() => registerKey(client, key, [described]))),
  );
  await answered(() => client.activate({ uniqueIdentifier: id }));
  await answered(() => client.destroy({ uniqueIdentifier: gone }));
  const made = await answered(() => createKey(client));
  remember("a made key", Buffer.from(await answered(() => keyBytes(client, made)), "hex"));
  const passphrase = remember("a passphrase", text(`Open-${randomBytes(8).toString("hex")}`));
  const register = (objectType: "SecretData" | "OpaqueObject", object: Item) =>
    answered(() => {
      const attributes = { attributes: [], templateNames: [] };
      return client.register({ objectType, attributes, object });
    });
  const secret = objectItem("SecretData", {
    secretDataType: "Password",
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, passphrase) },
    },
  });
  const kept = await register("SecretData", secret);
  const opaqueDataValue = remember("opaque data", randomBytes(64));
  const opaque = await register(
    "OpaqueObject",
    objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue }),
  );
  expect(await digestOf(client, kept.uniqueIdentifier)).toEqual([sha256(passphrase)]);
  await readOverApi([id, made, kept.uniqueIdentifier, opaque.uniqueIdentifier]);
  await using other = await letIn(region, "vcenter", 1);
  expect(await answered(() => keyBytes(other, id))).toBe(
    Buffer.from(keys[0] ?? []).toString("hex"),
  );
  return id;
}

/** The digest of an object, which clients of the instance may get. */
async function digestOf(client: KmipClient, uniqueIdentifier: string): Promise<unknown[]> {
  const references = [{ tag: attributes.Digest.tag, key: "" }];
  const answer = await answered(() => client.getAttributes({ uniqueIdentifier, references }));
  return answer.attributes.map(({ item }) =>
    Buffer.from(attributeValue("Digest", item).digestValue ?? []),
  );
}

/** Adds what the management API shows of objects to the answers that are searched. */
async function readOverApi(keys: readonly string[]): Promise<void> {
  const target = { node: region.node(0), ca: region.ca };
  const token = await answerOf(
    "the first token",
    () => firstToken(target),
    () => true,
  );
  await using admin = adminClient(target, token);
  for (const key of keys) {
    const answer = await patient(() =>
      admin.call("readKey", { params: { instance: "vcenter", key }, query: {} }),
    );
    expect(answer.attributes.map(({ name }) => name)).toContain("Initial Date");
    told.push(JSON.stringify(answer));
  }
}

/** The digests of the secrets: a weak secret can be guessed from its digest. */
function digests(): ReadonlyMap<string, Uint8Array> {
  return new Map([...secrets].map(([name, secret]) => [`digest of ${name}`, sha256(secret)]));
}

function sha256(bytes: Uint8Array): Buffer {
  return hash("sha256", bytes, "buffer");
}

/** Requests that fail while they hold secrets. */
async function failWithSecrets(client: KmipClient): Promise<void> {
  const key = remember("a refused key", randomBytes(32));
  const material = byteString(tags.KeyMaterial.tag, key);
  const register = (keyBlock: object) =>
    client.register({
      objectType: "SymmetricKey",
      attributes: { attributes: [], templateNames: [] },
      object: objectItem("SymmetricKey", { keyBlock } as never),
    });
  const keyValue = { keyMaterial: material };
  await refused(register({ keyFormatType: "Raw", keyValue, cryptographicAlgorithm: "AES" }));
  await refused(register({ keyFormatType: "TransparentSymmetricKey", keyValue }));
  await refused(registerKey(client, key, [{ item: attributeItem("State", "Active") }]));
  // A broken message with the key in it.
  const bytes = encode(encodeRequest({ version: "1.4", items: [registering(key)] }));
  const at = Buffer.from(bytes).indexOf(key);
  for (const cut of [at - 4, at - 8]) {
    await using socket = await answerOf(
      "a connection",
      () => region.connect("vcenter", 0),
      () => true,
    );
    const broken = Buffer.from(bytes);
    broken[cut] = 0x7f;
    const answer = await socket.exchange(broken).catch((error: Error) => text(error.message));
    told.push(Buffer.from(answer).toString("latin1"));
  }
}

function registering(key: Uint8Array) {
  const object = objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, key) },
      cryptographicAlgorithm: "AES",
      cryptographicLength: 256,
    },
  });
  const attributes = { attributes: [], templateNames: [] };
  return {
    operation: "Register" as const,
    payload: { objectType: "SymmetricKey" as const, attributes, object },
  };
}

/** Logs in with the right password and with a wrong one. */
async function logIn(): Promise<void> {
  remember("the password", text(password));
  remember("a wrong password", text(wrongPassword));
  for (const given of [password, wrongPassword]) {
    const { host, port, ca, certificate, key } = region.target("named", 0);
    const connect = () =>
      KmipClient.connect({
        endpoints: [`${host}:${port}`],
        tls: { ca, certificate, key },
        version: "1.4",
        credentials: [{ type: "UsernameAndPassword", username: "ada", password: given }],
      });
    await using client = await answered(connect);
    if (given === password) await answered(() => createKey(client));
    else await refused(createKey(client));
  }
}

/** The root key in its file, and the key-encryption keys that it wraps. */
async function rememberRoots(): Promise<void> {
  const file = join(region.folder, "root.json");
  const keys = readFileSync(file, "utf8").match(/[A-Za-z0-9+/]{43}=/g) ?? [];
  expect(keys.length).toBeGreaterThan(0);
  for (const key of keys) remember("a root key", Buffer.from(key, "base64"));
  await using opened = await openStoreOf(region, { replicas: 1 });
  const root = await openLocalRoot(file, systemIds);
  const everything = { live: true, destroyed: false, limit: 100 };
  const { objects } = await opened.store.find(systemInstance, everything);
  const named = objects.flatMap(({ object }) => readRecord("Instance", object) ?? []);
  const instance = named.find(({ name }) => name === "vcenter")?.instance ?? "";
  const keks = await new ObjectKekStore(opened.store, { clock: systemClock, region: "a" }).list(
    instance,
  );
  expect(keks.length).toBeGreaterThan(0);
  for (const { id, wraps } of keks) {
    const [wrap] = wraps;
    const parts = ["holdfast-kek", instance, id];
    const bound = text(parts.map((part) => `${part.length}:${part}`).join(""));
    const { plaintext } = await root.unwrap(wrap?.blob ?? new Uint8Array(), bound);
    remember("a key-encryption key", plaintext);
  }
}

async function refused(work: Promise<unknown>): Promise<void> {
  const error = await work.then(
    () => undefined,
    (caught: Error) => caught,
  );
  if (error === undefined) throw new Error("it was not refused");
  told.push(`${error.message} ${error.stack}`);
}

function remember<Bytes extends Uint8Array>(name: string, bytes: Bytes): Bytes {
  secrets.set(`${name} ${secrets.size}`, bytes);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.from(value, "utf8");
}
