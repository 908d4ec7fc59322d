import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, KmipClient, KmipClientError } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdfast } from "../support/command-line.ts";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { OrderRegions, rootsIn } from "../support/order-roots.ts";
import { patient } from "../support/root-regions.ts";
import { hasSoftHsm } from "../support/softhsm.ts";
import { allWell } from "../support/vitals.ts";

const times = { kekCacheMs: 1_500, graceMs: 60_000, revalidateMs: 1_000, deadlineMs: 10_000 };
const nodes = ["a1", "b1"] as const;
const names = ["finance", "research", "plant"] as const;
/** Made by the load; the instance has more. */
const loadedKeys = 300;

type Kind = "hpcs" | "dedicated-key-protect" | "key-protect" | "pkcs11";

let site: OrderRegions;
let dedicated: KeyManager;
let client: Issued;
const clients = new Map<string, KmipClient>();
/** Identifier → bytes of keys of the first instance, as they were before any move. */
const made = new Map<string, string>();

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const admin = () => site.roots.admin("a1");

beforeAll(async () => {
  dedicated = await startKeyManager({ kind: "dedicated-key-protect" });
  await dedicated.settings({ settleMs: 0, rotationMs: 0 });
  const { host, iamHost, caFile } = dedicated;
  const group = { host, iamHost, ca: caFile, deadlineMs: times.deadlineMs };
  site = await OrderRegions.start(times, 1, { dedicatedKeyProtect: group });
  await site.write("dedicated.key", `${dedicated.apiKey}\n`);
  client = await selfSigned({
    commonName: "vCenter",
    notBeforeMs: Date.now() - 3_600_000,
    days: 2,
  });
  const { options } = await site.rootFor("hpcs");
  await Promise.all(
    names.map((name) => site.done("instance", "order", "--name", name, ...options, "--wait")),
  );
  const params = { instance: names[0] };
  const body = { name: "vcenter", pem: client.certificate };
  await patient(() => admin().call("addCertificate", { params, body }));
  const { configFile } = site.roots.both.node("a1");
  const load = ["--instance", names[0], "--keys", `${loadedKeys}`];
  await until("keys are loaded", async () => {
    const { code, err } = await holdfast("dev", "load", ...load, "--config", configFile);
    return code === 0 || err;
  });
  for (const node of nodes) {
    await until(`${node} lets the client in`, async () => {
      try {
        const id = await createKey(await at(node));
        made.set(id, await keyBytes(await at(node), id));
        return true;
      } catch (error) {
        return error as Error;
      }
    });
  }
  const known = await at("a1");
  const page = { attributes: [], maximumItems: 40 };
  const { uniqueIdentifiers } = await answered(() => known.locate(page));
  for (const id of uniqueIdentifiers) made.set(id, await answered(() => keyBytes(known, id)));
  expect(made.size).toBeGreaterThan(30);
  await allThere();
});

afterAll(async () => {
  await Promise.all([...clients.values()].map((one) => one.close()));
  await site?.[Symbol.asyncDispose]();
  await dedicated?.[Symbol.asyncDispose]();
});

async function at(name: string): Promise<KmipClient> {
  const known = clients.get(name);
  if (known !== undefined) return known;
  const { host, kmip } = site.roots.both.node(name);
  const { certificate, key } = client;
  const opened = await KmipClient.connect({
    endpoints: [`${host}:${kmip}`],
    tls: { ca: site.roots.both.a.ca, certificate, key },
    version: "1.4",
    ...{ connectTimeoutMs: 30_000, requestTimeoutMs: 60_000 },
  });
  clients.set(name, opened);
  return opened;
}

/** Expects that every node returns every known key, unchanged. */
async function allThere(): Promise<void> {
  for (const node of nodes) {
    for (const [id, bytes] of made) {
      await until(`${node} returns ${id}`, async () => {
        try {
          const found = await keyBytes(await at(node), id);
          if (found !== bytes) throw new TypeError(`${id} has other bytes at ${node}`);
          return true;
        } catch (error) {
          if (error instanceof TypeError) throw error;
          return error as Error;
        }
      });
    }
  }
}

/** The options `--root` for new root keys of a kind, and these keys. */
async function newRoots(kind: Kind) {
  if (kind !== "dedicated-key-protect") return await site.rootFor(kind);
  return await rootsIn(dedicated, site.file("dedicated.key"));
}

const move = (...args: readonly string[]) => site.settled("root-of-trust", "move", ...args);

/** The report's rows of the ordered instances. */
async function rows() {
  const { items } = await patient(() => admin().call("reportRoots", {}));
  return items.filter(({ name }) => names.some((one) => one === name));
}

