import { KmipClient } from "@holdfast/client";
import { answerOf, until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKey, keyBytes, stateOf } from "../support/keys.ts";
import { patient, type RootRegions, startRootRegions } from "../support/root-regions.ts";
import { allWell } from "../support/vitals.ts";

const times = {
  ...{ kekCacheMs: 1_500, graceMs: 5_000, revalidateMs: 1_000, deadlineMs: 5_000 },
  keepKeksMs: 3_000,
};
const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
const keysAtFirst = 100;

let roots: RootRegions;
let client: Issued;
let instance: string;
const open: KmipClient[] = [];
/** Identifier → bytes of the keys that were acknowledged. */
const made = new Map<string, string>();

beforeAll(async () => {
  roots = await startRootRegions(["declared"], times, 2);
  client = await selfSigned({ commonName: "vCenter", ...day });
  const { a, b } = roots.managers;
  const named = async (manager: typeof a) => ({
    instanceId: manager.instanceId,
    rootKey: await manager.createRootKey("of the tenant"),
    apiKey: { value: manager.apiKey },
  });
  const regions = {
    a: { type: "key-protect", ...(await named(a)) },
    b: { type: "hpcs", ...(await named(b)) },
  };
  const body = {
    ...{ name: "tenant", destroyOverKmip: "allowed", rootOfTrust: { regions } },
  } as never;
  const { id } = await patient(() => admin().call<"createInstance">("createInstance", { body }));
  instance = id;
  await until("it is Installed", async () => (await shown()).status === "Installed");
  const pem = client.certificate;
  const params = { instance };
  await patient(() => admin().call("addCertificate", { params, body: { name: "vc", pem } }));
  const maker = await at("a1");
  while (made.size < keysAtFirst) {
    await make(maker).catch((error: unknown) => {
      if (!isBusy(error)) throw error;
    });
  }
});

afterAll(async () => {
  await Promise.all(open.map((one) => one.close().catch(() => undefined)));
  await roots?.[Symbol.asyncDispose]();
});

const admin = (node = "a1") => roots.admin(node);
const shown = (node = "a1") =>
  patient(() => admin(node).call("readInstance", { params: { instance } }));

async function at(node: string): Promise<KmipClient> {
  const { host, kmip } = roots.both.node(node);
  const { certificate, key } = client;
  const endpoints = [`${host}:${kmip}`];
  const tls = { ca: roots.both.a.ca, certificate, key };
  const connect = () => KmipClient.connect({ endpoints, tls, version: "1.4" });
  const connected = await answerOf(`a connection to ${node}`, connect, isBusy);
  open.push(connected);
  return connected;
}

async function make(maker: KmipClient): Promise<string> {
  const id = await createKey(maker);
  made.set(id, await keyBytes(maker, id));
  return id;
}

/** What a node answers while a busy machine keeps it from a store, and says before it accepts clients again. */
const withoutStore =
  /cannot tell|not safe yet|other region|cannot be reached now|connection refused|ECONNRE|closed|in time/;

const isBusy = (error: unknown): boolean => withoutStore.test(String(error));

/** The key's bytes; asked again while a node may be without its store. */
const bytesAt = (asking: KmipClient, id: string) =>
  answerOf(`key ${id}`, () => keyBytes(asking, id), isBusy);

/** Every node returns every acknowledged key, with the bytes that it had at first. */
async function allThere(nodes: readonly string[]): Promise<void> {
  for (const node of nodes) {
    const asking = await at(node);
    for (const [id, bytes] of made) {
      expect(await bytesAt(asking, id), `${id} at ${node}`).toBe(bytes);
    }
  }
}

/** The ids of the instance's KEKs that are not removed, the newest first. */
const keks = async () => ((await shown()).keks ?? []).map(({ id }) => id);

/** Waits until both regions have nothing left under an older KEK than this one. */
async function done(kek: string): Promise<void> {
  await until("both regions are done", async () => {
    const { regions } = await shown();
    const left = ["a", "b"].filter((region) => {
      const rekey = regions[region]?.rekey;
      return rekey?.kek !== kek || rekey.left > 0 || rekey.doneAt === undefined;
    });
    return left.length === 0 || `${left} of ${JSON.stringify(regions)}`;
  });
}

async function rekeyed(): Promise<string> {
  const { keks: now = [] } = await patient(() =>
    admin().call<"rekeyInstance">("rekeyInstance", { params: { instance } }),
  );
  return now[0]?.id ?? "";
}

async function quarantined(): Promise<string[]> {
  const all = await Promise.all(["a1", "b1"].map((node) => roots.both.node(node).metrics()));
  return all.flatMap((metrics) => /^holdfast_quarantined\S* \d+$/m.exec(metrics) ?? []);
}

