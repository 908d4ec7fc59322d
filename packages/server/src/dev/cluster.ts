import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TlsCredentials } from "@holdfast/client";
import { printAddress } from "../address.ts";
import { reasonOf, StartError } from "../start-error.ts";
import { Child } from "./child.ts";
import { type Folder, makeFolder, writeJson, writePrivate } from "./folder.ts";
import { type DevNode, nodeConfig, nodeConfigFile } from "./node-config.ts";
import { ensurePki, type PkiFiles } from "./pki.ts";
import { checkFree } from "./ports.ts";
import {
  hasData,
  prepareRedis,
  type RedisRole,
  redisHost,
  redisRoles,
  startRedis,
  untilInStep,
} from "./redis.ts";
import { noteForgotten, type RedisSettings, settleRedisPorts } from "./redis-ports.ts";
import { findRedisServer } from "./redis-program.ts";
import { claim, type Run, releaseRun, writeRun } from "./run-file.ts";
import { entry, runServer } from "./server-command.ts";
import { Supervised } from "./supervised.ts";

export interface ClusterOptions {
  readonly folder: Folder;
  readonly nodes: readonly DevNode[];
  readonly say: (line: string) => void;
}

const readyTimeoutMs = 30_000;
const pollMs = 20;
const nodeGraceMs = 15_000;
const redisGraceMs = 10_000;
/** One region on this machine: nodes, a Redis with a replica, and a lock master. */
export class Cluster {
  readonly nodes: readonly DevNode[];
  readonly folder: Folder;
  readonly pki: PkiFiles;
  readonly #options: ClusterOptions;
  readonly #redisProgram: string;
  readonly #redisSettings: RedisSettings;
  readonly #redis = new Map<RedisRole, Supervised>();
  readonly #running = new Map<DevNode, Supervised>();
  #run: Run;
  #ready = false;

  private constructor(
    options: ClusterOptions,
    parts: {
      readonly pki: PkiFiles;
      readonly redisProgram: string;
      readonly redisSettings: RedisSettings;
      readonly run: Run;
    },
  ) {
    this.#options = options;
    this.nodes = options.nodes;
    this.folder = options.folder;
    this.pki = parts.pki;
    this.#redisProgram = parts.redisProgram;
    this.#redisSettings = parts.redisSettings;
    this.#run = parts.run;
  }

  /** Starts everything and waits until every node is ready; ends what it started where that fails. */
  static async start(options: ClusterOptions, signal: AbortSignal): Promise<Cluster> {
    const { folder, nodes } = options;
    const redisProgram = findRedisServer();
    makeFolder(folder);
    const run = await claim(folder);
    let cluster: Cluster | undefined;
    try {
      await checkFree(nodes.flatMap(listeners));
      const redisSettings = await settleRedisPorts(folder, options.say);
      const hosts = [...nodes.map(({ kmip }) => kmip.host), "127.0.0.1", "localhost"];
      const pki = await ensurePki(folder.pki, [...new Set(hosts)]);
      cluster = new Cluster(options, { pki, redisProgram, redisSettings, run });
      await cluster.#start(signal);
      return cluster;
    } catch (error) {
      await cluster?.stop();
      releaseRun(folder);
      throw error;
    }
  }

  /** The demo client, and the authority that it trusts. */
  get client(): TlsCredentials {
    return {
      ca: readFileSync(this.pki.ca, "utf8"),
      certificate: readFileSync(this.pki.clientCertificate, "utf8"),
      key: readFileSync(this.pki.clientKey, "utf8"),
    };
  }

