import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KmipClient } from "@holdfast/client";
import { machine } from "@holdfast/server/machine";
import { allowAdopt } from "@holdfast/server/root-allow-adopt";
import { answerOf, until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdfast, type Said } from "../support/command-line.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { patient, type RootRegions, startRootRegions } from "../support/root-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";

const times = { kekCacheMs: 1_500, graceMs: 5_000, revalidateMs: 1_000, deadlineMs: 5_000 };
const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };

let roots: RootRegions;
let client: Issued;
let instance: string;
const open: KmipClient[] = [];
/** Identifier → bytes of the keys that were acknowledged. */
const made = new Map<string, string>();

beforeAll(async () => {
  roots = await startRootRegions(["declared"], times, 1);
  client = await selfSigned({ commonName: "vCenter", ...day });
});

afterAll(async () => {
  await Promise.all(open.map((one) => one.close()));
  await roots?.[Symbol.asyncDispose]();
});

async function at(node: string): Promise<KmipClient> {
  const { host, kmip } = roots.both.node(node);
  const { certificate, key } = client;
  const connected = await KmipClient.connect({
    endpoints: [`${host}:${kmip}`],
    tls: { ca: roots.both.a.ca, certificate, key },
    version: "1.4",
  });
  open.push(connected);
  return connected;
}

async function makeAt(node: string): Promise<void> {
  const made1 = await at(node);
  const id = await createKey(made1);
  made.set(id, await keyBytes(made1, id));
}

/** What a node answers while a busy machine keeps it from a store, and says before it accepts clients again. */
const withoutStore =
  /store does not answer|not safe yet|other region|connection refused|ECONNRE|closed|in time/;

/** The same, except that a node may be without its store for a moment. */
async function makeUnlessBusy(node: string): Promise<void> {
  try {
    await makeAt(node);
  } catch (error) {
    if (!withoutStore.test(String(error))) throw error;
  }
}

/** Whether that is why a command was refused. */
const isRefused = (text: unknown): boolean =>
  /may not be used now|cannot be asked|does not answer/.test(String(text));

/** Gives a command again while a busy machine keeps it from a store or the other region, as its refusal says. */
async function given(...words: readonly string[]): Promise<Said> {
  const ask = async () => {
    const said = await holdfast(...words);
    if (isRefused(said.err)) throw new Error(said.err);
    return said;
  };
  return await answerOf(words.join(" "), ask, isRefused);
}

/** Expects that every node returns every acknowledged key. */
async function allThere(nodes: readonly string[] = ["a1", "b1"]): Promise<void> {
  for (const node of nodes) {
    const busy = (error: unknown) => withoutStore.test(String(error));
    const asking = await answerOf(`a connection to ${node}`, () => at(node), busy);
    for (const [id, bytes] of made) {
      expect(await answerOf(`key ${id}`, () => keyBytes(asking, id), busy)).toBe(bytes);
    }
  }
}

/** Makes every node open its keys again, with the root keys that wrap them now. */
async function reopened(): Promise<void> {
  await patient(() => roots.admin("b1").call("revalidateRoot", { params: { instance } }));
}

async function report(region: string) {
  const { items } = await patient(() => roots.admin("a1").call("reportRoots", {}));
  return items.find((row) => row.instance === instance && row.region === region);
}

/** Waits until region a's KEKs are wrapped by this root key. */
async function underNew(rootKey: string): Promise<void> {
  await until("its KEK is under the new root", async () => {
    const { root = "", stale } = (await report("a")) ?? {};
    return root.endsWith(rootKey) && stale === 0;
  });
}

test("an order without a usable root key is refused, and names what is missing", async () => {
  const { a, b } = roots.managers;
  const keyOf = (rootKey: string, apiKey: object = { value: a.apiKey }) => ({
    regions: {
      a: { type: "key-protect", instanceId: a.instanceId, rootKey, apiKey },
      b: { type: "local" },
    },
  });
  const order = (rootOfTrust: object) =>
    patient(() =>
      roots.admin("a1").call("createInstance", { body: { name: "tenant", rootOfTrust } as never }),
    );
  const suspended = await a.createRootKey("suspended");
  await a.change(suspended, "disable");
  const standard = await a.createRootKey("standard", { extractable: true });
  const missing = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
  await expect(order(keyOf(missing))).rejects.toMatchObject({ code: "rootKeyMissing" });
  await expect(order(keyOf(suspended))).rejects.toMatchObject({ code: "rootDisabled" });
  await expect(order(keyOf(standard))).rejects.toMatchObject({ status: 422 });
  await expect(order(keyOf(roots.rootKeys.a, { value: "no such key" }))).rejects.toMatchObject({
    code: "rootDenied",
  });
  await expect(order({ regions: { c: { type: "local" } } })).rejects.toMatchObject({
    code: expect.stringMatching(/^(invalid|rootKeyMissing)$/),
  });
  const body = {
    region: "a",
    root: {
      type: "key-protect" as const,
      instanceId: a.instanceId,
      apiKey: { value: a.apiKey },
    },
  };
  const { items } = await patient(() =>
    roots.admin("b1").call<"retrieveRootKeys">("retrieveRootKeys", { body }),
  );
  expect(items.find(({ id }) => id === roots.rootKeys.a)).toMatchObject({ usable: true });
  expect(items.find(({ id }) => id === suspended)?.usable).toBe(false);
  const listed = await patient(() => roots.admin("a1").call("listInstances", { query: {} }));
  expect(listed.items.map(({ name }) => name)).toEqual(["declared"]);
  expect(b.kind).toBe("hpcs");
});

