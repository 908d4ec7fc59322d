import { setTimeout as sleep } from "node:timers/promises";
import { answerOf, until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { holdfast } from "../support/command-line.ts";
import { answered, createKey, isBusy, look } from "../support/keys.ts";
import { patient, type RootRegions, startRootRegions } from "../support/root-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";

/** A busy machine must not use up the grace time before a test has looked at it. */
const times = { kekCacheMs: 1_500, graceMs: 20_000, revalidateMs: 1_000, deadlineMs: 1_000 };
const instance = "tenant";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

let roots: RootRegions;
let clients: ClientsOfAll;
/** A key that was made before any fault. */
let key: string;

beforeAll(async () => {
  roots = await startRootRegions([instance], times);
  clients = await ClientsOfAll.open(roots.both, instance);
  key = await answered(() => createKey(clients.at("a1")));
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await roots?.[Symbol.asyncDispose]();
});

/** A node's answer to a Get of a key: `Success`, or the reason. */
async function get(node: string, id = key): Promise<string> {
  const { key: answer } = await look(clients.at(node), id);
  return answer.status === "Success" ? "Success" : (answer.reason ?? "none");
}

/** The same, asked again while a busy machine keeps the node from its store. */
function settledGet(node: string): Promise<string> {
  const ask = async () => {
    const { key: answer } = await look(clients.at(node), key);
    const { status, reason = "none", message = "" } = answer;
    if (withoutStore.test(message)) throw new Error(message);
    return status === "Success" ? status : reason;
  };
  const passes = (error: unknown) => isBusy(error) || withoutStore.test(String(error));
  return answerOf(`an answer of ${node}`, ask, passes);
}

const withoutStore = /store does not answer|not safe yet|other region/;

async function eachAnswers(nodes: readonly string[], answer: string, id = key): Promise<void> {
  for (const node of nodes) {
    await until(`${node} answers ${answer}`, async () => {
      // A busy node may be late, or not serve for a moment.
      const found = await get(node, id).catch(String);
      return found === answer || found;
    });
  }
}

/** What a node may answer if it loses its store or the other region for a moment; throws any other error. */
async function ofBusyNode(error: unknown): Promise<undefined> {
  if (!isBusy(error)) throw error;
  await sleep(50);
}

/** The region's state as its leader wrote it, read at a node of either region. */
async function stateOf(region: string, node = "b1"): Promise<string | undefined> {
  const { regions } = await roots.admin(node).call("readRoot", { params: { instance } });
  return regions[region]?.state;
}

async function stateIs(region: string, state: string): Promise<void> {
  await until(`region ${region} is ${state}`, async () => {
    const found = await patient(() => stateOf(region));
    return found === state || String(found);
  });
}

async function metric(node: string, row: string): Promise<number> {
  const text = await roots.both.node(node).metrics();
  const line = text.split("\n").find((one) => one.startsWith(`${row} `));
  return line === undefined ? Number.NaN : Number(line.slice(row.length + 1));
}

const nodesOf = { a: ["a1", "a2"], b: ["b1", "b2"] } as const;
const all = [...nodesOf.a, ...nodesOf.b];

describe("a key manager that cannot be reached", () => {
  test("does not stop service within the grace time, which is shown; then service stops, and comes back by itself", async () => {
    await eachAnswers(all, "Success");
    await stateIs("a", "usable");
    await roots.managers.a.kill();
    const startedMs = performance.now();
    const answers = new Set<string>();
    // For longer than open keys are used without an answer from the key manager.
    while (performance.now() - startedMs < 2 * times.kekCacheMs) {
      for (const node of nodesOf.a) answers.add(await settledGet(node));
      await sleep(20);
    }
    expect([...answers]).toEqual(["Success"]);
    await stateIs("a", "unreachable");
    const { regions } = await patient(() =>
      roots.admin("b1").call("readRoot", { params: { instance } }),
    );
    expect(regions["a"]?.graceUntil).toBeDefined();
    expect(regions["a"]?.reason).toContain("open keys are used until");
    // A node finds out by itself: another one may have told the API.
    await until("a1 to use keys in their grace time", async () => {
      return (await metric("a1", 'holdfast_instance_keys{state="grace"}')) === 1;
    });
    expect(await metric("a1", "holdfast_root_grace_left_seconds")).toBeGreaterThan(0);
    for (const node of nodesOf.a) {
      await until(
        `${node} ends its grace`,
        async () => (await get(node).catch(() => "shut")) !== "Success",
      );
    }
    await eachAnswers(nodesOf.b, "Success");
    await roots.managers.a.start();
    await eachAnswers(all, "Success");
    await stateIs("a", "usable");
  });

  test("because it hangs stops no Get within the grace time", async () => {
    await roots.managers.a.switch({ hang: true });
    const startedMs = performance.now();
    let slowestMs = 0;
    while (performance.now() - startedMs < times.kekCacheMs + 1_000) {
      const askedMs = performance.now();
      expect(await settledGet("a1")).toBe("Success");
      slowestMs = Math.max(slowestMs, performance.now() - askedMs);
      await sleep(10);
    }
    say(`    slowest Get while the key manager hangs: ${Math.round(slowestMs)} ms`);
    await roots.managers.a.heal();
    await stateIs("a", "usable");
  });
});

test("a node that starts without its key manager serves from the other region's store, and from its own once that answers", async () => {
  const node = roots.both.node("a1");
  const line = async (part: string) =>
    (await node.details().catch(() => [])).find((one) => one.startsWith(`${part}: `)) ?? "none";
  await roots.managers.a.kill();
  await node.kill();
  node.launch();
  await until("a1 says what is missing", async () =>
    (await line("storage key")).startsWith(
      "storage key: no (the root of trust does not open storage key 1 (unavailable: ",
    ),
  );
  await until("a1 uses the other store", async () =>
    (await line("serving")).startsWith("serving: the other region's store"),
  );
  // Gauges are shown once the node is complete.
  await until(
    "its metric says so",
    async () =>
      (await metric("a1", 'holdfast_part_ok{part="storageKey"}').catch(() => undefined)) === 0,
  );
  expect(node.logText()).toContain("the root of trust does not open the storage key");
  // The audit trail has no MAC: it can be read without the storage key. A record cannot be written without it.
  await until("the trail is verified", async () => {
    const { out, err, code } = await holdfast("audit", "verify", "--config", node.configFile);
    const isWhole = /^store [0-9a-f]{32}: [1-9]\d* entries, .* whole\n$/.test(out);
    return (code === 0 && isWhole) || `${code}: ${out}${err}`;
  });
  const retire = ["region", "retire", "b", "--endpoints-are-off", "b"];
  await until("retire is refused", async () => {
    const { err, code } = await holdfast(...retire, "--config", node.configFile);
    expect(code).toBe(3);
    const reason =
      /^holdfast: rootOfTrust: the root of trust does not open storage key 1 \(unavailable: .*\); start the key manager, or correct its access\n$/;
    return reason.test(err) || err;
  });
  await roots.managers.a.start();
  await until(
    "a1 uses its own store",
    async () => (await line("serving")) === "serving: own store",
  );
  await until("its storage key", async () => (await line("storage key")) === "storage key: ok");
  await eachAnswers(all, "Success");
  await stateIs("a", "usable");
});

describe("a root key that is refused", () => {
  test.each([
    ["disabled", "enable"],
    ["denied", undefined],
  ] as const)(
    "(%s) makes its region answer Permission Denied; the other continues, and service comes back",
    async (state, back) => {
      const { a } = roots.managers;
      if (state === "disabled") await a.change(roots.rootKeys.a, "disable");
      else await a.switch({ status: 401 });
      await eachAnswers(nodesOf.a, "PermissionDenied");
      await stateIs("a", state);
      await eachAnswers(nodesOf.b, "Success");
      await stateIs("b", "usable");
      if (back === "enable") await a.change(roots.rootKeys.a, "enable");
      else await a.heal();
      await eachAnswers(all, "Success");
      await stateIs("a", "usable");
    },
  );

  test("because it is deleted makes every node of its region refuse at once after revalidate", async () => {
    const { a } = roots.managers;
    await a.change(roots.rootKeys.a, "delete");
    const { regions } = await patient(() =>
      roots.admin("b1").call("revalidateRoot", { params: { instance } }),
    );
    const askedMs = performance.now();
    expect(regions["a"]?.state).toBe("gone");
    expect(regions["b"]?.state).toBe("usable");
    await eachAnswers(nodesOf.a, "PermissionDenied");
    say(`    every node refuses ${Math.round(performance.now() - askedMs)} ms after revalidate`);
    await eachAnswers(nodesOf.b, "Success");
    await a.change(roots.rootKeys.a, "restore");
    await eachAnswers(all, "Success");
  });
});

describe("an operator's command", () => {
  test("to shred makes both regions refuse at once, until revalidate", async () => {
    const shred = { params: { instance }, body: { name: instance } };
    const { regions } = await patient(() => roots.admin("a2").call("shredInstance", shred));
    expect(regions).toEqual({ a: "shredded", b: "shredded" });
    await eachAnswers(all, "PermissionDenied");
    await stateIs("b", "shredded");
    await patient(() => roots.admin("b2").call("revalidateRoot", { params: { instance } }));
    await eachAnswers(all, "Success");
  });

  test("to rotate, while keys are made, re-wraps all KEKs, and nothing is lost", async () => {
    const { a, b } = roots.managers;
    const made: string[] = [];
    let rotating = true;
    const making = all.map(async (node) => {
      while (rotating) {
        const id = await createKey(clients.at(node)).catch(ofBusyNode);
        if (id !== undefined) made.push(id);
      }
    });
    const versionsNow = async () => {
      const { items } = await patient(() => roots.admin("a1").call("reportRoots", {}));
      return items.map(({ currentVersion }) => currentVersion);
    };
    const before = await versionsNow();
    await a.change(roots.rootKeys.a, "rotate");
    await b.change(roots.rootKeys.b, "rotate");
    await until("every KEK is under the new version", async () => {
      const { items } = await patient(() => roots.admin("a1").call("reportRoots", {}));
      return items.every(
        ({ stale, currentVersion, versions }) =>
          stale === 0 &&
          !before.includes(currentVersion) &&
          Object.keys(versions).join() === currentVersion,
      );
    });
    const { rewrapped, items } = await patient(() =>
      roots.admin("b1").call("rewrapRoot", { params: { instance } }),
    );
    expect(rewrapped).toBe(0);
    expect(items.map(({ region, stale }) => [region, stale])).toEqual(
      expect.arrayContaining([
        ["a", 0],
        ["b", 0],
      ]),
    );
    await until("keys are made", () => made.length > 20);
    rotating = false;
    await Promise.all(making);
    for (const id of [made[0], made.at(-1), key]) await eachAnswers(all, "Success", id);
  });
});
