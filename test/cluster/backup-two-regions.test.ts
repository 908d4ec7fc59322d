import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KmipClient } from "@holdfast/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdfast } from "../support/command-line.ts";
import { createKey } from "../support/keys.ts";
import { clientOf } from "../support/load.ts";
import { openStore } from "../support/redis-store.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { allWell, caughtUp } from "../support/vitals.ts";

const instance = "vcenter";
let folder: string;
let both: TwoRegions;
let client: KmipClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-two-"));
  both = await startTwoRegions({
    instances: [instance],
    nodes: 1,
    replicas: 0,
    settings: { backup: { keyFile: join(folder, "key.json") } },
  });
  await allWell(both);
  client = await clientOf(both.a, instance, 0);
});

afterAll(async () => {
  await client?.[Symbol.asyncDispose]();
  await both?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function backup(verb: string, ...more: readonly string[]) {
  const config = both.node("a1").configFile;
  return await holdfast("backup", ...verb.split(" "), ...more, "--config", config);
}

/** What the own store of region a says of an object, whatever the other region knows. */
async function inStoreA(id: string) {
  await using opened = await openStore({ address: both.a.redis.primary.address, region: "a" });
  const all = await Promise.all(
    Array.from({ length: 64 }, (_, partition) => opened.store.records(partition, [id])),
  );
  return all.flatMap(({ objects }) => objects)[0];
}

test("an empty store takes from a backup what the other region does not know better", async () => {
  expect((await backup("key init")).code).toBe(0);
  const [kept, gone] = [await createKey(client), await createKey(client)];
  await caughtUp(both);
  const file = join(folder, "one");
  expect(await backup("create", file)).toMatchObject({ code: 0, err: "" });
  // Destroyed by both regions; then one of them loses its disk.
  await client.destroy({ uniqueIdentifier: gone });
  await both.kill("a");
  const { primary } = both.a.redis;
  await primary.restart({ empty: true });
  await Promise.all(both.a.lockMasters.map((one) => one.restart()));
  const config = both.node("a1").configFile;
  expect((await holdfast("store", "init", "--config", config)).code).toBe(0);
  const restored = await backup("restore", file, "--apply");
  expect(restored).toMatchObject({ code: 0, err: "" });
  expect(restored.out).toMatch(/1 records of all were destroyed since/);
  const [one, other] = [await inStoreA(kept), await inStoreA(gone)];
  expect(one?.material).toBeDefined();
  expect(other?.facts.destroyed).toBeDefined();
  expect(other?.material).toBeUndefined();

  // Who cannot be asked may know more: nothing is restored then.
  await both.kill("b");
  const alone = await backup("restore", file, "--apply");
  expect(alone).toMatchObject({ code: 3, out: "" });
  expect(alone.err).toMatch(
    /region b does not answer, and may know of objects that were destroyed/,
  );
});
