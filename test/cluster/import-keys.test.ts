import { hash, randomBytes, randomUUID } from "node:crypto";
import type { AdminClient, Contract, Reply } from "@holdfast/admin";
import { partitionOf } from "@holdfast/engine";
import {
  attributeItem,
  attributes,
  attributeValue,
  objectItem,
  tags,
  vendorAttribute,
} from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { byteString, type Item, textString } from "@holdfast/ttlv";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken, patiently } from "../support/admin-api.ts";
import { answered, importable, keyBytes } from "../support/keys.ts";
import { patient } from "../support/root-regions.ts";
import { findSecrets, type Haystack, haystacksOf } from "../support/search.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";
import { allWell } from "../support/vitals.ts";

type Result = Reply<Contract["importKeys"]>["results"][number];

/** A key of another key manager. */
interface Moved {
  readonly id: string;
  readonly key: Buffer;
  readonly state: "PreActive" | "Active" | "Deactivated" | "Compromised";
  readonly attributes: readonly Item[];
}

const perCall = 50;
const [one, other] = ["one", "other"] as const;

let both: TwoRegions;
let clients: ClientsOfAll;
const admins = new Map<string, AdminClient>();
/** Name → material that must not be found anywhere. */
const secrets = new Map<string, Uint8Array>();
const told: string[] = [];

beforeAll(async () => {
  both = await startTwoRegions({
    ...{ instances: [one, other], replicas: 0, admin: true },
    ...{ redisConfig: { rdbcompression: "no" }, settings: { log: { level: "debug" } } },
  });
  await allWell(both);
  const token = await firstToken({ node: both.node("a1"), ca: both.a.ca });
  for (const node of both.nodes) {
    admins.set(node.name, adminClient({ node, ca: both.a.ca }, token));
  }
  clients = await ClientsOfAll.open(both, one);
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await Promise.all([...admins.values()].map((admin) => admin[Symbol.asyncDispose]()));
  await both?.[Symbol.asyncDispose]();
});

const date = (name: "InitialDate", seconds: number): Item => attributeItem(name, seconds);
const states = ["Active", "PreActive", "Deactivated", "Compromised"] as const;

/** Keys with the states in turn, with the dates and names that belong to them. */
function keys(count: number): readonly Moved[] {
  return Array.from({ length: count }, (_, at): Moved => {
    const [id, key] = [randomUUID(), randomBytes(32)];
    secrets.set(`key ${secrets.size}`, key);
    const state = states[at % states.length] ?? "Active";
    const dates: readonly Item[] = [
      date("InitialDate", 1_500_000_000 + at),
      ...(state === "PreActive" ? [] : [date("ActivationDate" as never, 1_600_000_000 + at)]),
      ...(state === "Deactivated" ? [date("DeactivationDate" as never, 1_700_000_000 + at)] : []),
      ...(state === "Compromised" ? [date("CompromiseDate" as never, 1_700_000_000 + at)] : []),
    ];
    const named = textString(tags.AttributeValue.tag, `vm-${id}`);
    const items = [
      attributeItem("CryptographicUsageMask", 12),
      vendorAttribute("x", "Identifier", named),
    ];
    return { id, key, state, attributes: [...dates, ...items] };
  });
}

function given({ id, key, state, attributes: items }: Moved) {
  const object = objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, key) },
      ...{ cryptographicAlgorithm: "AES", cryptographicLength: 256 },
    },
  });
  return { ...importable(id, object, items), state };
}

/** A node's management API, with retries. */
function patientAt(node: string): Pick<AdminClient, "call"> {
  return patiently(admins.get(node) as AdminClient);
}

/** One call, which may be refused or lost. */
async function importOnce(
  node: string,
  moved: readonly Moved[],
  instance: string = one,
): Promise<readonly Result[]> {
  const admin = admins.get(node) as AdminClient;
  const { results } = await admin.call<"importKeys">("importKeys", {
    params: { instance },
    body: { keys: moved.map(given) },
  });
  told.push(JSON.stringify(results));
  return results;
}

/** Keys that were sent more than once: a try that was refused, or said to try again, may have imported them. */
const repeated = new Set<string>();

