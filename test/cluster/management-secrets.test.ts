import { createPrivateKey, randomBytes, randomUUID } from "node:crypto";
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AdminClient, type Contract, contract, type Route } from "@holdfast/admin";
import { KmipClient } from "@holdfast/client";
import { ObjectKekStore } from "@holdfast/engine";
import { createLocalRoot, createPkcs11Root, createSealingKey } from "@holdfast/root-of-trust";
import { freePort, until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import { afterAll, beforeAll, expect, test } from "vitest";
import { adminClient, firstToken, oneTimeToken, patiently } from "../support/admin-api.ts";
import { commandLine, holdfast, settled } from "../support/command-line.ts";
import { type KeyManager, startKeyManager } from "../support/key-protect/index.ts";
import { openRoot } from "../support/key-protect/root.ts";
import { answered, registerKey } from "../support/keys.ts";
import { openStoreOf } from "../support/node-root.ts";
import { RawHttps } from "../support/raw-https.ts";
import { systemClock, systemIds } from "../support/redis-store.ts";
import { layRegion, type Region } from "../support/region.ts";
import { findSecrets, type Haystack, haystacksOf } from "../support/search.ts";
import { hasSoftHsm, SoftHsm, softHsmMissing } from "../support/softhsm.ts";

const there = hasSoftHsm();
if (!there) test.skip(`a PIN's part: ${softHsmMissing}`, () => {});
const sources = { clock: systemClock, ids: systemIds };

let folder: string;
let region: Region;
let manager: KeyManager;
let hsm: SoftHsm | undefined;
let client: AdminClient;
let admin: Pick<AdminClient, "call">;
let source: RawHttps;
/** Name → bytes that must not be found anywhere. */
const secrets = new Map<string, Uint8Array>();
/** The API's answers, and the output of the command line. */
const told: string[] = [];
/** Arguments of every process that was seen. */
const seen = new Set<string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-secrets-"));
  manager = await startKeyManager({ kind: "key-protect" });
  await manager.settings({ settleMs: 0, rotationMs: 0 });
  remember("API key", manager.apiKey);
  if (there) await makeToken();
  region = await layRegion({
    instances: ["declared"],
    nodes: 1,
    replicas: 0,
    admin: true,
    redisConfig: { rdbcompression: "no" },
    settings: await settings(),
  });
  const { configFile } = region.node(0);
  await appendFile(configFile, `sealingKeyFile: ${join(folder, "sealing.json")}\n`);
  await createSealingKey(join(folder, "sealing.json"), sources);
  expect(await holdfast("backup", "key", "init", "--config", configFile)).toMatchObject({
    code: 0,
  });
  for (const name of ["sealing.json", "backup-key.json"]) await rememberKeysOf(name);
  await region.node(0).start();
  const target = { node: region.node(0), ca: region.ca };
  remember("one-time token", await oneTimeToken(target.node));
  const token = remember("manager token", await firstToken(target));
  client = adminClient(target, token);
  admin = patiently(client);
  source = new RawHttps(`https://${target.node.host}:${target.node.admin}`, region.ca);
  await write("ca.pem", region.ca);
  await write("token", token);
});

