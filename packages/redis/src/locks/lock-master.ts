import { setTimeout as delay } from "node:timers/promises";
import type { ConnectionOptions } from "node:tls";
import { Redis } from "ioredis";
import type { LockCallback, LockClient } from "redlock";
import { isTimeout } from "../connection/failure.ts";
import { reportCertificate, type ShownCertificate } from "../connection/shown-certificate.ts";

const reconnectMs = 200;
/** Uses only commands that redlock's own scripts use. */
const heldScript = `if redis.call("get", KEYS[1]) then return 1 end return 0`;

/** How long a node's note of its store is kept. */
const noteMs = 10_000;
/** Most notes that are kept; a region has fewer nodes. */
const notesMax = 64;
/** Most bytes of a node's name, as the configuration allows. */
const nameBytes = 32;
/**
 * Notes which store a node uses, and returns what other nodes have noted: name, store, and age in milliseconds of each. Nodes
 * are told apart by an id of the process, since two may have the same name by mistake. The key expires, since a store that
 * is its own lock master must become empty when it is emptied. A key or an element that no node writes is replaced or
 * left out, and so is a note whose time is far ahead: the clock was set back.
 */
const noteScript = `#!lua flags=allow-oom
local time = redis.call("time")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept, noted = { { ARGV[1], ARGV[2], now, ARGV[4] } }, {}
local function ageOf(each)
  if type(each) ~= "table" or type(each[1]) ~= "string" or type(each[2]) ~= "string" then return nil end
  if type(each[3]) ~= "number" or each[4] == ARGV[4] or #each[1] > ${nameBytes} then return nil end
  local age = now - each[3]
  return math.abs(age) <= tonumber(ARGV[3]) and math.max(0, age) or nil
end
local old = redis.pcall("get", KEYS[1])
local fine, list = pcall(cjson.decode, type(old) == "string" and old or "[]")
for _, each in ipairs(fine and type(list) == "table" and list or {}) do
  local age = ageOf(each)
  if age and #kept < ${notesMax} then
    table.insert(kept, { each[1], each[2], each[3], each[4] })
    table.insert(noted, { each[1], each[2], tostring(age) })
  end
end
redis.call("set", KEYS[1], cjson.encode(kept), "PX", ARGV[3])
return noted`;

/** Names that the configuration allows, and ids of stores: what is noted at a lock master is printed. */
const nodeName = /^[a-z0-9-]+$/;
const storeIdText = /^[0-9a-f]{32}$/;

type Noted = readonly [node: string, storeId: string, ageMs: string];

/** What a node notes at the lock masters. */
export interface Note {
  readonly node: string;
  readonly storeId: string;
  /** Another one for each process: two nodes may have the same name by mistake. */
  readonly processId: string;
}

/** The store that a node noted at a lock master, and how long ago. */
export interface NotedStore {
  readonly node: string;
  readonly storeId: string;
  readonly ageMs: number;
}

/**
 * Scripts of redlock that run when a lock master is at `maxmemory`: a lock is small and expires by
 * itself, and a store that is its own lock master needs a leader to free memory.
 */
export const runWhenFull = {
  lockScript: allowOom,
  extendScript: allowOom,
} as const;

function allowOom(script: string): string {
  return `#!lua flags=allow-oom\n${script}`;
}

/**
 * One lock master. A command that takes too long ends the connection, which is opened again in the
 * background.
 */
export class LockMaster implements LockClient {
  readonly #redis: Redis;

  constructor(
    url: string,
    commandTimeoutMs: number,
    tls: ConnectionOptions | undefined,
    onCertificate?: (shown: ShownCertificate) => void,
  ) {
    this.#redis = new Redis(url, {
      ...(tls !== undefined && url.startsWith("rediss:") ? { tls } : {}),
      commandTimeout: commandTimeoutMs,
      connectTimeout: 1_000,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      retryStrategy: () => reconnectMs,
      protocol: 2,
      disableClientInfo: true,
      connectionName: "holdfast-lock",
    });
    this.#redis.on("error", () => undefined);
    const { host, port } = new URL(url);
    const server = { kind: "lockMaster", address: port === "" ? `${host}:6379` : host } as const;
    this.#redis.on("connect", () => {
      reportCertificate(this.#redis.stream, server, onCertificate);
    });
  }

  get ready(): boolean {
    return this.#redis.status === "ready";
  }

  /** Waits for the first connection, for a bounded time. */
  async connected(): Promise<void> {
    for (let tries = 0; tries < 20 && !this.ready; tries += 1) await delay(25);
  }

  /** Whether the resource is locked here; undefined where the lock master does not answer. */
  async holds(resource: string): Promise<boolean | undefined> {
    try {
      return (await this.#redis.call("eval", heldScript, "1", resource)) === 1;
    } catch (error) {
      this.#endIfLate(error);
      return undefined;
    }
  }

  /**
   * Notes which store a node uses, a process with this id; returns what other processes have noted here, or nothing without
   * an answer.
   */
  async note(resource: string, { node, storeId, processId }: Note): Promise<readonly NotedStore[]> {
    const args = ["1", resource, node, storeId, `${noteMs}`, processId];
    try {
      const noted = (await this.#redis.call("eval", noteScript, ...args)) as readonly Noted[];
      const known = noted.filter(([of, id]) => nodeName.test(of) && storeIdText.test(id));
      return known.map(([of, id, ageMs]) => ({ node: of, storeId: id, ageMs: Number(ageMs) }));
    } catch (error) {
      this.#endIfLate(error);
      return [];
    }
  }

  evalsha(sha: string, args: readonly unknown[], done: LockCallback): void {
    this.#call("evalsha", [sha, ...args], done);
  }

  eval(args: readonly unknown[], done: LockCallback): void {
    this.#call("eval", args, done);
  }

  async quit(): Promise<void> {
    this.close();
  }

  close(): void {
    this.#redis.disconnect();
    this.#redis.stream?.destroy();
  }

  #call(name: string, args: readonly unknown[], done: LockCallback): void {
    this.#redis.call(name, args.map(String)).then(
      (result) => {
        // `done` returns a promise that redlock handles; it must not become part of ours.
        done(null, result);
      },
      (error: Error) => {
        this.#endIfLate(error);
        done(error);
      },
    );
  }

  /** ioredis keeps a command that timed out until the connection ends. */
  #endIfLate(error: unknown): void {
    if (isTimeout(error)) this.#redis.stream?.destroy();
  }
}
