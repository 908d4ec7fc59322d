import { existsSync } from "node:fs";
import { join } from "node:path";
import { OperatorError, reasonOf } from "@holdfast/server/base";
import { type Folder, type RegionFolder, regionFolder, writePrivate } from "../base/folder.ts";
import { Child } from "../processes/child.ts";
import { entry, nodeCommand, runServer } from "../processes/server-command.ts";
import { Supervised } from "../processes/supervised.ts";
import {
  hasData,
  partName,
  prepareRedis,
  promoteReplica,
  type RedisRole,
  type RegionRedis,
  redisRoles,
  startRedis,
  untilInStep,
} from "../redis/redis.ts";
import type { RegionSettings } from "../redis/redis-ports.ts";
import { type NodeSettings, nodeConfig, nodeConfigFile } from "./node-config.ts";
import type { DevNode, DevRegion } from "./plan.ts";

export interface RunningRegionOptions {
  readonly folder: Folder;
  readonly region: DevRegion;
  readonly redisProgram: string;
  readonly settings: RegionSettings;
  readonly say: (line: string) => void;
  /** Called when a process has started, for the first time or again. */
  readonly started: () => void;
}

/** A node's settings, without its region's Redis. */
export type NodeNeeds = (node: DevNode) => Omit<NodeSettings, "redis">;

const nodeGraceMs = 15_000;
const redisGraceMs = 10_000;

/** The processes of one region: a Redis with a replica, a lock master, and nodes. */
export class RunningRegion {
  readonly region: DevRegion;
  readonly folder: RegionFolder;
  readonly redis: RegionRedis;
  readonly #options: RunningRegionOptions;
  /** By the names that messages and commands use. */
  readonly #parts = new Map<string, Supervised>();

  constructor(options: RunningRegionOptions) {
    const { region, redisProgram, settings } = options;
    this.#options = options;
    this.region = region;
    this.folder = regionFolder(options.folder, region.name);
    this.redis = {
      program: redisProgram,
      region: region.name,
      folder: this.folder,
      ports: settings.redisPorts,
    };
  }

  /** Every process by its name, in the order in which to end them. */
  get parts(): ReadonlyMap<string, Supervised> {
    const names = [
      ...this.region.nodes.map(({ name }) => name),
      ...redisRoles.toReversed().map((role) => partName(role, this.region.name)),
    ];
    return new Map(
      names.flatMap((name) => {
        const part = this.#parts.get(name);
        return part === undefined ? [] : [[name, part] as const];
      }),
    );
  }

  node(node: DevNode): Supervised | undefined {
    return this.#parts.get(node.name);
  }

  redisOf(role: RedisRole): Supervised | undefined {
    return this.#parts.get(partName(role, this.region.name));
  }

  /**
   * Starts Redis. If the store is new or its ports have changed, waits until the replica has what the primary has, and
   * marks a new store as meant to be empty.
   */
  async startStore(needs: NodeNeeds, signal: AbortSignal): Promise<void> {
    this.#replaceLost();
    prepareRedis(this.folder, this.redis.ports);
    await settled([this.#startPair(), this.#startRedis("lock")]);
    signal.throwIfAborted();
    for (const node of this.region.nodes) {
      const config = nodeConfig(node, { redis: this.redis, ...needs(node) });
      writePrivate(nodeConfigFile(this.#options.folder, node), config);
    }
    const { forget } = this.#options.settings;
    if (existsSync(this.folder.initialised) && forget.length === 0) return;
    await this.#untilInStep();
    signal.throwIfAborted();
    await this.#initialiseStore();
    for (const address of forget) {
      await runServer(["store", "replicas", ...this.#anyConfig(), "--forget", address]);
    }
  }

  /** Starts the nodes. They load while the replica copies; resolves when that has what the primary has. */
  async startNodes(): Promise<void> {
    const nodes = this.region.nodes.map((node) => this.#startNode(node));
    await settled([...nodes, this.#untilInStep()]);
  }

  async stopNodes(): Promise<void> {
    const nodes = this.region.nodes.map((node) => this.node(node));
    await Promise.all(nodes.map(async (node) => await node?.stop(nodeGraceMs)));
  }

  async stopStore(): Promise<void> {
    for (const role of redisRoles.toReversed()) await this.redisOf(role)?.stop(redisGraceMs);
  }

  /** If the primary has lost its data, it gets its replica's. If both have lost it, the start fails. */
  #replaceLost(): void {
    const { folder, region } = this;
    if (!existsSync(folder.initialised) || hasData(folder, "primary")) return;
    if (!hasData(folder, "replica")) {
      throw new OperatorError(
        `${folder.redis}: the data of this Redis is gone; put it back, or start over with \`npx holdfast dev reset --yes\``,
      );
    }
    promoteReplica(folder);
    const [lost, kept] = [partName("primary", region.name), partName("replica", region.name)];
    this.#options.say(
      `the data of ${lost} is gone: it continues with ${kept}'s, which copies it back`,
    );
  }

  /** The replica comes after the primary: if it does not find it at once, it looks again only a second later. */
  async #startPair(): Promise<void> {
    await this.#startRedis("primary");
    await this.#startRedis("replica");
  }

  async #untilInStep(): Promise<void> {
    const replica = this.redisOf("replica")?.child;
    if (replica !== undefined) await untilInStep(replica, this.redis);
  }

  async #startRedis(role: RedisRole): Promise<void> {
    const refusal = () =>
      role === "primary" && !hasData(this.folder, role)
        ? "its data is gone, and an empty one would lose keys; stop and start the cluster, which continues with the replica's"
        : undefined;
    await this.#supervise(
      partName(role, this.region.name),
      () => startRedis(this.redis, role),
      refusal,
    );
  }

  async #startNode(node: DevNode): Promise<void> {
    const { folder } = this.#options;
    const start = () =>
      Child.start({
        name: `node ${node.name}`,
        ...nodeCommand(entry, ["serve", "--config", nodeConfigFile(folder, node)]),
        log: join(folder.log, `${node.name}.log`),
      });
    await this.#supervise(node.name, start, () => undefined);
  }

  async #supervise(
    name: string,
    start: () => Promise<Child>,
    refusal: () => string | undefined,
  ): Promise<void> {
    const { say, started } = this.#options;
    this.#parts.set(name, await Supervised.start({ start, refusal, say, restarted: started }));
    started();
  }

  /** Marks the new store as meant to be empty; only at a cluster's first start. */
  async #initialiseStore(): Promise<void> {
    if (existsSync(this.folder.initialised)) return;
    const store = (command: string) => runServer(["store", command, ...this.#anyConfig()]);
    try {
      await store("init");
    } catch (error) {
      // An interrupted earlier start may have marked the store already: then the store answers a command.
      await store("replicas").catch(() => {
        throw new OperatorError(`the store cannot be initialised: ${reasonOf(error)}`);
      });
    }
    writePrivate(this.folder.initialised, "");
  }

  #anyConfig(): readonly string[] {
    return this.region.nodes
      .slice(0, 1)
      .flatMap((node) => ["--config", nodeConfigFile(this.#options.folder, node)]);
  }
}

/** Waits for all, so that none is still running when the first failure is reported. */
export async function settled(promises: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(promises)) {
    if (outcome.status === "rejected") throw outcome.reason;
  }
}
