import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { userInfo } from "node:os";

const prefix = "holdfast_chaos_";
/** Group IDs above those of users and services. */
const firstGroup = 1_870_000;

/** Drops a process's packets to ports of this machine, by the group of its sockets (nftables). */
export class PacketFilter implements Disposable {
  /** Why no filter is available; undefined if one is. */
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

  /** Drops packets from processes of the group to these ports; false if it was refused. */
  cut(group: number, ports: readonly number[]): boolean {
    const list = ports.join(", ");
    return nft(`add rule inet ${this.#table} out meta skgid ${group} tcp dport { ${list} } drop`);
  }

  /** Lets all packets pass again. */
  heal(): void {
    nft(`flush chain inet ${this.#table} out`);
  }

  [Symbol.dispose](): void {
    if (this.missing === undefined) nft(`delete table inet ${this.#table}`);
  }
}

/** Removes the tables of killed runs. */
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