/** Waits until both regions have everything of these instances under this kind, and nothing under another root key. */
async function under(kind: string, of: readonly string[] = names): Promise<void> {
  await until(`all is under ${kind}`, async () => {
    const found = (await rows()).filter(({ name }) => of.includes(name));
    const wrong = found.filter(
      ({ root, stale, versions }) =>
        !root.startsWith(`${kind} `) ||
        stale > 0 ||
        Object.keys(versions).some((label) => label.includes(" ")),
    );
    return found.length === 2 * of.length && (wrong.length === 0 || JSON.stringify(wrong));
  });
}

/** What a node may answer on a busy machine while it is without its store, or while the regions find each other. */
const withoutStore = /store does not answer|not safe yet|other region/;

function isBusy(error: unknown): boolean {
  // A node without its lease refuses connections. An answer that comes late is another fault.
  if (error instanceof ConnectionError) return error.failure !== "timeout";
  return error instanceof KmipClientError && withoutStore.test(String(error));
}

interface Counts {
  gets: number;
  withoutStore: number;
  readonly failed: string[];
}

/** Gets keys at every node until the work is done. Nodes ask the root key again after `kekCacheMs`. */
async function underLoad(work: () => Promise<unknown>): Promise<Counts> {
  const counts: Counts = { gets: 0, withoutStore: 0, failed: [] };
  let going = true;
  const ids = [...made.keys()];
  const loops = nodes.map(async (node) => {
    const asking = await answered(() => at(node));
    for (let nth = 0; going; nth += 1) {
      const id = ids[nth % ids.length] ?? "";
      counts.gets += 1;
      try {
        if ((await keyBytes(asking, id)) !== made.get(id)) counts.failed.push(`${id}: other bytes`);
      } catch (error) {
        if (isBusy(error)) counts.withoutStore += 1;
        else counts.failed.push(`${node}: ${String(error)}`);
      }
      await sleep(5);
    }
  });
  await work().finally(() => {
    going = false;
  });
  await Promise.all(loops);
  return counts;
}

test("HPCS shows its end: in the report, in doctor and as a metric; the report warns that IBM does not know of the use", async () => {
  const said = await site.settled("root-of-trust", "report");
  expect(said.code).toBe(0);
  expect(said.out).toMatch(/^INSTANCE +REGION .* ENDS +ROOT/);
  expect(said.out).toMatch(/finance +a .*2027-03-29T00:00:00Z +hpcs /);
  expect(said.err).toMatch(/hpcs: IBM .* until 28 March 2027/);
  expect(said.err).toMatch(/hpcs: IBM does not know that Holdfast uses the root key/);
  expect(said.err).toMatch(/key-protect: IBM does not know/);
  const checks = await patient(() => admin().call("runChecks", {}));
  const [ending] = checks.items.filter(({ detail }) => detail.includes("Hyper Protect"));
  expect(ending?.detail).toMatch(/; (\d+ days are left|1 day is left|it has ended)\. Under it: /);
  expect(ending?.detail).toContain("finance (a)");
  const endS = Date.UTC(2027, 2, 29) / 1_000;
  for (const node of nodes) {
    await until(`${node} has the metric`, async () => {
      const text = await site.roots.both.node(node).metrics();
      const line = /^holdfast_root_end_timestamp_seconds\{kind="hpcs",.*\} (\S+)$/m.exec(text);
      return Number(line?.[1]) === endS || String(line);
    });
  }
});

