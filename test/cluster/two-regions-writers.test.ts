import type { KmipClient } from "@holdfast/client";
import { attributeItem, attributes, attributeValue, vendorAttribute } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { textString } from "@holdfast/ttlv";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { answered, createKey } from "../support/keys.ts";
import { rootOf } from "../support/node-root.ts";
import { RedisServer } from "../support/redis.ts";
import { initStore, setStore } from "../support/redis-store.ts";
import { patient } from "../support/root-regions.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll, insist } from "../support/two-regions-clients.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

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
});

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

/** How many records were acknowledged by one region alone. */
async function acknowledgedAlone(): Promise<number> {
  const vitals = await Promise.all(both.nodes.map(vitalsOf));
  return vitals.reduce((sum, { alone }) => sum + alone, 0);
}

function vendorValue(fields: unknown): unknown {
  const [, , value] = fields as readonly { readonly value: unknown }[];
  return value?.value;
}

test("values that two nodes of one region add at two stores at the same time both stay, at every endpoint", async () => {
  await using clients = await ClientsOfAll.open(both, instance);
  const [a1, a2] = [clients.at("a1"), clients.at("a2")];

  // More than there are rounds: a busy machine may not answer in some.
  const made: string[] = [];
  for (let count = 0; count < 3 * rounds; count += 1) {
    made.push(await answered(() => createKey(a1)));
  }
  await cut(true);
  // a1 may lose its own store for a moment on a busy machine: at two stores they work only while it has it.
  const atTwo = async () => {
    const vitals = await Promise.all(["a1", "a2"].map((name) => vitalsOf(both.node(name))));
    return vitals.map(({ from }) => from).join() === "local,remote";
  };
  await until("a2 serves from b", atTwo);
  const before = await acknowledgedAlone();
  const keys: string[] = [];
  for (const key of made) {
    const adds = [adding(a1, key, "of a1"), adding(a2, key, "of a2")];
    const failed = (await Promise.allSettled(adds)).filter(({ status }) => status === "rejected");
    // What was only perhaps added proves nothing.
    if (failed.length === 0) keys.push(key);
    if (keys.length === rounds) break;
  }
  expect(keys.length).toBe(rounds);
  await until("a1 serves from its own store", atTwo);
  if ((await acknowledgedAlone()) > before) await caughtUp(both);

  const wanted = (key: string) => ({
    names: [`${key} of a1`, `${key} of a2`],
    sites: ["of a1", "of a2"],
    indexes: [2, 2],
  });
  const everywhere = async () => {
    for (const [at, key] of keys.entries()) {
      for (const client of clients.all) {
        const values = await answered(() => valuesAt(client, key));
        expect({ at, ...values }).toEqual({ at, ...wanted(key) });
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
  const { attributes: names } = await answered(() =>
    a2.call("GetAttributes", { uniqueIdentifier: key, references: [reference] }),
  );
  const [first, last] = names;
  await insist(async () => {
    // A Delete without an answer may have been carried out.
    if ((await valuesAt(a2, key)).names.length === 1) return;
    const attributeIndex = last?.index ?? 0;
    await a2.call("DeleteAttribute", { uniqueIdentifier: key, reference, attributeIndex });
  });
  const left = first && attributeValue("Name", first.item).value;
  for (const client of clients.all) {
    expect((await answered(() => valuesAt(client, key))).names).toEqual([left]);
  }
});

test("a node that uses another initialised store than its region's is reported at every node of both regions", async () => {
  const ca = both.a.ca;
  const token = await firstToken({ node: both.node("a1"), ca });
  const storesOfA = async (name: string): Promise<string> => {
    const metrics = await both.node(name).metrics();
    const shown = /^holdfast_region_stores\{store_region="a"\} (\d)$/m.exec(metrics);
    return shown?.[1] ?? "unknown";
  };
  const everyNode = async (shown: string) => {
    const all = await Promise.all(both.nodes.map(({ name }) => storesOfA(name)));
    return all.every((each) => each === shown) || all.join(", ");
  };
  const checkAt = async (name: string, wanted: string) => {
    await using admin = adminClient({ node: both.node(name), ca }, token);
    await until(`the check of ${name} is ${wanted}`, async () => {
      const { items } = await patient(() => admin.call("runChecks", {}));
      const found = items.filter((check) => check.name === "stores").map(({ state }) => state);
      return found.join() === wanted || found.join();
    });
  };
  await until("each node has heard one store of region a", () => everyNode("1"));
  await checkAt("a1", "ok");

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
    await checkAt(node.name, "failed");
  }

  await a2.kill();
  await putBack();
  await a2.start();
  await until("each node has heard one store again", () => everyNode("1"));
  await checkAt("b1", "ok");
});
