import { randomUUID } from "node:crypto";
import type { AdminClient } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import {
  changeRecord,
  readKekRecord,
  sysPartition,
  systemIdentifier,
  systemInstance,
} from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminClient, firstToken, patiently } from "../support/admin-api.ts";
import { answered, createKey } from "../support/keys.ts";
import type { NodeProcess } from "../support/node-process.ts";
import { openStoreOf } from "../support/node-root.ts";
import { recordOf } from "../support/record.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell } from "../support/vitals.ts";

let both: TwoRegions;
let token: string;
const opened: AsyncDisposable[] = [];
const admins = new Map<string, AdminClient>();
const local = { type: "local" as const };
const rootOfTrust = { regions: { a: local, b: local } };
const problem = (code: string) => expect.objectContaining({ name: "AdminProblem", code });

beforeAll(async () => {
  both = await startTwoRegions({ instances: ["declared"], replicas: 0, admin: true });
  await allWell(both);
  token = await firstToken({ node: both.node("a1"), ca: both.a.ca });
});

afterAll(async () => {
  await Promise.all(opened.map((one) => one[Symbol.asyncDispose]()));
  await both?.[Symbol.asyncDispose]();
});

/** A node's management API, with retries: on a busy machine a region may lose the other briefly. */
function at(node: string): Pick<AdminClient, "call"> {
  return patiently(once(node));
}

/** The same without retries. */
function once(node: string): AdminClient {
  const known = admins.get(node);
  if (known !== undefined) return known;
  const made = adminClient({ node: both.node(node), ca: both.a.ca }, token);
  admins.set(node, made);
  opened.push(made);
  return made;
}

/** A client of a node; waits until the node accepts it. */
async function clientOf(node: NodeProcess, { certificate, key }: Issued): Promise<KmipClient> {
  const endpoints = [`${node.host}:${node.kmip}`];
  let client: KmipClient | undefined;
  await until(`${node.name} lets the client in`, async () => {
    const tls = { ca: both.a.ca, certificate, key };
    client = await KmipClient.connect({ endpoints, tls }).catch(() => undefined);
    return client !== undefined;
  });
  if (client === undefined) throw new Error("no client");
  opened.push(client);
  return client;
}

/** Orders an instance, and connects a client of it at every node. */
async function ordered(name: string) {
  const { id } = await at("a1").call("createInstance", { body: { name, rootOfTrust } });
  await seenBy("b1", id);
  const shown = await selfSigned({ commonName: name, notBeforeMs: Date.now() - 60_000, days: 2 });
  const body = { name: "vcenter", pem: shown.certificate };
  await at("b1").call("addCertificate", { params: { instance: id }, body });
  const clients = await Promise.all(both.nodes.map((node) => clientOf(node, shown)));
  return { id, shown, clients };
}

/** Waits until a node has seen the instance, which another node may have written. */
async function seenBy(node: string, instance: string): Promise<void> {
  const read = () => at(node).call("readInstance", { params: { instance } });
  await until(`${node} sees it`, () =>
    read().then(
      () => true,
      () => false,
    ),
  );
}

/** Waits until what is expected is so: a node, or a region, may hear of it a moment later. */
async function becomes(what: string, expected: () => Promise<void>): Promise<void> {
  await until(what, () =>
    expected().then(
      () => true,
      (error: Error) => error,
    ),
  );
}

/** What both regions' own stores hold. */
async function inStores<Found>(look: (store: RedisStore) => Promise<Found>): Promise<Found[]> {
  return await Promise.all(
    both.regions.map(async (region) => {
      await using open = await openStoreOf(region);
      return await look(open.store);
    }),
  );
}

async function liveIn(store: RedisStore, instance: string): Promise<number> {
  const counts = await store.counts(instance);
  return Object.entries(counts ?? {}).reduce(
    (sum, [state, count]) => (state.startsWith("Destroyed") ? sum : sum + count),
    0,
  );
}

async function wrapsIn(store: RedisStore, instance: string): Promise<number> {
  const { objects } = await store.changes(sysPartition, 0, 10_000, 1 << 24);
  return objects
    .flatMap((record) => readKekRecord(record) ?? [])
    .filter((entry) => entry.instance === instance)
    .reduce((sum, { kek }) => sum + kek.wraps.length, 0);
}

