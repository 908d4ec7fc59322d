import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { machine } from "../../packages/server/src/base/system.ts";
import { acceptStore } from "../../packages/server/src/store/accept-store.ts";
import { holdfast } from "../support/command-line.ts";
import { createKey, keyBytes } from "../support/keys.ts";
import type { RegionName, TwoRegions } from "../support/two-regions.ts";
import { type ClientsOfAll, insist, startWithClients } from "../support/two-regions-clients.ts";
import { allWell, vitalsOf } from "../support/vitals.ts";

const instance = "vcenter";
const refused = /older than this node remembers/;

let both: TwoRegions;
let clients: ClientsOfAll;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-doubted-"));
  const shape = { instances: [instance], nodes: 1, replicas: 0, memory: true };
  ({ both, clients } = await startWithClients(shape));
});

afterAll(async () => {
  await clients?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(() => allWell(both));

const nodeOf = (region: RegionName) => both.node(`${region}1`);
const clientOf = (region: RegionName) => clients.at(`${region}1`);
const configOf = (region: RegionName) => nodeOf(region).configFile;
const redisOf = (region: RegionName) => both.region(region).redis.primary;
const accept = (region: RegionName, ...more: readonly string[]) =>
  holdfast("store", "accept", "--config", configOf(region), ...more);

/** Whether a node takes its store for the newest that it knows. */
async function isNewest(region: RegionName): Promise<boolean> {
  return /holdfast_part_ok\{.*part="storeNewest".*\} 1\n/.test(await nodeOf(region).metrics());
}

async function copyData(region: RegionName): Promise<void> {
  await rm(join(folder, region), { recursive: true, force: true });
  const data = join(redisOf(region).directory, "appendonlydir");
  await cp(data, join(folder, region), { recursive: true });
}

/** Puts the copy back, as somebody does who has the files of Redis. */
async function putBack(region: RegionName): Promise<void> {
  const redis = redisOf(region);
  await redis.kill();
  const data = join(redis.directory, "appendonlydir");
  await rm(data, { recursive: true });
  await cp(join(folder, region), data, { recursive: true });
  await redis.restart();
}

const doubted = (region: RegionName) =>
  until(`${region} doubts`, async () => !(await isNewest(region)));
const trusts = (region: RegionName) => until(`${region} trusts`, () => isNewest(region), 120_000);
const create = (client: KmipClient) => {
  let id = "";
  return insist(async () => {
    id = await createKey(client);
  }).then(() => id);
};

/** Waits until the file of a region's node has what was written, and up to which number it was covered. */
async function learned(region: RegionName): Promise<void> {
  const file = join(both.region(region).folder, `${region}1.memory`);
  // The round that writes the first one may have read the numbers before.
  for (let rounds = 0; rounds < 2; rounds += 1) {
    const before = await readFile(file);
    await create(clientOf(region));
    await until("a round", async () => !before.equals(await readFile(file)));
  }
}

test("an old copy that is put back while nodes run: the other region serves, and fills the store", async () => {
  await copyData("a");
  const id = await create(clientOf("a"));
  const bytes = await keyBytes(clientOf("a"), id);
  await learned("a");
  await putBack("a");
  await doubted("a");
  expect(await keyBytes(clientOf("a"), id)).toBe(bytes);
  await create(clientOf("a"));
  await trusts("a");
  await allWell(both);
  expect(await keyBytes(clientOf("a"), id)).toBe(bytes);
  expect(await vitalsOf(nodeOf("a"))).toMatchObject({ from: "local" });
});

test("in a cut, after all nodes were down: only what is remembered is read, until an operator accepts the store", async () => {
  const [kept, gone] = [await create(clientOf("a")), await create(clientOf("a"))];
  const bytes = await keyBytes(clientOf("a"), gone);
  await learned("a");
  await both.cut();
  try {
    await copyData("a");
    const added = await create(clientOf("a"));
    await learned("a");
    await nodeOf("a").stop();
    await putBack("a");
    await nodeOf("a").start();
    await doubted("a");
    const client = clientOf("a");
    await insist(async () => expect(await keyBytes(client, kept)).toBeDefined());
    expect(await keyBytes(client, gone)).toBe(bytes);
    await expect(createKey(client)).rejects.toThrow(refused);
    await expect(client.activate({ uniqueIdentifier: kept })).rejects.toThrow(refused);
    await expect(client.locate({})).rejects.toThrow(refused);
    await expect(keyBytes(client, added)).rejects.toThrow(/cannot tell/);
    // Without a confirmation nothing is accepted.
    expect(await accept("a")).toMatchObject({ code: 2, err: expect.stringContaining("--yes") });
    const say = () => undefined;
    const confirm = () => Promise.reject(new Error("not a: nothing was accepted"));
    await expect(acceptStore(configOf("a"), machine, { say, confirm })).rejects.toThrow("not a");
    expect(await isNewest("a")).toBe(false);
    // One record after the other, until nothing is missing; then the doubt ends.
    const { err } = await accept("a");
    const ids = /among them: (.*)/.exec(err)?.[1]?.split(", ") ?? [];
    expect(ids).toContain(added);
    for (const id of ids) {
      expect(await accept("a", "--record", id, "--yes")).toMatchObject({ code: 0 });
    }
    await insist(async () => expect(await isNewest("a")).toBe(true));
    await create(client);
    await nodeOf("a").stop();
    await nodeOf("a").start();
    await create(client);
    expect(await isNewest("a")).toBe(true);
  } finally {
    await both.heal();
  }
});

test("both regions put back: each is accepted as a whole, also after a restart", async () => {
  const regions = ["a", "b"] as const;
  await Promise.all(regions.map(copyData));
  const id = await create(clientOf("a"));
  await Promise.all(regions.map(learned));
  await Promise.all(regions.map((region) => nodeOf(region).stop()));
  await Promise.all(regions.map(putBack));
  await Promise.all(regions.map((region) => nodeOf(region).start()));
  await Promise.all(regions.map(doubted));
  await until("nothing is changed", async () => {
    const failure: unknown = await createKey(clientOf("a")).catch((error: unknown) => error);
    return refused.test(String(failure));
  });
  for (const region of regions) {
    expect(await accept(region, "--yes")).toMatchObject({ code: 0 });
    await trusts(region);
  }
  await allWell(both);
  await create(clientOf("a"));
  await expect(keyBytes(clientOf("a"), id)).rejects.toThrow();
  await nodeOf("a").stop();
  await nodeOf("a").start();
  await allWell(both);
  expect(await isNewest("a")).toBe(true);
  expect((await accept("a", "--yes")).out).toContain("nothing to do");
});
