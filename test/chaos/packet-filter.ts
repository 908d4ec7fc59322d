import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { userInfo } from "node:os";

const prefix = "holdfast_chaos_";
/** Groups above those that machines give to people and services. */
const firstGroup = 1_870_000;

/** Cuts a process off from ports of this machine without a word, by the group that its sockets belong to (nftables). */
export class PacketFilter implements Disposable {
  /** Why there is none; undefined where there is. */
  readonly missing: string | undefined;
  readonly #table = `${prefix}${process.pid}`;

  constructor() {
    this.missing = whyMissing();
    if (this.missing !== undefined) return;
    removeLeftovers();
    const made =
      nft(`add table inet ${this.#table}`) &&
      nft(`add chain inet ${this.#table} out { type filter hook output priority 0; }`);
    if (!made) this.missing = "nft refuses to make a table";
  }

  /** The group for the n-th process. */
  groupOf(n: number): number | undefined {
    return this.missing === undefined ? firstGroup + n : undefined;
  }

  /** Drops what processes of the group send to these ports. */
  cut(group: number, ports: readonly number[]): void {
    const list = ports.join(", ");
    nft(`add rule inet ${this.#table} out meta skgid ${group} tcp dport { ${list} } drop`);
  }

  /** Lets everything through again. */
  heal(): void {
    nft(`flush chain inet ${this.#table} out`);
  }

  [Symbol.dispose](): void {
    if (this.missing === undefined) nft(`delete table inet ${this.#table}`);
  }
}

/** Takes away the tables of runs that were killed. */
function removeLeftovers(): void {
  const tables = spawnSync("nft", ["list tables"], { encoding: "utf8" }).stdout;
  for (const [table, pid] of tables.matchAll(new RegExp(`${prefix}(\\d+)`, "g"))) {
    if (!existsSync(`/proc/${pid}`)) nft(`delete table inet ${table}`);
  }
}

function whyMissing(): string | undefined {
  if (userInfo().uid !== 0) return "needs root and nftables";
  if (!existsSync("/usr/bin/setpriv")) return "needs setpriv";
  return nft("list tables") ? undefined : "needs nftables";
}

function nft(command: string): boolean {
  return spawnSync("nft", [command], { stdio: "ignore" }).status === 0;
}
