import { copyFile, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { KmipClient } from "@holdfast/client";
import { answerOf } from "@holdfast/testing";
import { type Issued, selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { fileSettings, settingsIn } from "../docs/settings.ts";
import { firstToken } from "../support/admin-api.ts";
import { commandLine, holdfast } from "../support/command-line.ts";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";
import { answered, createKey, keyBytes } from "../support/keys.ts";
import { NodeProcess } from "../support/node-process.ts";
import { RedisServer } from "../support/redis.ts";
import { layRegion, type Region } from "../support/region.ts";

type Group = Record<string, unknown>;

let folder: string;
let region: Region;
let manager: KeyManager;
let redis: RedisServer | undefined;
let restored: NodeProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-drill-"));
  manager = await startKeyManager({ kind: "key-protect" });
  region = await layRegion({
    ...{ instances: ["declared"], nodes: 1, replicas: 0, admin: true },
    settings: {
      backup: { keyFile: join(folder, "backup-key.json") },
      rootOfTrust: {
        keyProtect: { host: manager.host, iamHost: manager.iamHost, ca: manager.caFile },
      },
    },
  });
  await changeConfig(region.node(0).configFile, (config) => {
    config["sealingKeyFile"] = join(region.folder, "sealing.key");
  });
  await must("backup", "key", "init", "--config", region.node(0).configFile);
  await must("sealing-key", "init", "--config", region.node(0).configFile);
  await region.node(0).start();
});

afterAll(async () => {
  await restored?.[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
  await region?.[Symbol.asyncDispose]();
  await manager?.close();
  await rm(folder, { recursive: true, force: true });
  await rm(`${region?.folder}-lost`, { recursive: true, force: true });
});

test("every key is restored on an empty machine from what docs/backup.md lists, and nothing else", async () => {
  const node = region.node(0);
  // What the administrators keep: vCenter's certificate, a manager's token, the authority.
  const vcenter = await selfSigned({
    ...{ commonName: "vCenter", notBeforeMs: Date.now() - 60_000, days: 2 },
  });
  const token = () => firstToken({ node, ca: region.ca });
  await write("token", await answerOf("the first token", token, () => true));
  await write("ca.pem", region.ca);
  await order(node, vcenter.certificate);
  const { certificate, key } = region.target("declared");
  const clients = [{ certificate, key }, vcenter];
  const keys = await Promise.all(clients.map((client) => makeKeys(node, client)));

  await must("backup", "create", join(folder, "backup"), "--config", node.configFile);
  await node.stop();
  const config = await keepWhatIsListed(node.configFile);
  await rename(region.folder, `${region.folder}-lost`);
  await rm(join(folder, "backup-key.json"));

  redis = await RedisServer.start();
  const { address } = redis;
  await changeConfig(config, (group) => {
    group["store"] = { address, replicas: 0 };
  });
  await must("store", "init", "--config", config);
  await must("backup", "restore", join(folder, "backup"), "--config", config, "--apply");
  restored = new NodeProcess(node.name, [node.kmip, node.http, node.health], join(folder, "kept"));
  restored.admin = node.admin;
  await restored.start();

  for (const [at, client] of clients.entries()) {
    await using open = await connect(restored, client);
    for (const [id, bytes] of keys[at] ?? []) {
      expect(await answered(() => keyBytes(open, id))).toBe(bytes);
    }
    await answered(() => createKey(open));
  }
  expect(await manage(restored, "whoami")).toMatchObject({
    roles: ["security-officer", "manager"],
  });
  expect(await manage(restored, "instance", "show", "sealed")).toMatchObject({
    status: "Installed",
  });
});

/** Orders an instance whose API key is only in the store, sealed under the sealing key. */
async function order(node: NodeProcess, certificate: string): Promise<void> {
  const { instanceId, apiKey } = manager;
  const rootKey = await manager.createRootKey("of the instance");
  const key = await write("apikey.txt", apiKey);
  const root = `a:key-protect,instanceId=${instanceId},rootKey=${rootKey},apiKey=@${key}`;
  await manage(node, "instance", "order", "--name", "sealed", "--root", root, "--wait");
  await rm(key);
  const file = await write("vcenter.pem", certificate);
  await manage(node, "certificate", "add", "sealed", "--name", "vcenter", "--file", file);
}

async function makeKeys(node: NodeProcess, issued: Pair): Promise<Map<string, string>> {
  await using client = await connect(node, issued);
  const keys = new Map<string, string>();
  for (let made = 0; made < 5; made += 1) {
    const id = await answered(() => createKey(client));
    keys.set(id, await answered(() => keyBytes(client, id)));
  }
  return keys;
}

/**
 * Copies the files of the settings that the page says to keep, and the configuration with their new places. Returns the
 * new configuration file.
 */
async function keepWhatIsListed(configFile: string): Promise<string> {
  const page = await readFile(join(import.meta.dirname, "../../docs/backup.md"), "utf8");
  const listed = settingsIn(page, "What you need to restore", "Not needed:");
  const kept = join(folder, "kept");
  await mkdir(kept);
  const config = parse(await readFile(configFile, "utf8")) as Group;
  for (const setting of fileSettings().filter((one) => listed.has(one))) {
    const groups = setting.split(".");
    const name = groups.pop() ?? "";
    const holder = groups.reduce<Group | undefined>((at, group) => at?.[group] as Group, config);
    const path = holder?.[name];
    if (holder === undefined || typeof path !== "string" || !(await isFile(path))) continue;
    holder[name] = join(kept, basename(path));
    await copyFile(path, join(kept, basename(path)));
  }
  const file = join(kept, basename(configFile));
  await writeFile(file, stringify(config));
  return file;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

async function changeConfig(file: string, change: (config: Group) => void): Promise<void> {
  const config = parse(await readFile(file, "utf8")) as Group;
  change(config);
  await writeFile(file, stringify(config));
}

type Pair = Pick<Issued, "certificate" | "key">;

async function connect(node: NodeProcess, tls: Pair): Promise<KmipClient> {
  const endpoints = [`${node.host}:${node.kmip}`];
  const open = () => KmipClient.connect({ endpoints, tls: { ca: region.ca, ...tls } });
  return await answerOf("a connection", open, () => true);
}

async function write(name: string, content: string): Promise<string> {
  await writeFile(join(folder, name), `${content}\n`, { mode: 0o600 });
  return join(folder, name);
}

async function must(...args: readonly string[]): Promise<void> {
  const { code, out, err } = await settled(() => holdfast(...args));
  if (code !== 0) throw new Error(`holdfast ${args.join(" ")}: exit ${code}: ${err}${out}`);
}

/** Runs a command again while the store has no lease, as it may be for a moment on a busy machine. */
async function settled<Said extends { readonly code: number | null; readonly err: string }>(
  run: () => Promise<Said>,
): Promise<Said> {
  const settling = async () => {
    const said = await run();
    if (said.code === 3) throw new Error(said.err);
    return said;
  };
  return await answerOf("an answer", settling, () => true);
}

/** A command of the management API, as the holder of the kept token. */
async function manage(node: NodeProcess, ...args: readonly string[]): Promise<unknown> {
  const site = ["--url", `https://${node.host}:${node.admin}`, "--ca", join(folder, "ca.pem")];
  const all = [...args, ...site, "--token-file", join(folder, "token"), "--json"];
  const said = await settled(() => commandLine(all, { env: { XDG_CONFIG_HOME: folder } }));
  if (said.code !== 0) throw new Error(`${args.join(" ")}: exit ${said.code}: ${said.err}`);
  return JSON.parse(said.out);
}
