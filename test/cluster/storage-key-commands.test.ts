import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createLocalRoot, openLocalRoot } from "@holdfast/root-of-trust";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { holdfast, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { openStore, patientOptions, systemClock, systemIds } from "../support/redis-store.ts";
import { layRegion, type Region, steadyStore } from "../support/region.ts";
import { letIn } from "../support/region-watch.ts";

let region: Region;
/** A configuration that names another root key. */
let moved: string;

beforeAll(async () => {
  region = await layRegion({
    instances: ["tenant"],
    nodes: 1,
    replicas: 0,
    settings: { rootOfTrust: { revalidateMs: 1_000 }, store: steadyStore },
  });
  const file = join(region.folder, "next.json");
  await createLocalRoot(file, { clock: systemClock, ids: systemIds });
  moved = join(region.folder, "moved.yaml");
  const config = parse(await readFile(region.node(0).configFile, "utf8"));
  const rootOfTrust = { ...config.rootOfTrust, file };
  await writeFile(moved, stringify({ ...config, rootOfTrust }));
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
});

async function entry(): Promise<Readonly<Record<string, string>>> {
  return JSON.parse(String(await region.redis.primary.command("hget", "{sys}:keys", "1")));
}

test("`root move` puts the storage key under another root key, once", async () => {
  const from = region.node(0).configFile;
  const before = await entry();
  const move = () => settled(() => holdfast("root", "move", "--from", from, "--config", moved));
  const first = await move();
  expect(first).toMatchObject({ err: "", code: 0 });
  expect(first.out).toMatch(
    /^storage keys of region a are under local [0-9a-f]+ \(rootOfTrust\.file: .*next\.json\) now: 1 moved; give every node/,
  );
  const after = await entry();
  expect(after).toEqual({ ...before, root: after["root"], wrap: after["wrap"] });
  expect(after["root"]).not.toBe(before["root"]);
  // The root key that opened it does so no more, and nothing is changed.
  const again = await move();
  expect(again.code).toBe(2);
  expect(again.err).toMatch(
    /^holdfast: rootOfTrust: the configured root key does not open storage key 1 of store [0-9a-f]{32}, which root key "local [0-9a-f]+" wrapped: /,
  );
  expect(await entry()).toEqual(after);
  const back = await settled(() => holdfast("root", "move", "--from", moved, "--config", from));
  expect(back).toMatchObject({ err: "", code: 0 });
  expect((await entry())["root"]).toBe(before["root"]);
  const nothing = await settled(() => holdfast("root", "move", "--from", from, "--config", from));
  expect(nothing.out).toContain("now: were there already; ");
});

test("after `root rotate` the leader wraps the storage key under the new version", async () => {
  const node = region.node(0);
  await node.start();
  const client = await letIn(region, "tenant", 0);
  const id = await answered(() => createKey(client));
  const bytes = await answered(() => keyBytes(client, id));
  await client.close();
  expect((await entry())["version"]).toBe("1");
  const rotated = await settled(() => holdfast("root", "rotate", "--config", node.configFile));
  expect(rotated).toMatchObject({ err: "", code: 0 });
  await until("the new version", async () => (await entry())["version"] === "2");
  await node.stop();
  await node.start();
  const later = await letIn(region, "tenant", 0);
  expect(await answered(() => keyBytes(later, id))).toBe(bytes);
  await later.close();
});

test("`root move` is refused while a rotation of the storage key is under way", async () => {
  await region.node(0).stop();
  const from = region.node(0).configFile;
  const { address } = region.redis.primary;
  const { rootOfTrust } = parse(await readFile(from, "utf8"));
  const root = await openLocalRoot(rootOfTrust.file, systemIds);
  {
    await using opened = await openStore({ address, root, ...patientOptions });
    await until("it begins", async () => {
      const number = await opened.store.rotateStorageKey(root, systemIds.randomBytes);
      return number === 2;
    });
  }
  const before = await entry();
  await until("it is refused for the rotation", async () => {
    const refused = await holdfast("root", "move", "--from", from, "--config", moved);
    expect(refused.code).toBe(3);
    return refused.err.includes("a rotation of the storage key is under way") || refused.err;
  });
  expect(await entry()).toEqual(before);
});
