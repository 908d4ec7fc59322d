import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdfast, settled } from "../support/command-line.ts";
import { answered, createKey, keyBytes, registerKey, stateOf } from "../support/keys.ts";
import { clientOf } from "../support/load.ts";
import { layRegion, type Region } from "../support/region.ts";
import { findSecrets } from "../support/search.ts";

const instance = "vcenter";
const known = Buffer.from(
  "8d1f6c0b5e7a49d2b6f3c1a0947e5d2886b1e0c3f4a5d79b02c8e6f1a3b5d7e9",
  "hex",
);

let folder: string;
let region: Region;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-backup-"));
  await mkdir(join(folder, "scheduled"));
  region = await layRegion({
    instances: [instance],
    nodes: 2,
    replicas: 0,
    settings: {
      backup: {
        keyFile: join(folder, "backup-key.json"),
        directory: join(folder, "scheduled"),
        keep: 2,
      },
    },
  });
  expect(await holdfast("backup", "key", "init", "--config", config())).toMatchObject({ code: 0 });
  await Promise.all(region.nodes.map((node) => node.start()));
});

afterAll(async () => {
  await region?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function config(): string {
  return region.node(0).configFile;
}

async function backup(verb: string, file: string, ...more: readonly string[]) {
  return settled(() => holdfast("backup", verb, join(folder, file), "--config", config(), ...more));
}

test("a backup of a running region is verified, and restored over its data and into an empty store", async () => {
  await using client = await answered(() => clientOf(region, instance, 0));
  const bytesOf = (one: KmipClient, id: string) => answered(() => keyBytes(one, id));
  const keys = new Map<string, string>();
  for (let made = 0; made < 20; made++) {
    const id = await answered(() => createKey(client));
    keys.set(id, await bytesOf(client, id));
  }
  const id = await answered(() => registerKey(client, known));
  await answered(() => client.activate({ uniqueIdentifier: id }));
  keys.set(id, known.toString("hex"));
  const [gone = ""] = keys.keys();
  // On a busy machine one may have been made although the answer was lost.
  const { uniqueIdentifiers: all } = await answered(() => client.locate({ attributes: [] }));
  const made = await backup("create", "one");
  expect(made).toMatchObject({ code: 0, err: "" });
  expect(made.out).toMatch(/one: \d+ records, \d+ bytes, in [\d.]+ s, under version 1/);

  // Material stays sealed, and nothing of the archive can be read.
  const bytes = await readFile(join(folder, "one"));
  const secrets = new Map([
    ["key", known],
    ["identifier", Buffer.from(id)],
    ["identifier's bytes", Buffer.from(id.replaceAll("-", ""), "hex")],
    ["backup key", Buffer.from(await readFile(join(folder, "backup-key.json")))],
  ]);
  expect(findSecrets([{ name: "archive", bytes }], secrets)).toEqual([]);

  const drill = await backup("verify", "one", "--keys", "15");
  expect(drill).toMatchObject({ code: 0, err: "" });
  expect(drill.out).toMatch(/15 keys at random opened through the root of trust\n/);
  expect(drill.out).toContain(`objects: ${all.length - 1} Pre-Active, 1 Active\n`);
  expect(drill.out).toMatch(/this backup can be restored\n$/);

  // Changes after the backup stay.
  await until("it is destroyed", async () => {
    await client.destroy({ uniqueIdentifier: gone }).catch(() => undefined);
    return (await answered(() => stateOf(client, gone))) === "Destroyed";
  });
  const since = await answered(() => createKey(client));
  keys.set(since, await bytesOf(client, since));
  keys.delete(gone);
  const told = await backup("restore", "one");
  expect(told).toMatchObject({ code: 0 });
  expect(told.out).toMatch(/1 records of all were destroyed since/);
  expect(told.out).toMatch(/nothing was written: give --apply/);
  expect((await backup("restore", "one", "--apply")).out).toMatch(/the restore is complete/);
  expect(await answered(() => stateOf(client, gone))).toBe("Destroyed");
  for (const [key, value] of keys) expect(await bytesOf(client, key)).toBe(value);

  // The disk is lost: an empty store is initialised.
  expect((await backup("create", "two")).code).toBe(0);
  await Promise.all(region.nodes.map((node) => node.stop()));
  await region.redis.primary.restart({ empty: true });
  const init = ["store", "init", "--config", config()];
  expect(await settled(() => holdfast(...init))).toMatchObject({ code: 0 });
  const restored = await backup("restore", "two", "--apply");
  expect(restored).toMatchObject({ code: 0, err: "" });
  expect(restored.out).toMatch(/records were made\n/);
  await Promise.all(region.nodes.map((node) => node.start()));
  await using again = await answered(() => clientOf(region, instance, 1));
  for (const [key, value] of keys) expect(await bytesOf(again, key)).toBe(value);
  expect(await answered(() => stateOf(again, gone))).toBe("Destroyed");
  expect(await answered(() => stateOf(again, id))).toBe("Active");
});

test("every command refuses a truncated or altered archive before any write", async () => {
  const whole = await readFile(join(folder, "one"));
  const middle = Buffer.from(whole);
  middle[whole.length >> 1] = (middle[whole.length >> 1] ?? 0) ^ 0x40;
  await writeFile(join(folder, "cut"), whole.subarray(0, whole.length - 7), { mode: 0o600 });
  await writeFile(join(folder, "altered"), middle, { mode: 0o600 });
  // Leaders keep writing their own keys; a restore would write objects.
  const objects = () => region.redis.primary.command("keys", "{p??}:o:*") as Promise<unknown[]>;
  const before = (await objects()).length;
  const [verified, restored] = await Promise.all([
    backup("verify", "altered"),
    backup("restore", "cut", "--apply"),
  ]);
  for (const said of [verified, restored]) {
    expect(said).toMatchObject({ code: 2, out: "" });
    expect(said.err).toMatch(/(cut short|damaged).*nothing was taken from it.*\n$/);
    expect(said.err.trim().split("\n")).toHaveLength(1);
  }
  expect(await objects()).toHaveLength(before);
  expect(before).toBeGreaterThan(0);
});

test("the leader makes scheduled backups, and reports the age of the last one", async () => {
  let name = "";
  await until("a scheduled backup", async () => {
    const names = await readdir(join(folder, "scheduled"));
    name = names.find((one) => one.endsWith(".backup")) ?? "";
    return name !== "";
  });
  expect(name).toMatch(/^holdfast-a-\d{8}T\d{6}Z\.backup$/);
  expect((await backup("verify", join("scheduled", name))).out).toMatch(/can be restored/);
  const told = async (pattern: RegExp) =>
    (await Promise.all(region.nodes.map((node) => node.metrics()))).map((text) =>
      Number(pattern.exec(text)?.[1] ?? 0),
    );
  await until("the age of the last backup at every node", async () => {
    const began = await told(
      /^holdfast_backup_last_success_timestamp_seconds\{backup_region="a"\} (\d+)/m,
    );
    return began.every((seconds) => Date.now() / 1000 - seconds < 600);
  });
  await until("objects by state at the leader", async () => {
    const active = await told(
      /^holdfast_objects\{kmip_instance="vcenter",state="Active"\} (\d+)$/m,
    );
    return active.includes(1);
  });
});
