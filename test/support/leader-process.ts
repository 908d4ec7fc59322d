import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { StoreUnavailable, type Timers } from "@holdfast/engine";
import { RedisLeaderLock, type RedisStore } from "@holdfast/redis";
import { type DutyContext, Leader } from "@holdfast/regions";
import { until } from "@holdfast/testing";
import { kill } from "./child.ts";
import { openStore, patientConnection, systemClock, systemIds } from "./redis-store.ts";

/** One line of output of a leader's process. */
export interface LeaderLine {
  readonly at: number;
  /** `leader`: state in the election; `write`: result of a write; `stands`: it is a candidate. */
  readonly type: "leader" | "write" | "stands";
  readonly state: string;
  readonly epoch: number;
}

const entry = join(import.meta.dirname, "leader-process.ts");
const timers: Timers = {
  ...systemClock,
  sleep: (ms, signal) => sleep(ms, undefined, signal && { signal }),
};
/** How long the duty waits between decision and write: time to stop the process. */
const decidedMs = 400;

/** A candidate process with a real store and real lock masters, and one duty that writes. */
export class LeaderProcess implements AsyncDisposable {
  readonly lines: LeaderLine[] = [];
  readonly #child: ReturnType<typeof spawn>;

  constructor(store: string, locks: readonly string[]) {
    this.#child = spawn(process.execPath, [entry, store, ...locks], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (this.#child.stdout !== null) {
      createInterface(this.#child.stdout).on("line", (line) => this.lines.push(JSON.parse(line)));
    }
  }

  /** Resolves with the first matching line from `from` on. */
  async says(what: string, wanted: Partial<LeaderLine>, from = 0): Promise<LeaderLine> {
    let found: LeaderLine | undefined;
    await until(what, async () => {
      found = this.lines
        .slice(from)
        .find((line) =>
          Object.entries(wanted).every(([key, value]) => line[key as never] === value),
        );
      return found !== undefined;
    });
    return found as LeaderLine;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Closes the leader, as a node that drains does, and waits for the end of the process. */
  async close(): Promise<void> {
    this.#child.stdin?.end();
    await once(this.#child, "exit");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#child);
  }
}

function say(line: Omit<LeaderLine, "at">): void {
  process.stdout.write(`${JSON.stringify({ at: Date.now(), ...line })}\n`);
}

/** Decides, waits, and then writes until the store accepts or refuses it. */
async function write(store: RedisStore, { epoch }: DutyContext): Promise<void> {
  say({ type: "write", state: "decided", epoch });
  await sleep(decidedMs);
  for (;;) {
    try {
      await store.setCursor(5, "other", { replicationId: "r", number: epoch }, epoch);
      return say({ type: "write", state: "written", epoch });
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      say({ type: "write", state: error.failure, epoch });
      // Other failures mean that the store's lease lapsed, which a stopped process finds first.
      if (error.failure === "deposed") throw error;
      await sleep(20);
    }
  }
}

async function main([address = "", ...urls]: readonly string[]): Promise<void> {
  const { store } = await openStore({ address, ...patientConnection });
  const lock = await RedisLeaderLock.open({ urls });
  const leader = new Leader({
    lock,
    own: store,
    timers,
    ids: systemIds,
    observe: (event) => {
      if (event.type !== "leader") return;
      say({ type: "leader", state: event.state, epoch: event.epoch });
    },
    duties: [
      {
        name: "write",
        everyMs: 10,
        run: async (context) => {
          await write(store, context);
          return { done: 1, left: 0 };
        },
      },
    ],
  });
  say({ type: "stands", state: "", epoch: 0 });
  process.stdin.resume();
  await once(process.stdin, "end");
  await leader.close();
  await lock[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
}

if (process.argv[1] === entry) await main(process.argv.slice(2));