describe("root-of-trust move", () => {
  test("refuses what it cannot mean, before it asks a key manager", async () => {
    const { options } = await newRoots("key-protect");
    const refused = async (wanted: RegExp, ...args: readonly string[]) => {
      const { code, err, out } = await move(...args);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(err).toMatch(wanted);
    };
    await refused(/give either instances or --all/, ...options);
    await refused(/give either instances or --all/, "finance", "--all", ...options);
    await refused(/--all: give --from too/, "--all", ...options);
    await refused(
      /--at-once 0: give a number from 1 to 32/,
      "finance",
      "--at-once",
      "0",
      ...options,
    );
    await refused(/nobody: instance not found/, "nobody", ...options);
    await refused(/unknown region; known are a, b/, "finance", "--root", "c:local");
    await refused(
      /--from hpsc: no instance is under it in a, b, .*; there are hpcs; hpcs /,
      "--all",
      "--from",
      "hpsc",
      ...options,
    );
    await refused(
      /--approval: an approval is for one instance/,
      "--all",
      "--from",
      "hpcs",
      "--approval",
      "x",
      ...options,
    );
    await under("hpcs");
  });

  test("changes nothing with --dry-run, and names what only the configuration moves", async () => {
    const { options } = await newRoots("dedicated-key-protect");
    const { code, out } = await move("--all", "--from", "hpcs", ...options, "--dry-run");
    expect(code).toBe(0);
    for (const name of names)
      expect(out).toMatch(new RegExp(`^would move: ${name} \\(a: hpcs .* → `, "m"));
    expect(out).toMatch(/^not moved: declared \(b: hpcs .*: is set in the configuration/m);
    expect(out).toContain("3 instances would be moved; nothing was changed");
    await under("hpcs");
  });

  test("says which instances failed and why, with that refusal's exit code, and a second run continues", async () => {
    const { options, keys } = await newRoots("dedicated-key-protect");
    await dedicated.change(keys.b, "disable");
    const failed = await move("--all", "--from", "hpcs", "--at-once", "2", ...options);
    expect(failed.code).toBe(2);
    expect(failed.out.match(/^failed: /gm)).toHaveLength(3);
    expect(failed.err).toMatch(
      /3 instances were not moved; failed: .*finance.* the root key is Suspended/,
    );
    await under("hpcs");
    await dedicated.change(keys.b, "enable");
    const one = await move("research", ...options);
    expect(one).toMatchObject({ code: 0, err: "" });
    await under("dedicated-key-protect", ["research"]);
    const rest = await move("--all", "--from", "hpcs", ...options);
    expect(rest).toMatchObject({ code: 0, err: "" });
    expect(rest.out.match(/^done: /gm)).toHaveLength(2);
    await under("dedicated-key-protect");
    const again = await move("--all", "--from", "hpcs", ...options);
    expect(again.code).toBe(0);
    expect(again.out).toContain("0 instances were moved");
    await allThere();
  });

  const kinds: readonly Kind[] = hasSoftHsm()
    ? ["key-protect", "pkcs11", "dedicated-key-protect", "hpcs", "key-protect", "hpcs"]
    : ["key-protect", "dedicated-key-protect", "hpcs", "key-protect", "hpcs"];
  test(`moves to every kind and back under load, without a failed Get${hasSoftHsm() ? "" : " (PKCS#11 needs softhsm2)"}`, async () => {
    let from: Kind = "dedicated-key-protect";
    for (const to of kinds) {
      const { options } = await newRoots(to);
      const startedMs = performance.now();
      const counts = await underLoad(async () => {
        const said = await move("--all", "--from", from, ...options);
        expect(said).toMatchObject({ code: 0, err: "" });
      });
      const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
      await under(to);
      say(
        `    ${from} → ${to}: ${names.length} instances in ${seconds} s; ${counts.gets} Gets, ${counts.failed.length} failed, ${counts.withoutStore} found their node without its store`,
      );
      expect(counts.failed).toEqual([]);
      expect(counts.gets).toBeGreaterThan(10);
      for (const instance of names) {
        await patient(() => admin().call("revalidateRoot", { params: { instance } }));
      }
      await allThere();
      from = to;
    }
  });
});

/** How many moves of an instance were ordered, by the trail. */
async function orders(instance: string): Promise<number> {
  const { items } = await patient(() =>
    admin().call("listEvents", { query: { instance, limit: 1000 } }),
  );
  return items.filter(
    ({ action, outcome }) => outcome === "success" && action.endsWith("kmip-root-key.set"),
  ).length;
}

/** After how many calls all nodes are killed; at the first ones again where a busy machine has let them pass before. */
function* killSteps(isEnough: () => boolean): Generator<number> {
  yield* [2, 6, 10, 12, 14, 18];
  for (let again = 0; again < 10 && !isEnough(); again += 1) yield 2;
}

test("a move during which every node is killed, at any step, is completed or was never ordered", async () => {
  const [name] = names;
  const { id } = await patient(() => admin().call("readInstance", { params: { instance: name } }));
  const outcomes = new Set<string>();
  // Each call of the new key manager is a step; with this delay, one is seen before the next begins.
  const stepMs = 150;
  let from: Kind = "hpcs";
  for (const step of killSteps(() => outcomes.has("never ordered"))) {
    const to: Kind = from === "hpcs" ? "dedicated-key-protect" : "hpcs";
    const manager = to === "hpcs" ? site.roots.managers.b : dedicated;
    const { options } = await newRoots(to);
    const before = await orders(id);
    await manager.switch({ delayMs: stepMs });
    await manager.calls({ reset: true });
    const ended = new AbortController();
    const moving = site.run(["root-of-trust", "move", name, ...options], { signal: ended.signal });
    let over = false;
    void moving.finally(() => {
      over = true;
    });
    await until(`step ${step}`, async () => {
      const { calls } = await manager.calls();
      return over || calls.length >= step || `${calls.length} calls`;
    });
    await Promise.all(site.roots.both.nodes.map((node) => node.kill()));
    ended.abort();
    await moving;
    await manager.heal();
    await Promise.all(site.roots.both.nodes.map((node) => node.start()));
    await allWell(site.roots.both);
    const ordered = (await orders(id)) > before;
    await under(ordered ? to : from, [name]);
    outcomes.add(ordered ? "completed" : "never ordered");
    say(
      `    killed after ${step} calls of the new key manager: ${ordered ? "completed" : "never ordered"}`,
    );
    await allThere();
    if (ordered) from = to;
  }
  expect([...outcomes].toSorted()).toEqual(["completed", "never ordered"]);
});
