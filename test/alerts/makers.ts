import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { AdminClient } from "@holdfast/admin";
import { answerOf, until } from "@holdfast/testing";
import type { RedisServer } from "../support/redis.ts";
import { issuePeer, writePeerCertificate } from "../support/region.ts";
import type { TwoRegions } from "../support/two-regions.ts";
import { vitalsOf } from "../support/vitals.ts";
import { type AlertWorld, certificateDays } from "./world.ts";

/** Ends a fault; the caller then restarts the processes that the fault killed. */
export type Mend = () => Promise<void> | void;

export function replicaOf(both: TwoRegions, region: "a" | "b"): RedisServer {
  const [replica] = both.region(region).redis.replicas;
  if (replica === undefined) throw new Error("the region has no replica");
  return replica;
}

/** Waits until a node leads the region; its name. */
export async function leaderOf(both: TwoRegions, region: "a" | "b"): Promise<string> {
  let leader = "";
  await until(`a leader of region ${region}`, async () => {
    for (const node of both.region(region).nodes) {
      const vitals = await vitalsOf(node).catch(() => undefined);
      if (vitals?.leads) leader = node.name;
    }
    return leader !== "";
  });
  return leader;
}

/** Stops a Redis briefly again and again, like a disk that is too slow. */
export function pulse(server: RedisServer, stoppedMs: number, runningMs: number): Mend {
  const ended = new AbortController();
  const pulses = (async () => {
    while (!ended.signal.aborted) {
      server.signal("SIGSTOP");
      await sleep(stoppedMs);
      server.signal("SIGCONT");
      await sleep(runningMs);
    }
  })();
  return async () => {
    ended.abort();
    await pulses;
  };
}

/** Denies certificates that nobody has, until it is ended; then lifts all of these denials. */
export function denyMany(admin: AdminClient): Mend {
  const ended = new AbortController();
  const made: string[] = [];
  const work = (async () => {
    while (!ended.signal.aborted) {
      const body = { fingerprint: randomBytes(32).toString("hex"), reason: "a test" };
      // The same denial is made once, also if an answer was lost and it is asked for again.
      const deny = () => admin.call<"addDenial">("addDenial", { body });
      made.push((await answerOf("a denial", deny, () => true)).id);
      await sleep(2_000, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  })();
  return async () => {
    ended.abort();
    await work;
    for (const denial of made) {
      const isGone = (error: { code?: unknown }) => error.code === "notFound" || String(error);
      const lift = () =>
        admin.call("removeDenial", { params: { denial } }).then(() => true, isGone);
      await until("the denial is lifted", lift);
    }
  };
}

export async function memory(primary: RedisServer, bytes: string): Promise<Mend> {
  await primary.command("config", "set", "maxmemory", bytes);
  return async () => {
    await primary.command("config", "set", "maxmemory", "0");
  };
}

/** Limits the size of the process's files: a write beyond it fails, as on a full disk. */
export function limitFiles({ pid }: RedisServer, bytes: number | "unlimited"): void {
  execFileSync("prlimit", ["--pid", `${pid}`, `--fsize=${bytes}:unlimited`]);
}

/** Makes Redis rewrite its append-only file, and waits for this result. */
export async function rewritten(server: RedisServer, status: "ok" | "err"): Promise<void> {
  await server.command("bgrewriteaof");
  await until(`the append-only file: ${status}`, async () => {
    const under = await server.info("aof_rewrite_in_progress");
    return under === "0" && (await server.info("aof_last_bgrewrite_status")) === status;
  });
}

/** Gives the nodes of region a other peer certificates; the returned function replaces them with long ones. */
export async function withPeerCertificate({ both }: AlertWorld, days: number): Promise<Mend> {
  const write = async (lasts: number) => {
    for (const { name } of both.a.nodes) {
      const issued = await issuePeer(both.peerAuthority, "a", lasts, name);
      await writePeerCertificate(both.a.folder, name, issued);
    }
  };
  await write(days);
  return () => write(certificateDays);
}
