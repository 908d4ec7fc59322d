import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRedisServer } from "@holdfast/server/base";
import { freePort, until } from "@holdfast/testing";
import { Redis } from "ioredis";
import { valkeyDirectory } from "../../scripts/redis-path.mjs";
import { isRunning, kill, spawnBound } from "./child.ts";

/** Settings with which a Redis keeps what it acknowledges; a server's `config` may change them. */
const safe: Readonly<Record<string, string>> = {
  appendonly: "yes",
  appendfsync: "always",
  "maxmemory-policy": "noeviction",
  save: '""',
  "repl-diskless-sync-delay": "0",
  "repl-timeout": "60",
};

/** The folder of Valkey's programs, under the names of Redis', in the vitest project `valkey`. */
export const storePrograms: string | undefined =
  process.env["HOLDFAST_STORE"] === "valkey" ? valkeyDirectory : undefined;

function serverProgram(): string {
  return storePrograms === undefined ? findRedisServer() : join(storePrograms, "redis-server");
}

/** How long the test's own client waits for an answer, in milliseconds. A busy machine may give Redis nothing for long. */
const patienceMs = 60_000;

/** The options of a Redis process. */
export interface RedisOptions {
  readonly host?: string;
  /** A free port unless given. */
  readonly port?: number;
  /** Directives of redis.conf, added to those of a safe store. */
  readonly config?: Readonly<Record<string, string>>;
  /** Further lines of redis.conf, for directives that are repeated. */
  readonly lines?: readonly string[];
  readonly replicaOf?: { readonly host: string; readonly port: number };
  /** How `command` and `ready` log in and encrypt. */
  readonly client?: ClientOptions;
}

/** The credentials of the test's own client. */
export interface ClientOptions {
  readonly username?: string;
  readonly password?: string;
  readonly tls?: { readonly ca: string | Buffer; readonly servername?: string };
}

/**
 * A real Redis process in its own directory. Disposing it kills it and removes the directory; the kernel also kills it
 * when the test process ends in any way.
 */
export class RedisServer implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly directory: string;
  readonly #options: RedisOptions;
  readonly #sentinel: boolean;
  #child: ChildProcess | undefined;
  #client: Redis | undefined;

  protected constructor(
    host: string,
    port: number,
    directory: string,
    options: RedisOptions,
    sentinel: boolean,
  ) {
    this.host = host;
    this.port = port;
    this.directory = directory;
    this.#options = options;
    this.#sentinel = sentinel;
  }

  /** Starts one and waits until it answers. */
  static async start(options: RedisOptions = {}): Promise<RedisServer> {
    return RedisServer.launch(options, false);
  }

  protected static async launch(options: RedisOptions, sentinel: boolean): Promise<RedisServer> {
    const host = options.host ?? "127.0.0.1";
    const port = options.port ?? (await freePort(host));
    const directory = await mkdtemp(join(tmpdir(), "holdfast-redis-"));
    const server = new RedisServer(host, port, directory, options, sentinel);
    try {
      await server.#configure();
      await server.boot();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** `host:port`. */
  get address(): string {
    return `${this.host}:${this.port}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`Redis ${this.address} does not run`);
    return pid;
  }

  get running(): boolean {
    return isRunning(this.#child);
  }

  /** Sends a command as the test; text comes back as strings. */
  async command(name: string, ...args: (string | number | Buffer)[]): Promise<unknown> {
    return this.#connected().call(name, ...args.map(argument));
  }

  /** The same for a list of byte strings. */
  async buffers(name: string, ...args: (string | number | Buffer)[]): Promise<Buffer[]> {
    return (await this.#connected().callBuffer(name, ...args.map(argument))) as Buffer[];
  }

  #connected(): Redis {
    if (this.#client === undefined || this.#client.status === "end") {
      this.#client?.disconnect();
      this.#client = new Redis({
        host: this.host,
        port: this.port,
        lazyConnect: true,
        retryStrategy: null,
        enableReadyCheck: false,
        connectTimeout: patienceMs,
        commandTimeout: patienceMs,
        disableClientInfo: true,
        protocol: 2,
        ...this.#options.client,
      });
      this.#client.on("error", () => undefined);
    }
    return this.#client;
  }

  /** One field of INFO. */
  async info(field: string): Promise<string> {
    const text = String(await this.command("info", "everything"));
    return new RegExp(`^${field}:(.*)\r$`, "m").exec(text)?.[1] ?? "";
  }

  /** Sends a signal: SIGSTOP freezes it, SIGCONT thaws it. */
  signal(signal: "SIGSTOP" | "SIGCONT" | "SIGTERM"): void {
    process.kill(this.pid, signal);
  }

  /** Kills it with SIGKILL, and waits for its end. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#client?.disconnect();
    this.#client?.stream?.destroy();
    this.#client = undefined;
    this.#child = undefined;
    await kill(child);
  }

  /** Restarts it at the same address, with its data unless `empty`. */
  async restart({ empty = false }: { readonly empty?: boolean } = {}): Promise<void> {
    await this.kill();
    if (empty) {
      await rm(join(this.directory, "appendonlydir"), { recursive: true, force: true });
      await rm(join(this.directory, "dump.rdb"), { force: true });
    }
    await this.boot();
  }

  /** Waits until `replicas` are connected and in step. */
  async replicasInStep(replicas: number): Promise<void> {
    await until(`${replicas} replicas of ${this.address}`, async () => {
      await this.command("set", "holdfast-test-in-step", "1");
      await this.command("del", "holdfast-test-in-step");
      const counts = (await this.command("waitaof", 1, replicas, 200)) as number[];
      return (counts[1] ?? 0) >= replicas;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #configure(): Promise<void> {
    const { config = {}, lines = [], replicaOf } = this.#options;
    const base = this.#sentinel ? {} : safe;
    const all = {
      bind: this.host,
      port: String(this.port),
      dir: this.directory,
      "protected-mode": "no",
      daemonize: "no",
      logfile: join(this.directory, "log"),
      ...base,
      ...config,
    };
    const text = [
      ...Object.entries(all).map(([name, value]) => `${name} ${value}`),
      ...(replicaOf === undefined ? [] : [`replicaof ${replicaOf.host} ${replicaOf.port}`]),
      ...lines,
    ].join("\n");
    await mkdir(this.directory, { recursive: true });
    await writeFile(join(this.directory, "redis.conf"), `${text}\n`);
  }

  protected async boot(): Promise<void> {
    const args = [join(this.directory, "redis.conf"), ...(this.#sentinel ? ["--sentinel"] : [])];
    const child = spawnBound(serverProgram(), args, { stdio: "ignore" });
    this.#child = child;
    await until(`Redis ${this.address}`, async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended: see ${this.directory}/log`);
      const answer = await this.command("ping").catch((error: Error) => error.message);
      // A server that refuses the test's login has started too.
      return /^(PONG|NOAUTH|WRONGPASS)/.test(String(answer));
    });
  }
}

