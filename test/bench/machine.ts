import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import type { Region } from "../support/region.ts";
import { pykmipVersion } from "./pykmip.ts";

/** The facts about the machine that every figure depends on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  /** The average of the last minute before the first measurement. */
  readonly loadAverage: number;
  readonly commit: string | undefined;
  readonly node: string;
  readonly openssl: string;
  readonly redis: string;
  readonly pykmip: string | undefined;
}

/** Reads the facts from the machine and the running processes. */
export async function describeMachine(region: Region): Promise<Machine> {
  const git = spawnSync("git", ["describe", "--always", "--dirty"], {
    encoding: "utf8",
    cwd: join(import.meta.dirname, "../.."),
  });
  return {
    processor: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    kernel: release(),
    loadAverage: loadavg()[0] ?? 0,
    commit: git.status === 0 ? git.stdout.trim() : undefined,
    node: process.version,
    openssl: process.versions.openssl,
    redis: await region.redis.primary.info("redis_version"),
    pykmip: pykmipVersion(),
  };
}
