import type { KmipClient } from "@holdfast/client";
import { attributeItem, attributes, attributeValue, vendorAttribute } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { textString } from "@holdfast/ttlv";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { rootOf } from "../support/node-root.ts";
import { RedisServer } from "../support/redis.ts";
import { initStore, setStore } from "../support/redis-store.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";
const rounds = 10;
const site = { tag: attributes.VendorAttribute.tag, key: "x\0Site" };

const stack = new AsyncDisposableStack();
let both: TwoRegions;
let cut: (cut: boolean) => Promise<void>;

beforeAll(async () => {
  // On a busy machine changes may be acknowledged alone; such changes need not be visible at once.
  const settings = { peer: { pushTimeoutMs: 5_000 } };
  const shape = { instances: [instance], settings, admin: true, unstarted: true };
  both = stack.use(await startTwoRegions(shape));
  cut = await relayed("a2");
  await Promise.all(both.nodes.map((node) => node.start()));
  await allWell(both);
}, 240_000);

afterAll(() => stack.disposeAsync());

/** Puts a relay between a node and its region's Redis; returns what cuts and heals the relay. */
async function relayed(name: string): Promise<(cut: boolean) => Promise<void>> {
  const { port } = both.regionOf(both.node(name)).redis.primary;
  const relay = await both.relays.open(port);
  await setStore(both.node(name).configFile, { address: `127.0.0.1:${relay}` });
  return (cut) => both.relays.set([relay], { delayMs: 0, cut: { forth: cut, back: cut } });
}

function adding(client: KmipClient, uniqueIdentifier: string, text: string): Promise<unknown> {
  const name = { value: `${uniqueIdentifier} ${text}`, type: "UninterpretedTextString" } as const;
  const items = [attributeItem("Name", name), vendorAttribute("x", "Site", textString(0, text))];
  return items.reduce<Promise<unknown>>(
    (before, item) =>
      before.then(() => client.call("AddAttribute", { uniqueIdentifier, newAttribute: { item } })),
    Promise.resolve(),
  );
}

/** Names and sites of a key with their indexes, as a client of 1.4 sees them. */
async function valuesAt(client: KmipClient, uniqueIdentifier: string) {
  const references = [{ tag: attributes.Name.tag, key: "" }, site];
  const answer = await client.call("GetAttributes", { uniqueIdentifier, references });
  const names = answer.attributes.filter(({ item }) => item.tag === attributes.Name.tag);
  const sites = answer.attributes.filter(({ item }) => item.tag === site.tag);
  return {
    names: names.map(({ item }) => attributeValue("Name", item).value).toSorted(),
    sites: sites.map(({ item }) => String(vendorValue(item.value))).toSorted(),
    indexes: [names, sites].map((of) => new Set(of.map(({ index }) => index ?? 0)).size),
  };
}

function vendorValue(fields: unknown): unknown {
  const [, , value] = fields as readonly { readonly value: unknown }[];
  return value?.value;
}

test("values that two nodes of one region add at two stores at the same time both stay, at every endpoint", {
  timeout: 300_000,
}, async () => {
  await using clients = await ClientsOfAll.open(both, instance);
  const [a1, a2] = [clients.at("a1"), clients.at("a2")];

  const keys: string[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { uniqueIdentifier } = await a1.call("Create", {
      objectType: "SymmetricKey",
      attributes: {
        attributes: [
          { item: attributeItem("CryptographicAlgorithm", "AES") },
          { item: attributeItem("CryptographicLength", 256) },
          { item: attributeItem("CryptographicUsageMask", 0x0c) },
        ],
        templateNames: [],
      },
    });
    keys.push(uniqueIdentifier);
  }
  await cut(true);
  await until(
    "a2 serves from b",
    async () => (await vitalsOf(both.node("a2"))).from === "remote",
    30_000,
  );
  for (const key of keys) await Promise.all([adding(a1, key, "of a1"), adding(a2, key, "of a2")]);
  const [one, other] = await Promise.all(["a1", "a2"].map((name) => vitalsOf(both.node(name))));
  expect([one?.from, other?.from]).toEqual(["local", "remote"]);

  const wanted = (key: string) => ({
    names: [`${key} of a1`, `${key} of a2`],
    sites: ["of a1", "of a2"],
    indexes: [2, 2],
  });
  const everywhere = async () => {
    for (const [at, key] of keys.entries()) {
      for (const client of clients.all) {
        expect({ at, ...(await valuesAt(client, key)) }).toEqual({ at, ...wanted(key) });
      }
    }
  };
  await everywhere();
  await cut(false);
  await allWell(both);
  await everywhere();

  // A client can name each value by its index: deleted at one endpoint, it is gone at all of them.
  const [key = ""] = keys;
  const reference = { tag: attributes.Name.tag, key: "" };
  const before = await a2.call("GetAttributes", { uniqueIdentifier: key, references: [reference] });
  const last = before.attributes.at(-1);
  await a2.call("DeleteAttribute", {
    uniqueIdentifier: key,
    reference,
    attributeIndex: last?.index ?? 0,
  });
  const left = before.attributes[0] && attributeValue("Name", before.attributes[0].item).value;
  for (const client of clients.all) expect((await valuesAt(client, key)).names).toEqual([left]);
});

test("a node that uses another initialised store than its region's is reported at every node of both regions", {
  timeout: 300_000,
}, async () => {
  const ca = both.a.ca;
  const token = await firstToken({ node: both.node("a1"), ca });
  const storesOfA = async (name: string): Promise<string> => {
    // On a busy machine a scrape may take too long.
    const metrics = await both.node(name).metrics().catch(String);
    const shown = /^holdfast_region_stores\{store_region="a"\} (\d)$/m.exec(metrics);
    return shown?.[1] ?? "unknown";
  };
  const everyNode = async (shown: string) => {
    const all = await Promise.all(both.nodes.map(({ name }) => storesOfA(name)));
    return all.every((each) => each === shown) || all.join(", ");
  };
  const checksAt = async (name: string) => {
    await using admin = adminClient({ node: both.node(name), ca }, token);
    const { items } = await admin.call("runChecks", {});
    return items.filter((check) => check.name === "stores").map(({ state }) => state);
  };
  await until("each node has heard one store of region a", () => everyNode("1"));
  expect(await checksAt("a1")).toEqual(["ok"]);

  await using other = await RedisServer.start();
  const a2 = both.node("a2");
  await using root = await rootOf(a2);
  const made = await initStore({ address: other.address, root });
  await a2.kill();
  const putBack = await setStore(a2.configFile, { address: other.address, replicas: 0 });
  await a2.start();
  await until("each node reports two stores of region a", () => everyNode("2"));
  for (const node of both.nodes) {
    await until(`the log of ${node.name} names both stores`, () => {
      const line = /the nodes of region a use 2 different stores: .*/.exec(node.logText())?.[0];
      return line?.includes(made.storeId) ?? false;
    });
    expect(await checksAt(node.name)).toEqual(["failed"]);
  }

  await a2.kill();
  await putBack();
  await a2.start();
  await until("each node has heard one store again", () => everyNode("1"));
  expect(await checksAt("b1")).toEqual(["ok"]);
});