/** A Sentinel process that watches one primary under the name `holdfast`. */
export class SentinelServer extends RedisServer {
  /** Starts one; `quorum` Sentinels must agree that the primary is down. */
  static async watching(
    primary: { readonly host: string; readonly port: number },
    quorum: number,
    options: {
      readonly downAfterMs?: number;
      readonly lines?: readonly string[];
      readonly client?: ClientOptions;
      readonly config?: Readonly<Record<string, string>>;
      readonly port?: number;
    } = {},
  ): Promise<RedisServer> {
    const { downAfterMs = 1_500, lines = [], client, config, port } = options;
    return RedisServer.launch(
      {
        ...(port !== undefined && { port }),
        ...(client !== undefined && { client }),
        ...(config !== undefined && { config }),
        lines: [
          `sentinel monitor ${sentinelName} ${primary.host} ${primary.port} ${quorum}`,
          `sentinel down-after-milliseconds ${sentinelName} ${downAfterMs}`,
          `sentinel failover-timeout ${sentinelName} 10000`,
          `sentinel parallel-syncs ${sentinelName} 2`,
          ...lines,
        ],
      },
      true,
    );
  }
}

/** The name under which Sentinels know the store. */
export const sentinelName = "holdfast";

/** A primary, its replicas, and the Sentinels that watch it. */
export interface RedisGroup extends AsyncDisposable {
  readonly primary: RedisServer;
  readonly replicas: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** The server at an address. */
  at(address: string): RedisServer;
  /** The address that the first Sentinel names as primary. */
  promoted(): Promise<string>;
}

/** Starts a primary with replicas in step and, if wanted, Sentinels that know all of them. */
export async function startGroup(options: {
  readonly replicas: number;
  readonly sentinels?: number;
  readonly downAfterMs?: number;
  readonly config?: Readonly<Record<string, string>>;
}): Promise<RedisGroup> {
  const { config = {} } = options;
  await using stack = new AsyncDisposableStack();
  const primary = stack.use(await RedisServer.start({ config }));
  const replicas = await Promise.all(
    Array.from({ length: options.replicas }, async () =>
      stack.use(await RedisServer.start({ config, replicaOf: primary })),
    ),
  );
  await primary.replicasInStep(options.replicas);
  const count = options.sentinels ?? 0;
  const downAfter = options.downAfterMs === undefined ? {} : { downAfterMs: options.downAfterMs };
  const sentinels = await Promise.all(
    Array.from({ length: count }, async () =>
      stack.use(await SentinelServer.watching(primary, Math.floor(count / 2) + 1, downAfter)),
    ),
  );
  for (const sentinel of sentinels) await knowsAll(sentinel, options.replicas, count);
  const kept = stack.move();
  return {
    primary,
    replicas,
    sentinels,
    at: (address) => {
      const found = [primary, ...replicas].find((server) => server.address === address);
      if (found === undefined) throw new Error(`no Redis at ${address}`);
      return found;
    },
    promoted: async () => {
      const answer = await sentinels[0]?.command(
        "sentinel",
        "get-master-addr-by-name",
        sentinelName,
      );
      return (answer as string[]).join(":");
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function knowsAll(sentinel: RedisServer, replicas: number, sentinels: number): Promise<void> {
  await until(`Sentinel ${sentinel.address}`, async () => {
    const flat = (await sentinel.command("sentinel", "master", sentinelName)) as string[];
    const field = (name: string): string | undefined => flat[flat.indexOf(name) + 1];
    return (
      Number(field("num-slaves")) >= replicas &&
      Number(field("num-other-sentinels")) >= sentinels - 1
    );
  });
}

function argument(arg: string | number | Buffer): string | Buffer {
  return Buffer.isBuffer(arg) ? arg : String(arg);
}