test("an instance under two key managers serves, its API key sealed and never shown", async () => {
  const { a, b } = roots.managers;
  const order = {
    body: {
      name: "tenant",
      rootOfTrust: {
        regions: {
          a: {
            type: "key-protect" as const,
            instanceId: a.instanceId,
            rootKey: await a.createRootKey("of the tenant"),
            apiKey: { value: a.apiKey },
          },
          b: {
            type: "hpcs" as const,
            instanceId: b.instanceId,
            rootKey: await b.createRootKey("of the tenant"),
            apiKey: { file: "hpcs" },
          },
        },
      },
    },
  };
  const ordered = await patient(() =>
    roots.admin("b1").call("createInstance", order, { idempotencyKey: "order-of-the-tenant" }),
  );
  instance = ordered.id;
  await until("it is Installed", async () => {
    const { status } = await patient(() =>
      roots.admin("a1").call("readInstance", { params: { instance } }),
    );
    return status === "Installed";
  });
  const shown = await patient(() => roots.admin("a1").call("readRoot", { params: { instance } }));
  expect(shown.regions["a"]).toMatchObject({ type: "key-protect", state: "usable" });
  expect(shown.regions["b"]).toMatchObject({ type: "hpcs", state: "usable" });
  expect(JSON.stringify(shown)).not.toContain(a.apiKey);
  const { certificate: pem } = client;
  await patient(() =>
    roots.admin("a1").call("addCertificate", {
      params: { instance },
      body: { name: "vcenter", pem },
    }),
  );
  for (const node of ["a1", "b1"]) {
    await until(`${node} lets it in`, async () =>
      makeAt(node).then(
        () => true,
        () => false,
      ),
    );
  }
  await allThere();
  for (const region of roots.both.regions) {
    const { directory } = region.redis.primary;
    const files = (await readdir(directory, { recursive: true, withFileTypes: true })).filter(
      (file) => file.isFile(),
    );
    const all = await Promise.all(
      files.map(({ name, parentPath }) => readFile(join(parentPath, name))),
    );
    expect(all.some((bytes) => bytes.includes(a.instanceId))).toBe(true);
    for (const secret of [a.apiKey, Buffer.from(a.apiKey).toString("base64"), b.apiKey]) {
      expect(all.some((bytes) => bytes.includes(secret))).toBe(false);
    }
    for (const node of region.nodes) expect(node.logText()).not.toContain(a.apiKey);
  }
});

/** A root key in the key manager of region a; the nodes have its API key in a file. */
const under = (rootKey: string) => ({
  type: "key-protect" as const,
  instanceId: roots.managers.a.instanceId,
  rootKey,
  apiKey: { file: "key-protect" },
});

test("an instance is moved online to another root key and another kind, and no key is made again", async () => {
  const { a } = roots.managers;
  const old = (await report("a"))?.root.split("/").at(-1) ?? "";
  const other = await a.createRootKey("the next");
  let moving = true;
  const use = async (node: string): Promise<void> => {
    while (moving) await makeUnlessBusy(node);
  };
  const move = async (): Promise<void> => {
    const moved = await patient(() =>
      roots.admin("b1").call<"configureRoot">("configureRoot", {
        params: { instance },
        body: { regions: { a: under(other) } },
      }),
    );
    // By this call, or by the leader, which re-wraps too: then the move may be under way still.
    expect(moved.rewrapped).toBeLessThanOrEqual(1);
    const { name = "", next } = moved.regions["a"] ?? {};
    expect(next?.name ?? name).toContain(other);
    await underNew(other);
    // The KEK is wrapped under the new root key: the old one is no longer needed.
    await a.change(old, "delete");
    const second = await patient(() =>
      roots.admin("a1").call<"configureRoot">("configureRoot", {
        params: { instance },
        body: { regions: { b: under(other) } },
      }),
    );
    expect(second.regions["b"]?.state).toBe("usable");
  };
  const moves = move().finally(() => {
    moving = false;
  });
  await Promise.all([moves, use("a1"), use("b1")]);
  expect(made.size).toBeGreaterThan(4);
  await reopened();
  await allThere();
  expect((await report("a"))?.stale).toBe(0);
});

