import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdfast, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes, stateOf } from "../support/keys.ts";
import { clientOf } from "../support/load.ts";
import { openStoreOf } from "../support/node-root.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { insist } from "../support/two-regions-clients.ts";
import { allWell, caughtUp } from "../support/vitals.ts";

const instance = "vcenter";
let folder: string;
let both: TwoRegions;
let client: KmipClient;
/** A backup, made before `gone` was destroyed. */
const made = { file: "", kept: "", gone: "", bytes: "" };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-two-"));
  both = await startTwoRegions({
    instances: [instance],
    nodes: 1,
    replicas: 0,
    settings: { backup: { keyFile: join(folder, "key.json") } },
  });
  await allWell(both);
  client = await answered(() => clientOf(both.a, instance, 0));
});

afterAll(async () => {
  await client?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function backup(verb: string, ...more: readonly string[]) {
  const config = both.node("a1").configFile;
  return settled(() => holdfast("backup", ...verb.split(" "), ...more, "--config", config));
}

/** An object's state in the store of region a alone, whatever the other region knows. */
async function inStoreA(id: string) {
  await using opened = await openStoreOf(both.a);
  const all = await Promise.all(
    Array.from({ length: 64 }, (_, partition) => opened.store.records(partition, [id])),
  );
  return all.flatMap(({ objects }) => objects)[0];
}

test("an empty store takes from a backup only objects that the other region has no newer state of", async () => {
  expect((await backup("key init")).code).toBe(0);
  const make = () => answered(() => createKey(client));
  const [kept, gone] = [await make(), await make()];
  await caughtUp(both);
  const file = join(folder, "one");
  Object.assign(made, { file, kept, gone, bytes: await answered(() => keyBytes(client, kept)) });
  expect(await backup("create", file)).toMatchObject({ code: 0, err: "" });
  // Both regions destroy it; then one of them loses its disk.
  await destroyed(client, gone);
  await both.kill("a");
  const { primary } = both.a.redis;
  await primary.restart({ empty: true });
  await Promise.all(both.a.lockMasters.map((one) => one.restart()));
  const config = both.node("a1").configFile;
  expect((await settled(() => holdfast("store", "init", "--config", config))).code).toBe(0);
  const restored = await backup("restore", file, "--apply");
  expect(restored).toMatchObject({ code: 0, err: "" });
  expect(restored.out).toMatch(/1 records of all were destroyed since/);
  const [one, other] = [await inStoreA(kept), await inStoreA(gone)];
  expect(one?.material).toBeDefined();
  expect(other?.facts.destroyed).toBeDefined();
  expect(other?.material).toBeUndefined();

  // A region that cannot be asked may know more: then nothing is restored.
  await both.kill("b");
  await waits(file);
});

/** Expects that nothing is restored, because region b may know more; on a busy machine the own store may be why, too. */
async function waits(file: string): Promise<void> {
  const config = both.node("a1").configFile;
  await until("region b is why it is refused", async () => {
    const said = await holdfast("backup", "restore", file, "--apply", "--config", config);
    expect(said).toMatchObject({ code: 3, out: "" });
    const why = /region b does not answer, and may know of objects that were destroyed/;
    return why.test(said.err) || said.err;
  });
}

/** Destroys an object; on a busy machine it may be done although the node could not say so. */
async function destroyed(at: KmipClient, id: string): Promise<void> {
  await until("it is destroyed", async () => {
    const error = await at.destroy({ uniqueIdentifier: id }).catch((thrown: unknown) => thrown);
    if (!(error instanceof Error)) return true;
    return (await answered(() => stateOf(at, id))) === "Destroyed" || error;
  });
}

/** A region's Redis, started with empty disks and marked as a new store. */
async function emptyStore(region: "a" | "b"): Promise<void> {
  const { redis, lockMasters } = both[region];
  await redis.primary.restart({ empty: true });
  await Promise.all(lockMasters.map((one) => one.restart()));
  const config = both.node(`${region}1`).configFile;
  expect((await settled(() => holdfast("store", "init", "--config", config))).code).toBe(0);
}

test("after the loss of both regions one is restored alone, and the other one joins it empty", async () => {
  await Promise.all([both.kill("a"), both.kill("b")]);
  await emptyStore("a");
  // As docs/disaster-recovery.md says: until the other region is retired, it waits for its answer.
  await waits(made.file);
  const region = async (node: string, ...args: readonly string[]) =>
    settled(() => holdfast("region", ...args, "--config", both.node(node).configFile));
  expect(await region("a1", "retire", "b", "--endpoints-are-off", "b")).toMatchObject({ code: 0 });
  expect(await backup("restore", made.file, "--apply")).toMatchObject({ code: 0, err: "" });
  await Promise.all(both.a.nodes.map((node) => node.start()));
  await using atA = await answered(() => clientOf(both.a, instance, 0));
  await insist(async () => expect(await keyBytes(atA, made.kept)).toBe(made.bytes));
  // What was destroyed after the backup is back, as the page warns.
  await insist(() => keyBytes(atA, made.gone));

  await emptyStore("b");
  for (const node of both.b.nodes) node.launch();
  await insist(async () => expect(await region("b1", "rejoin")).toMatchObject({ code: 0 }));
  await allWell(both);
  await caughtUp(both);
  await using atB = await answered(() => clientOf(both.b, instance, 0));
  await insist(async () => expect(await keyBytes(atB, made.kept)).toBe(made.bytes));
  await destroyed(atB, made.gone);
});