/** Calls until no key is to be tried again; the results in the order of the keys. */
async function resultsOf(
  node: string,
  moved: readonly Moved[],
  instance: string = one,
): Promise<readonly (Result | undefined)[]> {
  const ended = new Map<string, Result>();
  const sent = new Set<string>();
  await until(`${node} has imported what it can`, async () => {
    const open = moved.filter(({ id }) => !ended.has(id)).slice(0, perCall);
    const call = () => {
      for (const { id } of open) {
        if (sent.has(id)) repeated.add(id);
        sent.add(id);
      }
      return importOnce(node, open, instance);
    };
    for (const result of await patient(call)) {
      if (result.outcome !== "TryAgain") ended.set(result.identifier, result);
    }
    return ended.size === moved.length;
  });
  return moved.map(({ id }) => ended.get(id));
}

/** Expects that new keys were imported. */
async function expectImported(...[node, moved]: Parameters<typeof resultsOf>): Promise<void> {
  const outcomes = await imported(node, moved);
  const wanted = moved.map(({ id }, at) => {
    const found = outcomes[at] === "AlreadyThere" && repeated.has(id);
    return found ? "AlreadyThere" : "Imported";
  });
  expect(outcomes).toEqual(wanted);
}

/** The same, without reasons and digests. */
async function imported(
  ...given: Parameters<typeof resultsOf>
): Promise<readonly (string | undefined)[]> {
  return (await resultsOf(...given)).map((result) => result?.outcome);
}

const all = (count: number, outcome: string) => Array.from({ length: count }, () => outcome);

/** What a client gets of keys at a node: State, bytes in hex, and a date. */
async function readAt(node: string, moved: readonly Moved[]): Promise<readonly unknown[]> {
  const client = clients.at(node);
  const references = [attributes.State, attributes.InitialDate].map(({ tag }) => ({
    tag,
    key: "",
  }));
  const found: unknown[] = [];
  for (const { id: uniqueIdentifier } of moved) {
    const asked = () => client.getAttributes({ uniqueIdentifier, references });
    const { attributes: shown } = await answered(asked);
    const value = (name: "State" | "InitialDate") => {
      const one = shown.find(({ item: { tag } }) => tag === attributes[name].tag);
      return one && attributeValue(name, one.item);
    };
    const bytes = await answered(() => keyBytes(client, uniqueIdentifier));
    found.push([uniqueIdentifier, value("State"), value("InitialDate"), bytes]);
  }
  return found;
}

const expectedOf = (moved: readonly Moved[]) =>
  moved.map(({ id, state, key, attributes: [initial] }) => [
    id,
    state,
    attributeValue("InitialDate", initial as Item),
    key.toString("hex"),
  ]);

test("200 keys keep identifier, State and dates in both regions, and a repetition changes nothing", async () => {
  const moved = keys(200);
  await expectImported("a1", moved.slice(0, 100));
  await expectImported("b1", moved.slice(100));
  for (const node of ["a2", "b2"]) {
    expect(await readAt(node, moved)).toEqual(expectedOf(moved));
  }
  expect(await imported("b2", moved)).toEqual(all(200, "AlreadyThere"));
  const [first] = moved as [Moved];
  const [result] = await resultsOf("a2", [first]);
  expect(result?.digest).toBe(hash("sha256", first.key));
  const { items } = await patientAt("b1").call("listKeys", {
    params: { instance: one },
    query: { limit: 10, xIdentifier: `vm-${first.id}` },
  });
  expect(items.map(({ id }) => id)).toEqual([first.id]);
});

test("of one identifier in both regions at once one import wins, and nothing is lost", async () => {
  const here = keys(20);
  const there = here.map((moved) => ({ ...moved, key: randomBytes(32) }));
  const [inA, inB] = await Promise.all([imported("a1", here), imported("b2", there)]);
  for (const [at, { id }] of here.entries()) {
    const outcomes = [inA[at], inB[at]];
    const won = outcomes.findIndex((outcome) => outcome !== "Clash");
    // One that did not hear of its success finds its key there.
    expect(["Imported", "AlreadyThere"]).toContain(outcomes[won]);
    expect(outcomes[1 - won]).toBe("Clash");
    const winner = [here, there][won]?.[at]?.key.toString("hex");
    for (const node of both.nodes) {
      expect(await answered(() => keyBytes(clients.at(node.name), id))).toBe(winner);
    }
  }
  const wrong = await resultsOf("b1", [{ ...(here[0] as Moved), key: randomBytes(32) }]);
  expect(wrong).toEqual([
    { identifier: here[0]?.id, outcome: "Clash", reason: expect.stringContaining("identifier") },
  ]);
});