test("an instance whose root key is lost for good is moved to another with the other region's copy", async () => {
  const { a, b } = roots.managers;
  // Both regions are under one root key of a now: first b gets its own again.
  const backAgain = await b.createRootKey("back again");
  await patient(() =>
    roots.admin("a1").call<"configureRoot">("configureRoot", {
      params: { instance },
      body: {
        regions: {
          b: {
            type: "hpcs",
            instanceId: b.instanceId,
            rootKey: backAgain,
            apiKey: { file: "hpcs" },
          },
        },
      },
    }),
  );
  const lost = (await report("a"))?.root.split("/").at(-1) ?? "";
  await a.change(lost, "delete");
  await a.change(lost, "purge");
  await reopened();
  const asking = await answered(() => at("a1"));
  const [first = ""] = made.keys();
  await until("a1 says why", async () => {
    const answer = await keyBytes(asking, first).catch(String);
    return answer.includes("its root key is deleted") || answer;
  });
  await allThere(["b1"]);
  const found = await a.createRootKey("found");
  const { configFile } = roots.both.node("b1");
  const name = `key-protect ${a.instanceId}/${lost}`;
  const allowed = await given("root", "allow-adopt", "--lost", name, "--config", configFile);
  expect(allowed).toMatchObject({ code: 0, err: "" });
  const { rewrapped } = await patient(() =>
    roots.admin("a1").call<"configureRoot">("configureRoot", {
      params: { instance },
      body: {
        regions: {
          a: under(found),
        },
      },
    }),
  );
  // By this call, or by the leader, which re-wraps too.
  expect(rewrapped).toBeLessThanOrEqual(1);
  await underNew(found);
  await until("a1 opens it again", async () => {
    const answer = await keyBytes(asking, first).catch(String);
    return answer === made.get(first) || answer;
  });
  await allThere();
});

test("`root adopt` puts keys under another root key after the configuration's one is lost for good", async () => {
  const { a } = roots.managers;
  await using clients = await ClientsOfAll.open(roots.both, "declared");
  const id = await answered(() => createKey(clients.at("b1")));
  const bytes = await answered(() => keyBytes(clients.at("b1"), id));
  const lost = `key-protect ${a.instanceId}/${roots.rootKeys.a}`;
  const next = await a.createRootKey("another");
  const { configFile } = roots.both.node("a1");
  await roots.both.kill("a1");
  await a.change(roots.rootKeys.a, "delete");
  await writeFile(configFile, (await readFile(configFile, "utf8")).replace(roots.rootKeys.a, next));
  const adopt = (name: string) => given("root", "adopt", "--lost", name, "--config", configFile);
  // The key of the region's store is lost too: the store is made anew, and fills itself.
  const refused = await adopt(lost);
  expect(refused.err).toContain("does not open storage key 1");
  await roots.both.a.redis.primary.command("flushall");
  expect(await given("store", "init", "--config", configFile)).toMatchObject({ code: 0 });
  const node = roots.both.node("a1");
  node.launch();
  await until("it has filled itself", async () => {
    if (!node.running) throw new Error(`a1 ended:\n${node.logTail()}`);
    const lines = await node.details().catch((): readonly string[] => []);
    return lines.includes("serving: own store") || `${lines.join()}\n${node.logTail()}`;
  });
  const wrong = await adopt("another one");
  expect(wrong).toMatchObject({
    code: 2,
    err: expect.stringContaining(`there are keys under ${lost}`),
  });
  // The other region gives no key that this one has wrapped, before it is ordered there.
  const early = await adopt(lost);
  expect(early).toMatchObject({
    code: 2,
    err: expect.stringContaining("run `holdfast root allow-adopt` in region b"),
  });
  const other = roots.both.node("b1").configFile;
  // No node would take an order that ends, by its clock, after more than an hour, or is over already.
  for (const aheadMs of [120_000, -120_000]) {
    const clock = { ...machine.clock, wallMs: () => Date.now() + aheadMs };
    const allow = () => allowAdopt(other, { ...machine, clock }, lost);
    await expect(answerOf("a refusal", allow, isRefused)).rejects.toThrow(
      "this machine's clock differs from that of the store by more than 60 s",
    );
  }
  const allowed = await given("root", "allow-adopt", "--lost", lost, "--config", other);
  expect(allowed).toMatchObject({ code: 0, err: "" });
  // Regions that do not see each other at their start, as on a busy machine, each make a first one.
  const [, count] =
    /^region a may get ([12]) key-encryption keys .* for an hour/.exec(allowed.out) ?? [];
  expect(count, allowed.out).toBeDefined();
  const { out, err, code } = await adopt(lost);
  expect({ err, code }).toEqual({ err: "", code: 0 });
  expect(out).toMatch(/^[12] key-encryption keys of region a are under key-protect /);
  await until("a1 opens it", async () =>
    keyBytes(clients.at("a1"), id).then(
      (found) => found === bytes,
      () => false,
    ),
  );
  const again = await adopt(lost);
  expect(again).toMatchObject({ code: 0, err: "" });
  expect(again.out).toMatch(
    new RegExp(`the ${count} key-encryption keys under key-protect .* given to region b again`),
  );
});