  /** Says in `cluster.json` that the cluster can be used, and from now on starts again what ends. */
  ready(): void {
    this.#ready = true;
    this.#note();
    for (const one of this.#processes()) one.watch();
  }

  /** Ends nodes first, then Redis; what it holds stays for the next start. */
  async stop(): Promise<void> {
    rmSync(this.folder.cluster, { force: true });
    await Promise.all([...this.#running.values()].map((node) => node.stop(nodeGraceMs)));
    for (const role of redisRoles.toReversed()) await this.#redis.get(role)?.stop(redisGraceMs);
    releaseRun(this.folder);
  }

  async #start(signal: AbortSignal): Promise<void> {
    const { folder, nodes, pki } = this;
    prepareRedis(folder, this.#redisSettings.redisPorts);
    this.#refuseLost();
    await settled(redisRoles.map((role) => this.#startRedis(role)));
    signal.throwIfAborted();
    const replica = this.#redis.get("replica")?.child;
    if (replica !== undefined) await untilInStep(replica, folder, this.#redisSettings.redisPorts);
    signal.throwIfAborted();
    for (const node of nodes) {
      const config = nodeConfig(folder, node, pki, this.#redisSettings.redisPorts);
      writePrivate(nodeConfigFile(folder, node), config);
    }
    await this.#initialiseStore();
    await this.#forgetMoved();
    signal.throwIfAborted();
    await settled(nodes.map((node) => this.#startNode(node)));
    this.#note();
    await settled(nodes.map((node) => this.#untilReady(node, signal)));
  }

  #refuseLost(): void {
    const { initialised, root } = this.folder;
    if (!existsSync(initialised) || hasData(this.folder)) return;
    throw new StartError(
      `${root}: the data of its Redis is gone; put it back, or begin anew with \`npx holdfast dev reset --yes\``,
    );
  }

  async #startRedis(role: RedisRole): Promise<void> {
    const refusal = () =>
      role === "primary" && !hasData(this.folder)
        ? "its data is gone, and an empty one would lose keys"
        : undefined;
    const start = () =>
      startRedis(this.#redisProgram, this.folder, this.#redisSettings.redisPorts, role);
    this.#redis.set(role, await this.#supervise(start, refusal));
    this.#noteRun();
  }

  async #startNode(node: DevNode): Promise<void> {
    const start = () =>
      Child.start({
        name: `node ${node.name}`,
        command: process.execPath,
        args: [entry, "serve", "--config", nodeConfigFile(this.folder, node)],
        log: join(this.folder.log, `${node.name}.log`),
      });
    this.#running.set(node, await this.#supervise(start, () => undefined));
    this.#noteRun();
  }

  #supervise(start: () => Promise<Child>, refusal: () => string | undefined): Promise<Supervised> {
    const { say } = this.#options;
    return Supervised.start({ start, refusal, say, restarted: () => this.#note() });
  }

  /** Marks the new store as meant to be empty; only ever at a cluster's first start. */
  async #initialiseStore(): Promise<void> {
    if (existsSync(this.folder.initialised)) return;
    const store = (command: string) => runServer(["store", command, ...this.#anyConfig()]);
    try {
      await store("init");
    } catch (error) {
      // An earlier start that was cut off may have got so far: then the store has its mark, and can be asked.
      await store("replicas").catch(() => {
        throw new StartError(`the store cannot be initialised: ${reasonOf(error)}`);
      });
    }
    writePrivate(this.folder.initialised, "");
  }

  async #forgetMoved(): Promise<void> {
    for (const address of this.#redisSettings.forget) {
      await runServer(["store", "replicas", ...this.#anyConfig(), "--forget", address]);
    }
    noteForgotten(this.folder, this.#redisSettings);
  }

  #anyConfig(): readonly string[] {
    return this.nodes
      .slice(0, 1)
      .flatMap((node) => ["--config", nodeConfigFile(this.folder, node)]);
  }

  async #untilReady(node: DevNode, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + readyTimeoutMs;
    const child = this.#running.get(node)?.child;
    for (;;) {
      signal.throwIfAborted();
      if (await isReady(node)) return;
      if (child?.alive !== true) {
        const words = child?.lastWords() ?? "it said nothing";
        throw new StartError(`node ${node.name} ended at its start: ${words} (${child?.log})`);
      }
      if (performance.now() > deadline) {
        throw new StartError(
          `node ${node.name} was not ready within ${readyTimeoutMs} ms: its log says why (${child.log})`,
        );
      }
      await sleep(pollMs);
    }
  }

  #processes(): readonly Supervised[] {
    return [...this.#running.values(), ...this.#redis.values()];
  }

  #noteRun(): void {
    const processes = this.#processes().map(({ child: { name, identity } }) => ({
      name,
      ...identity,
    }));
    this.#run = { ...this.#run, processes };
    writeRun(this.folder, this.#run);
  }

  /** Writes what tools read to attach. */
  #note(): void {
    this.#noteRun();
    const { ca, clientCertificate, clientKey } = this.pki;
    writeJson(this.folder.cluster, {
      ready: this.#ready,
      nodes: [...this.#running].map(([node, { child }]) => ({
        region: node.region,
        node: node.name,
        kmip: printAddress(node.kmip),
        // gRPC serves health only, in plain text, so both are the same listener.
        grpc: printAddress(node.health),
        health: printAddress(node.health),
        http: printAddress(node.http),
        pid: child.identity.pid,
      })),
      redis: [...this.#redis].map(([role, { child }]) => ({
        region: this.nodes[0]?.region,
        role,
        address: printAddress({ host: redisHost, port: this.#redisSettings.redisPorts[role] }),
        pid: child.identity.pid,
      })),
      ca,
      clientCertificate,
      clientKey,
    });
  }
}

function listeners({ name, kmip, http, health }: DevNode) {
  return [
    { ...kmip, what: `KMIP of node ${name}` },
    { ...http, what: `metrics of node ${name}` },
    { ...health, what: `health of node ${name}` },
  ];
}

/** Waits for all, so that none is still on its way when the first failure is told. */
async function settled(promises: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(promises)) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}

async function isReady({ http }: DevNode): Promise<boolean> {
  try {
    const answer = await fetch(`http://${printAddress(http)}/readyz`, {
      signal: AbortSignal.timeout(1000),
    });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}