test("a node that is killed in the middle loses nothing: a repetition elsewhere finishes", async () => {
  const moved = keys(4 * perCall);
  const parts = [0, 1, 2, 3].map((at) => moved.slice(at * perCall, (at + 1) * perCall));
  const calls = parts.map((part) => importOnce("a1", part).catch(() => []));
  await Promise.race(calls);
  await both.kill("a1");
  const heard = (await Promise.all(calls)).flat();
  const outcomes = await imported("b1", moved);
  for (const [at, { id }] of moved.entries()) {
    const was = heard.find(({ identifier }) => identifier === id)?.outcome;
    const now = was === "Imported" ? ["AlreadyThere"] : ["Imported", "AlreadyThere"];
    expect(now).toContain(outcomes[at]);
  }
  await both.restart("a1");
  await allWell(both);
  for (const node of ["a2", "b1"]) expect(await readAt(node, moved)).toEqual(expectedOf(moved));
});

test("nothing is imported while the regions are cut off from each other, and all of it afterwards", async () => {
  const moved = keys(3);
  await both.cut();
  try {
    const results = await patient(() => importOnce("a2", moved));
    expect(results.map(({ outcome }) => outcome)).toEqual(all(3, "TryAgain"));
  } finally {
    await both.heal();
  }
  await allWell(both);
  for (const outcome of await imported("b2", moved)) {
    expect(["Imported", "AlreadyThere"]).toContain(outcome);
  }
  expect(await readAt("a1", moved)).toEqual(expectedOf(moved));
});

test("another instance's keys are neither shown nor changed, and a destroyed identifier stays destroyed", async () => {
  const [mine, gone] = keys(2) as [Moved, Moved];
  await imported("a1", [mine, gone]);
  const theirs = { ...mine, key: randomBytes(32) };
  const [result] = await imported("b1", [theirs], other);
  const admin = patientAt("a1");
  const idOf = async (instance: string) =>
    (await admin.call("readInstance", { params: { instance } })).id;
  // Instances are separate; only where two lie in one partition, their objects may have no identifier in common.
  const isOne = partitionOf(await idOf(one)) === partitionOf(await idOf(other));
  if (!isOne && repeated.has(theirs.id)) expect(["Imported", "AlreadyThere"]).toContain(result);
  else expect(result).toBe(isOne ? "Clash" : "Imported");
  for (const node of both.nodes) {
    const bytes = await answered(() => keyBytes(clients.at(node.name), mine.id));
    expect(bytes).toBe(mine.key.toString("hex"));
  }
  const params = { instance: one, key: gone.id };
  const query = { force: "true", confirm: gone.id } as const;
  await admin.call("destroyKey", { params, query });
  const [again] = await resultsOf("b2", [gone]);
  expect(again).toMatchObject({ outcome: "Refused", reason: expect.stringContaining("destroyed") });
});

test("no material is in Redis, logs, metrics, answers or the audit trail", async () => {
  const stores: Haystack[] = [];
  for (const { redis } of both.regions) {
    await redis.primary.command("save");
    stores.push(...(await haystacksOf(redis.primary)));
  }
  const nodes = await Promise.all(
    both.nodes.map(async (node) => [
      { name: node.logFile, bytes: Buffer.from(node.logText()) },
      { name: `metrics of ${node.name}`, bytes: Buffer.from(await node.metrics()) },
    ]),
  );
  const { items } = await patientAt("a1").call("listEvents", {
    query: { limit: 1000, action: "vmware-solutions.kmip-key.import" },
  });
  expect(items.length).toBeGreaterThan(300);
  const haystacks = [
    ...stores,
    ...nodes.flat(),
    { name: "answers", bytes: Buffer.from(told.join("\n")) },
    { name: "events", bytes: Buffer.from(JSON.stringify(items)) },
  ];
  expect(secrets.size).toBeGreaterThan(400);
  expect(findSecrets(haystacks, secrets)).toEqual([]);
});
