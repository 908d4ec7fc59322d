import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, scryptSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initialiseStore } from "@holdfast/redis";
import { createLocalRoot } from "@holdfast/root-of-trust";
import { createAuthority, type Issued, selfSigned } from "@holdfast/server";
import { stringify } from "yaml";
import { KmipSocket, type KmipTarget } from "./kmip-socket.ts";
import { freePort, type RedisGroup, sentinelName, startGroup, until } from "./redis.ts";
import { systemClock, systemIds } from "./redis-store.ts";

const serverEntry = join(import.meta.dirname, "../../packages/server/src/main.ts");
const readyMs = 20_000;
const day = { notBeforeMs: Date.now() - 3_600_000, days: 2 };

/** What a test's region is made of. */
export interface RegionOptions {
  /** Names of the instances; each has one pinned client certificate. */
  readonly instances: readonly string[];
  /** Instance → user name → password. */
  readonly users?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly nodes?: number;
  readonly replicas?: number;
  readonly sentinels?: number;
  readonly downAfterMs?: number;
  /** Directives of redis.conf. */
  readonly redisConfig?: Readonly<Record<string, string>>;
  /** Settings of the nodes that differ, merged into a group of settings. */
  readonly settings?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** The setting `store.replicas`; the number of replicas unless given. */
  readonly replicasRequired?: number;
}

/** A node's process: the server's own entry, with a configuration file. */
export class NodeProcess implements AsyncDisposable {
  readonly name: string;
  readonly host = "127.0.0.1";
  readonly kmip: number;
  readonly http: number;
  readonly health: number;
  readonly logFile: string;
  readonly configFile: string;
  #child: ChildProcess | undefined;

