import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, rmSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ids, type RootOfTrust, SealBroken } from "@holdfast/engine";
import { initialiseStore, openRedisStore, type RedisStore } from "@holdfast/redis";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";
import { findRedisServer } from "../../base/redis-program.ts";
import type { Machine } from "../../base/system.ts";
import { atExit } from "../at-exit.ts";

const host = "127.0.0.1";
const startMs = 20_000;
const pollMs = 20;
const stopMs = 5_000;
const portTriesMax = 5;

/** A Redis of this process alone, with a store. Only this user can read its files; none remain. */
export class PrivateRedis implements AsyncDisposable {
  readonly store: RedisStore;
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #leftover: Disposable;

  private constructor(store: RedisStore, folder: string, child: ChildProcess) {
    this.store = store;
    this.#folder = folder;
    this.#child = child;
    this.#leftover = atExit(() => takeAway(folder, child));
  }

  /** Rejects with an `OperatorError` if no redis-server is found, or it does not start. */
  static async start(machine: Machine): Promise<PrivateRedis> {
    const { environment, ids } = machine;
    const program = findRedisServer(environment["PATH"]);
    const folder = await mkdtemp(join(tmpdir(), "holdfast-drill-"));
    let child: ChildProcess | undefined;
    using _leftover = atExit(() => takeAway(folder, child));
    try {
      for (let tries = 1; ; tries++) {
        const port = await freePort();
        const password = Buffer.from(ids.randomBytes(24)).toString("hex");
        child = await startProcess(program, folder, port, password);
        const store = await openStore(child, port, password, machine).catch(
          async (error: unknown) => {
            await stop(child);
            // Another process may have taken the port meanwhile.
            if (tries < portTriesMax && (await wasTaken(folder))) return undefined;
            throw new OperatorError(`a private Redis did not start: ${reasonOf(error)}`);
          },
        );
        if (store !== undefined) return new PrivateRedis(store, folder, child);
      }
    } catch (error) {
      await stop(child);
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]();
    await stop(this.#child);
    await rm(this.#folder, { recursive: true, force: true });
    this.#leftover[Symbol.dispose]();
  }
}

/** Removes all at once: nothing can be awaited in a process that exits. */
function takeAway(folder: string, child: ChildProcess | undefined): void {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

async function startProcess(
  program: string,
  folder: string,
  port: number,
  password: string,
): Promise<ChildProcess> {
  const settings = {
    bind: host,
    port: String(port),
    dir: folder,
    requirepass: password,
    appendonly: "yes",
    appendfsync: "always",
    "maxmemory-policy": "noeviction",
    save: '""',
    "auto-aof-rewrite-percentage": "0",
  };
  const file = join(folder, "redis.conf");
  // In a file, not in arguments, which everybody on the machine can read.
  const text = Object.entries(settings).map(([name, value]) => `${name} ${value}\n`);
  await writeFile(file, text.join(""), { mode: 0o600 });
  const child = spawn(program, [file], { stdio: ["ignore", "pipe", "pipe"], cwd: folder });
  const log = createWriteStream(logOf(folder), { mode: 0o600 });
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  child.once("error", () => undefined);
  return child;
}

async function openStore(
  child: ChildProcess,
  port: number,
  password: string,
  { clock, ids }: Machine,
): Promise<RedisStore> {
  const address = `${host}:${port}`;
  const access = { address, password, replicas: 0, commandTimeoutMs: 10_000 };
  const connection = { ...access, region: "drill", root: rootInMemory(ids) };
  const untilMs = clock.monotonicMs() + startMs;
  for (;;) {
    try {
      await initialiseStore({ ...connection, ids });
      break;
    } catch (error) {
      if (child.exitCode !== null || clock.monotonicMs() > untilMs) throw error;
      await clock.sleep(pollMs);
    }
  }
  return await openRedisStore({
    ...connection,
    clock,
    observe: () => undefined,
    // Nobody else uses it, and a slow disk must not end the drill.
    storeLeaseMs: 60_000,
  });
}

/** A root of trust for a store of this process alone: it keeps what it wraps in memory. */
function rootInMemory(
  ids: Pick<Ids, "randomBytes">,
): Pick<RootOfTrust, "describe" | "wrap" | "unwrap" | "rewrap"> {
  const kept = new Map<string, Uint8Array>();
  const version = "1";
  return {
    describe: async () => ({ kind: "memory", name: "memory", currentVersion: version }),
    wrap: async (plaintext) => {
      const blob = ids.randomBytes(16);
      kept.set(Buffer.from(blob).toString("hex"), Uint8Array.from(plaintext));
      return { blob, version };
    },
    unwrap: async (blob) => {
      const plaintext = kept.get(Buffer.from(blob).toString("hex"));
      if (plaintext === undefined) throw new SealBroken("it was wrapped elsewhere");
      return { plaintext: Uint8Array.from(plaintext), version };
    },
    rewrap: async () => undefined,
  };
}

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
  await ended;
  clearTimeout(timer);
}

async function wasTaken(folder: string): Promise<boolean> {
  const said = await readFile(logOf(folder), "utf8").catch(() => "");
  return said.includes("Address already in use");
}

function logOf(folder: string): string {
  return join(folder, "redis.log");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port was given");
  return address.port;
}