afterAll(async () => {
  source?.[Symbol.dispose]();
  await client?.[Symbol.asyncDispose]();
  await region?.[Symbol.asyncDispose]();
  await manager?.close();
  await hsm?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Makes a token with a root key; the module finds its tokens through the environment. */
async function makeToken(): Promise<void> {
  hsm = await SoftHsm.open();
  process.env["SOFTHSM2_CONF"] = hsm.environment["SOFTHSM2_CONF"] ?? "";
  remember("PIN", hsm.pin);
  await createPkcs11Root(hsm.settings({ rootKey: "crk" }), {
    ...sources,
    observe: () => undefined,
  });
}

/** Every group that has a secret. */
async function settings(): Promise<Readonly<Record<string, Readonly<Record<string, unknown>>>>> {
  const passphrase = remember("passphrase", `open ${randomBytes(9).toString("hex")} sesame`);
  const file = join(folder, "root.json");
  await createLocalRoot({ path: file, passphrase: async () => passphrase }, sources);
  const secretFile = await write("hook", remember("webhook secret", `Bearer ${random()}`));
  return {
    log: { level: "debug" },
    audit: {
      reads: "strict",
      file: { path: join(folder, "audit.jsonl") },
      // Nothing listens there: the sink's errors go into the log.
      webhook: { url: `https://127.0.0.1:${await freePort()}/`, secretFile },
    },
    backup: { keyFile: join(folder, "backup-key.json") },
    rootOfTrust: {
      ...{ type: "local", file, passphraseFile: await write("passphrase", passphrase) },
      keyProtect: { host: manager.host, iamHost: manager.iamHost, ca: manager.caFile },
      ...(hsm === undefined ? {} : { pkcs11: { module: hsm.module } }),
    },
  };
}

test("no secret of the management plane is in Redis, logs, metrics, answers, events, backups or arguments", async () => {
  const id = await fillInstances();
  await askWrongly();
  await askEverything();
  const archive = join(folder, "archive");
  await watched(async () => {
    const made = await holdfast("backup", "create", archive, "--config", region.node(0).configFile);
    told.push(made.out, made.err);
    expect(made.code).toBe(0);
    const drill = await holdfast(
      "backup",
      "verify",
      archive,
      "--config",
      region.node(0).configFile,
    );
    told.push(drill.out, drill.err);
  });
  await until("the audit file has the order", async () =>
    (await readFile(join(folder, "audit.jsonl"), "latin1").catch(() => "")).includes(id),
  );
  await region.redis.primary.command("save");
  const haystacks: Haystack[] = [
    ...(await haystacksOf(region.redis.primary)),
    { name: region.node(0).logFile, bytes: Buffer.from(region.node(0).logText()) },
    { name: "metrics", bytes: Buffer.from(await region.node(0).metrics()) },
    { name: "answers", bytes: Buffer.from(told.join("\n")) },
    { name: "audit file", bytes: await readFile(join(folder, "audit.jsonl")) },
    { name: "backup", bytes: await readFile(archive) },
    { name: "arguments", bytes: Buffer.from([...seen].join("\n")) },
  ];
  expect(secrets.size).toBeGreaterThan(there ? 15 : 14);
  expect(findSecrets(haystacks, secrets)).toEqual([]);
  looksWhereItIs(haystacks, id);
});

/** The control: a value that is not secret is found in each kind of place. */
function looksWhereItIs(haystacks: readonly Haystack[], id: string): void {
  const control = new Map([["control", Buffer.from(id)]]);
  const found = findSecrets(haystacks, control).join("\n");
  for (const place of ["appendonly.aof", "dump.rdb", "keys of", ".log", "answers", "audit file"]) {
    expect(found).toContain(place);
  }
  const arguments_ = findSecrets(haystacks, new Map([["control", Buffer.from("serve\0--config")]]));
  expect(arguments_.join("\n")).toContain("arguments: raw");
}

/** Makes instances with every kind of secret. Returns the identifier of the first one. */
async function fillInstances(): Promise<string> {
  const { instanceId } = manager;
  const rootKey = await manager.createRootKey("of the instance");
  const root = `a:key-protect,instanceId=${instanceId},rootKey=${rootKey},apiKey=@${await write("key", manager.apiKey)}`;
  const { id } = await done("instance", "order", "--name", "sealed", "--root", root, "--wait");
  const instance = String(id);
  if (hsm !== undefined) {
    const token = `a:pkcs11,token=${hsm.token},rootKey=crk,pin=@${await write("pin", hsm.pin)}`;
    await done("instance", "order", "--name", "token", "--root", token, "--wait");
  }
  await done("instance", "order", "--name", "local", "--root", "a:local", "--wait");
  const password = remember("password", `Correct-${random()}`);
  await done("user", "set", "local", "ada", "--password-file", await write("password", password));
  const made = ["--name", "viewer", "--roles", "viewer", "--secret-out", join(folder, "made")];
  await done("token", "create", ...made);
  remember("made token", (await readFile(join(folder, "made"), "utf8")).trim());
  const issued = ["--name", "esx", "--pem-out", join(folder, "esx.pem")];
  await done("authority", "issue", "sealed", ...issued, "--key-out", join(folder, "esx.key"));
  rememberPrivateKey(await readFile(join(folder, "esx.key"), "utf8"));
  await keepKey(instance);
  await rememberKeks(instance, rootKey);
  // All other private keys: those of the instances' own authorities, which nobody ever gets.
  secrets.set("a PEM private key", Buffer.from("PRIVATE KEY-----"));
  const pkcs8 = "020100301306072a8648ce3d020106082a8648ce3d030107";
  secrets.set("a DER private key", Buffer.from(pkcs8, "hex"));
  return instance;
}

async function keepKey(instance: string): Promise<void> {
  const { certificate, key } = await selfSigned({
    ...{ commonName: "vCenter", notBeforeMs: Date.now() - 60_000, days: 2 },
  });
  const file = await write("vcenter.pem", certificate);
  await done("certificate", "add", instance, "--name", "vcenter", "--file", file);
  const { host, kmip } = region.node(0);
  const material = randomBytes(32);
  secrets.set("a registered key", material);
  let connected: KmipClient | undefined;
  await until("the node lets vCenter in", async () => {
    const tls = { ca: region.ca, certificate, key };
    const endpoints = [`${host}:${kmip}`];
    connected = await KmipClient.connect({ endpoints, tls }).catch(() => undefined);
    return connected !== undefined;
  });
  if (connected === undefined) throw new Error("no client");
  await using open = connected;
  const id = await answered(() => registerKey(open, material));
  const shown = await done("key", "show", instance, id);
  expect(shown).toMatchObject({ id });
}

/** Key-encryption keys, as the key manager opens them. */
async function rememberKeks(instance: string, rootKey: string): Promise<void> {
  await using opened = await openStoreOf(region);
  await using root = await openRoot(manager, { rootKey });
  const keks = await new ObjectKekStore(opened.store, { clock: systemClock, region: "a" }).list(
    instance,
  );
  expect(keks.length).toBeGreaterThan(0);
  for (const { id, wraps } of keks) {
    const parts = ["holdfast-kek", instance, id];
    const bound = Buffer.from(parts.map((part) => `${part.length}:${part}`).join(""));
    const { plaintext } = await root.unwrap(wraps[0]?.blob ?? new Uint8Array(), bound);
    secrets.set(`a key-encryption key ${id}`, plaintext);
  }
}

/** Requests that are refused while they hold secrets. */
async function askWrongly(): Promise<void> {
  const { instanceId } = manager;
  const apiKey = remember("refused API key", random());
  const root = {
    type: "key-protect",
    instanceId,
    rootKey: randomUUID(),
    apiKey: { value: apiKey },
  };
  const order = (of: unknown) =>
    JSON.stringify({ name: "never", rootOfTrust: { regions: { a: of } } });
  const token = (await readFile(join(folder, "token"), "utf8")).trim();
  const path = "/v1/instances";
  const bodies = [
    order(root),
    order({ ...root, apiKey }),
    order({ ...root, pin: { value: apiKey } }),
    order({ type: "pkcs11", token: "none", rootKey: "k", pin: { value: apiKey } }),
    order({ ...root, apiKey: { value: apiKey, more: apiKey } }),
    `${order(root)}${apiKey}`,
    JSON.stringify(apiKey),
    JSON.stringify({ [apiKey]: 1 }).replace("}", ""),
  ];
  for (const body of bodies) {
    const answer = await source.ask({ method: "POST", path, token, body });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    told.push(answer.text);
  }
  const password = remember("refused password", "too-short");
  const user = `${path}/local/users/ada`;
  const body = JSON.stringify({ password, extra: password });
  told.push((await source.ask({ method: "PUT", path: user, token, body })).text);
  const unknown = remember("unknown token", `hf_${random()}`);
  told.push((await source.ask({ method: "GET", path, token: unknown })).text);
  const file = await write("refused", unknown);
  const said = await run("whoami", "--token-file", file);
  expect(said.code).toBe(4);
}

/** Everything that can be read, as the API answers it. */
async function askEverything(): Promise<void> {
  const params = { instance: "sealed", certificate: "esx" };
  for (const [name, route] of Object.entries(contract) as [keyof Contract, Route][]) {
    if (route.method !== "GET" || route.stream === true || route.path.includes("{key}")) continue;
    const answer = await admin
      .call(name, { params, query: {} })
      .catch((error: Error) => error.message);
    told.push(JSON.stringify(answer));
  }
  const checks = await admin.call("runChecks", {});
  const keys = await admin.call("retrieveRootKeys", {
    body: {
      root: {
        type: "key-protect",
        instanceId: manager.instanceId,
        apiKey: { value: manager.apiKey },
      },
    },
  });
  told.push(JSON.stringify([checks, keys]));
}

async function run(...args: readonly string[]) {
  const { host, admin } = region.node(0);
  const env = { HOLDFAST_URL: `https://${host}:${admin}`, HOLDFAST_CA: join(folder, "ca.pem") };
  const token = args.includes("--token-file") ? [] : ["--token-file", join(folder, "token")];
  const all = [...args, ...token, "--json"];
  return settled(async () => {
    const said = await watched(() =>
      commandLine(all, { env: { ...env, XDG_CONFIG_HOME: folder } }),
    );
    told.push(said.out, said.err);
    return said;
  });
}

async function done(...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
  const said = await run(...args);
  if (said.code !== 0) throw new Error(`${args.join(" ")}: exit ${said.code}: ${said.err}`);
  return JSON.parse(said.out) as Readonly<Record<string, unknown>>;
}

/** Notes the arguments of all processes while something runs. */
async function watched<Result>(work: () => Promise<Result>): Promise<Result> {
  const timer = setInterval(() => void look(), 100);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await look();
  }
}

async function look(): Promise<void> {
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const text = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
    if (text !== "") seen.add(text);
  }
}

function random(): string {
  return randomBytes(24).toString("base64url");
}

function remember(name: string, text: string): string {
  secrets.set(name, Buffer.from(text));
  return text;
}

/** The keys in a file of versions that has no passphrase. */
async function rememberKeysOf(name: string): Promise<void> {
  const text = await readFile(join(folder, name), "utf8");
  const keys = text.match(/[A-Za-z0-9+/]{43}=/g) ?? [];
  expect(keys.length).toBeGreaterThan(0);
  for (const [at, key] of keys.entries()) secrets.set(`${name} ${at}`, Buffer.from(key, "base64"));
}

function rememberPrivateKey(pem: string): void {
  const { d } = createPrivateKey(pem).export({ format: "jwk" });
  secrets.set("an issued private key", Buffer.from(d ?? "", "base64url"));
  const [, line = ""] = pem.split("\n");
  remember("an issued private key's PEM", line.slice(-40));
}

async function write(name: string, content: string): Promise<string> {
  await writeFile(join(folder, name), `${content}\n`, { mode: 0o600 });
  return join(folder, name);
}