  constructor(name: string, ports: readonly [number, number, number], folder: string) {
    this.name = name;
    [this.kmip, this.http, this.health] = ports;
    this.configFile = join(folder, `${name}.yaml`);
    this.logFile = join(folder, `${name}.log`);
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`node ${this.name} does not run`);
    return pid;
  }

  get running(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the process and waits until it is ready. */
  async start(): Promise<void> {
    const log = createWriteStream(this.logFile, { flags: "a" });
    const args = [serverEntry, "serve", "--config", this.configFile];
    const setpriv = "/usr/bin/setpriv";
    const child = existsSync(setpriv)
      ? spawn(setpriv, ["--pdeathsig", "SIGKILL", process.execPath, ...args])
      : spawn(process.execPath, args);
    child.stdout?.pipe(log);
    child.stderr?.pipe(log);
    this.#child = child;
    await until(
      `node ${this.name}`,
      async () => {
        if (!this.running) throw new Error(`node ${this.name} ended:\n${this.logTail()}`);
        return this.ready();
      },
      readyMs,
    );
  }

  /** Whether `/readyz` says so. */
  async ready(): Promise<boolean> {
    try {
      return (await fetch(`http://${this.host}:${this.http}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  /** The node's metrics as text. */
  async metrics(): Promise<string> {
    return (await fetch(`http://${this.host}:${this.http}/metrics`)).text();
  }

  /** Everything that it printed. */
  logText(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, "utf8") : "";
  }

  logTail(): string {
    return this.logText().slice(-2_000);
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = once(child, "exit");
    child.kill("SIGCONT");
    child.kill("SIGKILL");
    await gone;
  }

  /** SIGTERM; answers the exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || !this.running) return child?.exitCode ?? null;
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    await gone;
    return child.exitCode;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** A region of real processes: Redis primary, replicas and Sentinels, and nodes. */
export class Region implements AsyncDisposable {
  readonly redis: RedisGroup;
  readonly nodes: readonly NodeProcess[];
  readonly ca: string;
  readonly folder: string;
  readonly #clients: ReadonlyMap<string, Issued>;

  constructor(parts: {
    readonly redis: RedisGroup;
    readonly nodes: readonly NodeProcess[];
    readonly ca: string;
    readonly folder: string;
    readonly clients: ReadonlyMap<string, Issued>;
  }) {
    this.redis = parts.redis;
    this.nodes = parts.nodes;
    this.ca = parts.ca;
    this.folder = parts.folder;
    this.#clients = parts.clients;
  }

  node(at: number): NodeProcess {
    const node = this.nodes[at % this.nodes.length];
    if (node === undefined) throw new Error("the region has no node");
    return node;
  }

  /** How a client of an instance reaches a node. */
  target(instance: string, at = 0): KmipTarget {
    const client = this.#clients.get(instance);
    if (client === undefined) throw new Error(`no instance ${instance}`);
    const { host, kmip: port } = this.node(at);
    return { host, port, ca: this.ca, certificate: client.certificate, key: client.key };
  }

  /** A connection of an instance's client to a node. */
  connect(instance: string, at = 0): Promise<KmipSocket> {
    return KmipSocket.open(this.target(instance, at));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await this.redis[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Makes the certificates and files of a region, and starts everything. */
export async function startRegion(options: RegionOptions): Promise<Region> {
  const replicas = options.replicas ?? 1;
  const redis = await startGroup({
    replicas,
    ...(options.sentinels === undefined ? {} : { sentinels: options.sentinels }),
    ...(options.downAfterMs === undefined ? {} : { downAfterMs: options.downAfterMs }),
    ...(options.redisConfig === undefined ? {} : { config: options.redisConfig }),
  });
  const folder = await mkdtemp(join(tmpdir(), "holdfast-region-"));
  const nodes: NodeProcess[] = [];
  try {
    const { primary } = redis;
    await initialiseStore({ address: primary.address, replicas, ids: systemIds });
    const authority = await createAuthority({ commonName: "Test CA", ...day });
    const clients = await issueClients(options.instances);
    const shared = await writeShared(folder, authority, clients, options.users ?? {});
    const settings = { ...shared, store: storeOf(redis, options) };
    for (let at = 0; at < (options.nodes ?? 2); at++) {
      nodes.push(await writeNode(folder, `a${at + 1}`, settings, options));
    }
    await Promise.all(nodes.map((node) => node.start()));
    return new Region({ redis, nodes, ca: authority.certificate, folder, clients });
  } catch (error) {
    await Promise.all(nodes.map((node) => node.kill()));
    await redis[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function issueClients(instances: readonly string[]): Promise<Map<string, Issued>> {
  const clients = new Map<string, Issued>();
  for (const name of instances) {
    clients.set(name, await selfSigned({ commonName: `client of ${name}`, ...day }));
  }
  return clients;
}

type Authority = Awaited<ReturnType<typeof createAuthority>>;

/** Files and settings that all nodes of a region share. */
async function writeShared(
  folder: string,
  authority: Authority,
  clients: ReadonlyMap<string, Issued>,
  users: NonNullable<RegionOptions["users"]>,
): Promise<Readonly<Record<string, unknown>>> {
  const server = await authority.issue({
    commonName: "holdfast",
    hosts: ["127.0.0.1", "localhost"],
    ...day,
  });
  const file = async (name: string, content: string | Uint8Array): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, content, { mode: 0o600 });
    return path;
  };
  const rootFile = join(folder, "root.json");
  await createLocalRoot(rootFile, { clock: systemClock, ids: systemIds });
  return {
    tls: {
      certificate: await file("server.pem", server.certificate),
      key: await file("server-key.pem", server.key),
      ticketKeysFile: await file("tickets", randomBytes(48)),
    },
    rootOfTrust: { type: "local", file: rootFile },
    instances: [...clients].map(([name, { certificate }]) => ({
      name,
      certificates: [certificate],
      users: Object.entries(users[name] ?? {}).map(([user, password]) => ({
        name: user,
        passwordHash: hashOf(password),
      })),
    })),
  };
}

/** What `holdfast hash-password` prints, made apart from it. */
function hashOf(password: string): string {
  const salt = randomBytes(16);
  const hash = scryptSync(password, salt, 32, { N: 16_384, r: 8, p: 1 });
  return `scrypt$16384$8$1$${salt.toString("base64url")}$${hash.toString("base64url")}`;
}

function storeOf(redis: RedisGroup, options: RegionOptions): object {
  const replicas = options.replicasRequired ?? options.replicas ?? 1;
  return redis.sentinels.length === 0
    ? { address: redis.primary.address, replicas }
    : { sentinels: redis.sentinels.map((one) => one.address), name: sentinelName, replicas };
}

async function writeNode(
  folder: string,
  name: string,
  shared: Readonly<Record<string, unknown>>,
  options: RegionOptions,
): Promise<NodeProcess> {
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  const node = new NodeProcess(name, ports, folder);
  const at = (port: number) => `${node.host}:${port}`;
  const base: Record<string, unknown> = {
    region: "a",
    node: name,
    kmip: { listen: at(node.kmip) },
    http: { listen: at(node.http) },
    health: { listen: at(node.health) },
    log: { level: "info" },
    ...shared,
  };
  for (const [group, values] of Object.entries(options.settings ?? {})) {
    base[group] = { ...(base[group] as object | undefined), ...values };
  }
  await writeFile(node.configFile, stringify(base));
  return node;
}