/** Makes keys and reads the last ones in both regions, until the function that it returns is called: it expects no failure. */
async function working(): Promise<() => Promise<void>> {
  let going = true;
  let reads = 0;
  const failed: unknown[] = [];
  const fails = (error: unknown): void => {
    if (!isBusy(error)) failed.push(error);
  };
  const loops = [await at("a2"), await at("b2")].map(async (writer) => {
    while (going) {
      await make(writer).catch(fails);
      for (const [id, bytes] of [...made].slice(-50)) {
        try {
          expect(await keyBytes(writer, id)).toBe(bytes);
          reads += 1;
        } catch (error) {
          fails(error);
        }
      }
    }
  });
  return async () => {
    await until("reads", () => reads > 100 || failed.length > 0);
    going = false;
    await Promise.all(loops);
    expect(failed).toEqual([]);
  };
}

test("a rekey moves every record in both regions while clients read and write, past the kill of a leader, and the old key goes", async () => {
  const [first] = await keks();
  const ended = await working();
  const kek = await rekeyed();
  expect(kek).not.toBe(first);
  // The leader, or the other node: one of the two is killed without warning.
  await roots.both.kill("a1");
  await roots.both.node("a1").start();
  await allWell(roots.both);
  await done(kek);
  await ended();
  await until("the older key is removed", async () => (await keks()).join() === kek);
  await patient(() => admin().call("revalidateRoot", { params: { instance } }));
  await allThere(["a1", "b1"]);
  expect((await quarantined()).every((line) => line.endsWith(" 0"))).toBe(true);
  const { keks: last = [] } = await shown();
  await until("seals are counted", async () => {
    const { keks: now = [] } = await shown();
    return (now[0]?.seals ?? 0) >= keysAtFirst || JSON.stringify(last);
  });
});

test("the storage key of each region is rotated while clients read and write, past the kill of a leader", async () => {
  const ended = await working();
  for (const node of ["a2", "b2"]) {
    await patient(() => admin(node).call("rotateStorageKey", {})).catch((error: unknown) => {
      // An answer that was lost was asked for again.
      if (!/a rotation is under way/.test(String(error))) throw error;
    });
  }
  await roots.both.kill("a1");
  await roots.both.node("a1").start();
  await allWell(roots.both);
  for (const node of ["a1", "a2", "b1", "b2"]) {
    await until(`the older storage key has ended at ${node}`, async () => {
      const state = await patient(() => admin(node).call("readStorageKey", {}));
      const { number, rotation } = state;
      return (number === 2 && rotation === "none") || JSON.stringify(state);
    });
  }
  await ended();
  await allThere(["a1", "b1"]);
  expect((await quarantined()).every((line) => line.endsWith(" 0"))).toBe(true);
});

test("regions that are cut apart during a rekey lose nothing, and come to the same bytes", async () => {
  const kek = await rekeyed();
  await roots.both.cut();
  const inA = await at("a2");
  for (let count = 0; count < 10; count += 1) {
    await make(inA).catch(() => undefined);
  }
  await roots.both.heal();
  await allWell(roots.both);
  const inB = await at("b2");
  await answerOf("a key", () => make(inB), isBusy);
  await done(kek);
  await until("the older key is removed", async () => (await keks()).join() === kek);
  await allThere(["a2", "b2"]);
});

test("a region whose root is closed waits and says so, keys are destroyed meanwhile, and it goes on when the root opens", async () => {
  const { b } = roots.managers;
  const rootKey = (await shown()).regions["b"]?.root?.reference?.["rootKey"] ?? "";
  const worker = await at("a2");
  const gone = await answerOf("a key", () => make(worker), isBusy);
  await b.change(rootKey, "disable");
  const closed = async () => {
    const { regions } = await shown("b1");
    return regions["b"]?.root?.state === "disabled" || JSON.stringify(regions["b"]);
  };
  await until("region b's root is disabled", closed);
  const before = await keks();
  await rekeyed();
  const { keks: now = [] } = await shown();
  // What b cannot open does not seal.
  expect(now.map(({ use }) => use)).toEqual(["waits", "seals"]);
  expect(now[1]?.id).toBe(before[0]);
  await answerOf("a key", () => make(worker), isBusy);
  const destroy = async () => {
    // A busy node may have destroyed it, and not said so.
    if ((await stateOf(worker, gone)) === "Destroyed") return;
    await worker.destroy({ uniqueIdentifier: gone });
  };
  await answerOf("it is destroyed", destroy, isBusy);
  made.delete(gone);
  await b.change(rootKey, "enable");
  await done(now[0]?.id ?? "");
  await until("one key is left", async () => (await keks()).join() === now[0]?.id);
  await allThere(["a1", "b1"]);
});
