import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AdminClient, AdminProblem } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken } from "../support/admin-api.ts";
import { commandLine, settled } from "../support/command-line.ts";
import { createKey } from "../support/keys.ts";
import { patient } from "../support/root-regions.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { ClientsOfAll, insist } from "../support/two-regions-clients.ts";
import { allWell, caughtUp, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";

const stack = new AsyncDisposableStack();
let both: TwoRegions;
let clients: ClientsOfAll;
let folder: string;
const admins = new Map<string, AdminClient>();

beforeAll(async () => {
  both = stack.use(
    await startTwoRegions({ instances: [instance], nodes: 1, replicas: 0, admin: true }),
  );
  await allWell(both);
  clients = stack.use(await ClientsOfAll.open(both, instance));
  folder = await mkdtemp(join(tmpdir(), "holdfast-events-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { ca } = both.a;
  const token = await firstToken({ node: both.node("a1"), ca });
  await writeFile(join(folder, "ca.pem"), ca);
  await writeFile(join(folder, "token"), `${token}\n`, { mode: 0o600 });
  for (const node of both.nodes) {
    admins.set(node.name, stack.use(adminClient({ node, ca }, token)));
  }
});

afterAll(() => stack.disposeAsync());

function admin(node: string): AdminClient {
  return admins.get(node) as AdminClient;
}

/**
 * Makes a key in the node's own region: a node that just lost its store makes it in the other one, and one that lost the
 * other region answers "cannot tell" for a moment.
 */
async function keyAt(node: string): Promise<string> {
  let id = "";
  await insist(async () => {
    const before = await changesOfServing(node);
    id = await createKey(clients.at(node));
    expect(await changesOfServing(node)).toBe(before);
  });
  return id;
}

/** How often the node changed the store that it serves from; it must be its own now. */
async function changesOfServing(name: string): Promise<number> {
  const { from, servingChanges } = await vitalsOf(both.node(name));
  expect(from).toBe("local");
  return servingChanges;
}

/** Runs the command line at one node. */
function at(node: string, ...args: readonly string[]) {
  const { host, admin: port } = both.node(node);
  const site = ["--url", `https://${host}:${port}`, "--ca", join(folder, "ca.pem")];
  return settled(() => commandLine([...args, ...site, "--token-file", join(folder, "token")]));
}

const events = (node: string, query: object) =>
  admin(node).call<"listEvents">("listEvents", { query: { limit: 100, ...query } });

/** All events that a node lists, in small pages; again while it lists only its own region's for a moment. */
async function listedAt(node: string, query: Readonly<Record<string, string>>) {
  let all: { readonly id?: unknown; readonly eventTime: string }[] = [];
  await until(`${node} lists both regions' events`, async () => {
    all = [];
    for (let cursor: string | undefined; ; ) {
      const page = await patient(() => events(node, { ...query, limit: 3, cursor }));
      if ((page.missing ?? []).length > 0) return JSON.stringify(page.missing);
      all.push(...page.items);
      cursor = page.next;
      if (cursor === undefined) return true;
    }
  });
  return all;
}

/** The events of a key as a node lists them, and the regions that are missing in the list. */
async function toldOf(node: string, target: string) {
  const { items, missing = [] } = await events(node, { target });
  const done = items
    .filter(({ outcome }) => outcome === "success")
    .map(({ action, region }) => `${action.replace("vmware-solutions.", "")} ${region}`);
  return { done, missing: missing.map(({ region }) => region) };
}

/** Waits until a node gives this answer; it asks again while regions lose and find each other. */
async function eventually<Answer>(what: string, ask: () => Promise<Answer>, wanted: Answer) {
  await until(what, async () => {
    const answer = await ask().catch((error: unknown) => {
      if (!(error instanceof AdminProblem)) throw error;
      return error.code;
    });
    const text = JSON.stringify(answer);
    return text === JSON.stringify(wanted) || text;
  });
}

test("a key that was made in one region has its events and its history at the other's node", async () => {
  for (const [made, asked] of [
    ["b1", "a1"],
    ["a1", "b1"],
  ] as const) {
    const region = made.slice(0, 1);
    const id = await keyAt(made);
    await caughtUp(both);
    const wanted = { done: [`kmip-key.create ${region}`], missing: [] };
    await eventually(`${asked} tells`, () => toldOf(asked, id), wanted);
    // A region that is missing for a moment is named in standard error.
    await until("the command lists it", async () => {
      const { code, out, err } = await at(asked, "events", "--target", id, "--wide");
      expect(code, err).toBe(0);
      expect(out + err).not.toBe("");
      return (err === "" && out.includes("kmip-key.create")) || `${out}${err}`;
    });
    await eventually(`${asked} shows who made it`, async () => {
      const { history } = await admin(asked).call("readKey", {
        params: { instance, key: id },
        query: {},
      });
      return history.map(({ what, region: where, by }) => [what, where, by?.length]);
    }, [["created", region, 64]]);
    const only = await patient(() => events(asked, { target: id, region }));
    expect(only.items.length).toBeGreaterThan(0);
    const other = region === "a" ? "b" : "a";
    const others = await patient(() => events(asked, { target: id, region: other }));
    expect(others.items).toEqual([]);
  }
});

test("the pages of either node have all events of both regions, each once, in order", async () => {
  for (let count = 0; count < 4; count += 1) {
    for (const node of ["a1", "b1"]) await keyAt(node);
  }
  const to = new Date().toISOString();
  const query = { action: "kmip-key.create", outcome: "success", to } as const;
  const all: string[][] = [];
  for (const node of ["a1", "b1"]) {
    const found = await listedAt(node, query);
    const times = found.map(({ eventTime }) => eventTime);
    const ids = found.map(({ id }) => String(id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(times).toEqual(times.toSorted().toReversed());
    all.push(ids.toSorted());
  }
  expect(all[0]?.length).toBeGreaterThanOrEqual(8);
  expect(all[1]).toEqual(all[0]);
});

test("during a cut a node lists its own region's events and names the missing region; after it lists and streams all", async () => {
  using stopping = new DisposableStack();
  const ending = new AbortController();
  stopping.defer(() => ending.abort());
  const seen: string[] = [];
  const following = (async () => {
    const stream = admin("a1").follow("followEvents", { query: {} }, ending.signal);
    for await (const { target } of stream as AsyncIterable<{ target: { name: string } }>) {
      seen.push(target.name);
    }
  })();
  following.catch(() => undefined);
  // The stream has only new events, and begins a moment after the request.
  const made: string[] = [];
  const hasOne = async () => {
    made.push(await keyAt("b1"));
    return seen.some((name) => made.includes(name));
  };
  await until("the stream has region b's", hasOne);
  await both.cut();
  let inA = "";
  let inB = "";
  try {
    inA = await keyAt("a1");
    inB = await keyAt("b1");
    await eventually("its own", () => toldOf("a1", inA), {
      done: ["kmip-key.create a"],
      missing: ["b"],
    });
    await eventually("nothing of b's", () => toldOf("a1", inB), { done: [], missing: ["b"] });
    const listed = await at("a1", "events", "--target", inA);
    expect(listed.code).toBe(0);
    expect(listed.out).toMatch(/kmip-key\.create/);
    expect(listed.err).toMatch(/^holdfast: the events of region b are missing: .+\n$/);
    const refused = events("a1", { region: "b" });
    await expect(refused).rejects.toMatchObject({ code: "storeUnavailable" });
    await expect(refused).rejects.toThrow(/region b/);
    await until("the stream has its own", async () => seen.includes(inA));
    expect(seen).not.toContain(inB);
  } finally {
    await both.heal();
  }
  const whole = { done: ["kmip-key.create b"], missing: [] };
  await eventually("all again", () => toldOf("a1", inB), whole);
  await until("the stream has what was missing", async () => seen.includes(inB));
  ending.abort();
  await following;
});