describe("an order", () => {
  test("without roots of trust is Inactive; once it is configured, it serves in both regions", async () => {
    const made = await at("a1").call("createInstance", { body: { labels: { site: "x" } } });
    expect(made).toMatchObject({ status: "Inactive", origin: "order", labels: { site: "x" } });
    expect(made.name).toMatch(/^kmip-[a-z]{2,}$/);
    expect(made.pending).toEqual({ a: "applied", b: "applied" });
    const params = { instance: made.id };
    await seenBy("b1", made.id);
    await at("b1").call("configureRoot", { params, body: rootOfTrust });
    const usable = { status: "Installed", reason: "", root: { type: "local", state: "usable" } };
    await becomes("it serves in both regions", async () => {
      const read = await at("b1").call("readInstance", { params });
      expect(read).toMatchObject({ status: "Installed", reason: "" });
      expect(read.regions).toMatchObject({ a: usable, b: usable });
      expect(Object.values(read.regions).flatMap(({ endpoints }) => endpoints)).toHaveLength(2);
    });
    await becomes("it is listed", async () => {
      const { items } = await at("a2").call("listInstances", { query: { label: "site=x" } });
      expect(items.map(({ id }) => id)).toEqual([made.id]);
    });
  });

  test("without a usable root of trust in each region is refused, and says what is missing", async () => {
    const order = (regions: Record<string, unknown>) =>
      at("a1").call("createInstance", {
        body: { name: "never", rootOfTrust: { regions: regions as typeof rootOfTrust.regions } },
      });
    await expect(order({ a: local })).rejects.toThrow("region b: name a root of trust");
    const hpcs = { type: "hpcs", instanceId: "i", rootKey: "k", apiKey: { value: "secret" } };
    await expect(order({ a: local, b: hpcs })).rejects.toEqual(problem("rootUnsupported"));
    const { items } = await at("a1").call("listInstances", { query: { name: "never" } });
    expect(items).toEqual([]);
  });

  test("under the name of another instance is refused, whichever region asks", async () => {
    const { id, version } = await at("a1").call("createInstance", { body: { name: "mine" } });
    const again = at("b1").call("createInstance", { body: { name: "mine" } });
    await expect(again).rejects.toEqual(problem("nameTaken"));
    const declared = at("b1").call("createInstance", { body: { name: "declared" } });
    await expect(declared).rejects.toEqual(problem("nameTaken"));
    const two = ["a2", "b2"].map((node) =>
      at(node).call("createInstance", { body: { name: "at once" } }),
    );
    const made = await Promise.allSettled(two);
    expect(made.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const params = { instance: id };
    await seenBy("b2", id);
    const renamed = await at("b2").call(
      "updateInstance",
      { params, body: { name: "yours", description: "d" } },
      { ifMatch: version },
    );
    expect(renamed).toMatchObject({ name: "yours", description: "d" });
    const old = at("b2").call("updateInstance", { params, body: {} }, { ifMatch: version });
    await expect(old).rejects.toEqual(problem("preconditionFailed"));
    await at("b2").call("createInstance", { body: { name: "mine" } });
    await at("b2").call("deleteInstance", { params: { instance: "mine" }, query: {} });
  });
});

describe("a deletion", () => {
  test("is refused while there are keys; later it ends access and erases keys and objects", async () => {
    const { id, clients } = await ordered("doomed");
    const params = { instance: id };
    const [first, other] = clients as [KmipClient, KmipClient];
    const key = await answered(() => createKey(first));
    await answered(() => first.activate({ uniqueIdentifier: key }));
    // On a busy machine a key may be in one region alone for a moment.
    await becomes("both regions count it", async () => {
      const refused = at("b1").call("deleteInstance", { params, query: {} });
      await expect(refused).rejects.toEqual(problem("keysRemain"));
      await expect(refused).rejects.toThrow("1 Active in region a; 1 Active in region b");
    });
    const force = "true" as const;
    for (const query of [{ force }, { force, name: "Doomed" }]) {
      const unsure = at("a1").call("deleteInstance", { params, query });
      await expect(unsure).rejects.toEqual(problem("confirmationNeeded"));
    }
    await answered(() => other.get({ uniqueIdentifier: key }));
    await becomes("each region has both wraps", async () =>
      expect(await inStores((store) => wrapsIn(store, id))).toEqual([2, 2]),
    );

    const answer = await at("a2").call("deleteInstance", {
      params,
      query: { force, name: "doomed" },
    });
    expect(answer).toMatchObject({
      id,
      status: "Deleted",
      regions: { a: "applied", b: "applied" },
    });
    expect(answer.warning).toContain("never be decrypted");
    // Every node learns of it within a second.
    for (const client of clients) {
      const refuses = () =>
        client.get({ uniqueIdentifier: key }).then(
          () => false,
          () => true,
        );
      await until("access has ended", refuses);
    }
    await until("the objects are erased", async () =>
      (await inStores((store) => liveIn(store, id))).every((count) => count === 0),
    );
    await until("wraps are erased, statuses and every node say so", async () => {
      const wraps = await inStores((store) => wrapsIn(store, id));
      const statuses = await inStores((store) => store.status(id));
      const reads = ["b1", "b2"].map((node) => at(node).call("readInstance", { params }));
      const told = await Promise.all(reads);
      return (
        wraps.every((count) => count === 0) &&
        [...statuses, ...told.map(({ status }) => status)].every((one) => one === "Deleted") &&
        told.every(({ certificates }) => certificates === 0)
      );
    });
    const gone = at("b1").call("deleteInstance", { params, query: {} });
    await expect(gone).rejects.toEqual(problem("notFound"));
    // The name and the certificate can be used again.
    await ordered("doomed");
  });

  test("ends although a key's record was altered in both regions, and each region says so", async () => {
    const { id, clients } = await ordered("altered");
    const key = await answered(() => createKey(clients[0] as KmipClient));
    const stores = both.regions.map(({ redis }) => redis.primary);
    const inBoth = () => Promise.all(stores.map((store) => recordOf(store, key)));
    await until("both regions have the key", () => inBoth().then(Boolean, () => false));
    const altered = (await inBoth()).map(async ({ key: place, value }, region) => {
      value.writeUInt8(value.readUInt8(value.length - 1) ^ 1, value.length - 1);
      await stores[region]?.command("set", place, value);
    });
    await Promise.all(altered);
    const query = { force: "true" as const, name: "altered" };
    await at("b1").call("deleteInstance", { params: { instance: id }, query });
    await until("each region says so", async () => {
      const wanted = { action: "vmware-solutions.service.delete", limit: 100 };
      const { items } = await at("a1").call<"listEvents">("listEvents", { query: wanted });
      const told = items.filter((event) => /"unproven":"?1\b/.test(JSON.stringify(event)));
      const regions = new Set(told.map((event) => event["region"]));
      return regions.size === 2 || JSON.stringify(items.at(0) ?? {});
    });
  });

  test("refuses creations that happen at the same time, or erases what they made", async () => {
    const { id, clients } = await ordered("raced");
    const before = await inStores((store) => store.quarantined());
    const made: string[] = [];
    let over = false;
    const creating = clients.map(async (client) => {
      while (!over) {
        await createKey(client).then(
          (key) => made.push(key),
          () => undefined,
        );
      }
    });
    await until("keys are made", async () => made.length > 40);
    const query = { force: "true" as const, name: "raced" };
    await at("b2").call("deleteInstance", { params: { instance: id }, query });
    over = true;
    await Promise.all(creating);
    await until("all of them are erased", async () => {
      const found = await inStores(async (store) => {
        const copies = await store.read(id, made.slice(-200));
        return copies.every((copy) => copy?.object.facts.destroyed !== undefined);
      });
      const live = await inStores((store) => liveIn(store, id));
      return found.every(Boolean) && live.every((count) => count === 0);
    });
    expect(await inStores((store) => store.quarantined())).toEqual(before);
  });

  test("is refused while the other region cannot be reached", async () => {
    const { id } = await ordered("cut");
    const params = { instance: id };
    await both.cut();
    await until("a1 notices", async () => {
      const refused = once("a1").call("deleteInstance", { params, query: {} });
      return await refused.then(
        () => false,
        (error: { code?: string }) => error.code === "peerUnreachable",
      );
    });
    await becomes("b1 refuses an order", async () => {
      const ordering = once("b1").call("createInstance", { body: { name: "during" } });
      await expect(ordering).rejects.toEqual(problem("peerUnreachable"));
    });
    await both.heal();
    await allWell(both);
    await until("it is open again", async () => {
      const { status } = await at("a1").call("readInstance", { params });
      return status === "Installed";
    });
    await becomes("it is open in both stores", async () =>
      expect(await inStores((store) => store.status(id))).toEqual(["Installed", "Installed"]),
    );
  });

  test("that a dead node left unfinished is finished by the leaders, or dropped where keys are Active", async () => {
    const half = async (name: string, phase: "reserved" | "decided") => {
      const { id, clients } = await ordered(name);
      const [client] = clients as [KmipClient];
      const uniqueIdentifier = await answered(() => createKey(client));
      await answered(() => client.activate({ uniqueIdentifier }));
      const removal = { id: randomUUID(), phase, force: false, atMs: 1, by: "test", byId: "test" };
      const changes = { status: "Removing", removedFrom: "Installed", removal } as const;
      const now = { us: Date.now() * 1_000, region: "a" };
      await inStores(async (store) => {
        // The region may change the record at the same time.
        await until("the half deletion is written", async () => {
          const [before] = await store.read(systemInstance, [systemIdentifier("Instance", id)]);
          if (before === undefined) throw new Error("no such instance");
          const after = changeRecord("Instance", before.object, changes, now);
          const update = { kind: "update", before, after } as const;
          const { kind } = await store.commit(systemInstance, [update], []);
          return kind === "committed" || kind;
        });
      });
      return id;
    };
    const [dropped, finished] = await Promise.all([
      half("dropped", "reserved"),
      half("done", "decided"),
    ]);
    const statusOf = async (instance: string) =>
      (await at("a1").call("readInstance", { params: { instance } })).status;
    await until("the one is dropped", async () => (await statusOf(dropped)) === "Installed");
    await until("the other is deleted", async () => (await statusOf(finished)) === "Deleted");
    await until("the stores follow", async () => {
      const statuses = await inStores(async (store) => [
        await store.status(dropped),
        await store.status(finished),
        String(await liveIn(store, finished)),
      ]);
      return statuses.every((each) => each.join() === "Installed,Deleted,0");
    });
    await becomes("one has no wraps, the other all", async () => {
      expect(await inStores((store) => wrapsIn(store, finished))).toEqual([0, 0]);
      expect(await inStores((store) => wrapsIn(store, dropped))).toEqual([2, 2]);
    });
  });
});
