import { type ChildProcess, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import { findExecutable } from "../../scripts/redis-path.mjs";
import { isRunning, kill, type Ran, ranOf, spawnBound } from "./child.ts";

const programs = ["mmdebstrap", "dpkg-deb", "unshare", "nsenter", "setpriv"];
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
const apart = ["--cgroup", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--kill-child"];

/**
 * What PID 1 finds when it starts: its own /proc, /sys, /run and cgroup, and nothing of this machine's files. Settings of
 * the kernel are read-only, and the rights that act on the whole machine are gone.
 */
const boot = `
mount --bind "$1" "$1"
cd "$1"
mount --bind dev dev
rm -f dev/console
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/before
pivot_root . run/before
cd /
umount -l run/before
rmdir run/before
exec env -i container=holdfast ${path} setpriv \\
  --bounding-set=-sys_time,-sys_boot,-sys_module,-sys_rawio,-syslog,-bpf,-perfmon \\
  /usr/lib/systemd/systemd --show-status=0
`;

/**
 * A Debian system with systemd as PID 1, in namespaces and a cgroup of its own. It shares the kernel and no network with
 * this machine. All of its processes end with this one; its mounts end with them.
 */
export class SystemdMachine implements AsyncDisposable {
  readonly #holder: ChildProcess;
  readonly #group: string;
  #first = 0;

  private constructor(holder: ChildProcess, group: string) {
    this.#holder = holder;
    this.#group = group;
  }

  /** What is missing here for such a machine; empty if nothing is. */
  static missing(): readonly string[] {
    if (process.getuid?.() !== 0) return ["root"];
    const lacking = programs.filter((name) => findExecutable(name) === undefined);
    if (lacking.length > 0) return lacking;
    const script = "mount -t cgroup2 cgroup2 /mnt && mount -t proc proc /proc";
    const { status } = spawnSync("unshare", [...apart, "sh", "-ec", script]);
    return status === 0 && ownGroup() !== undefined ? [] : ["the right to make namespaces"];
  }

  /** Boots the system in `root`, which has systemd. */
  static async start(root: string): Promise<SystemdMachine> {
    const parent = ownGroup();
    if (parent === undefined) throw new Error("no cgroup2 is mounted");
    // A test run that was killed has left its empty groups.
    for (const name of readdirSync(parent)) {
      const maker = /^holdfast-machine-(\d+)-/.exec(name)?.[1];
      if (maker !== undefined && !existsSync(`/proc/${maker}`)) removeIfEmpty(join(parent, name));
    }
    const group = mkdtempSync(join(parent, `holdfast-machine-${process.pid}-`));
    const script = `echo $$ > ${group}/cgroup.procs; exec unshare ${apart.join(" ")} sh -ec '${boot}' sh "$1"`;
    const holder = spawnBound("sh", ["-ec", script, "sh", root], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    holder.stderr?.setEncoding("utf8").on("data", (more: string) => {
      said += more;
    });
    await using stack = new AsyncDisposableStack();
    const machine = stack.use(new SystemdMachine(holder, group));
    await until("systemd", async () => {
      if (!isRunning(holder)) throw new Error(`systemd does not start: ${said}`);
      // Before that, a command would run among the files of this machine.
      const init = machine.#init;
      if (init === 0 || readFileSync(`/proc/${init}/comm`, "utf8") !== "systemd\n") return false;
      const { out, err } = await machine.run("systemctl", "is-system-running");
      return out.trim() === "running" || `${out}${err}`;
    });
    stack.move();
    return machine;
  }

  /** Runs a program in the machine, as root, and waits for its end. */
  run(...command: readonly string[]): Promise<Ran> {
    const inside = ["--all", "--", "env", "-i", path, "DEBIAN_FRONTEND=noninteractive", ...command];
    const args = [`--target=${this.#init}`, ...inside];
    return ranOf(spawnBound("nsenter", args, { stdio: ["ignore", "pipe", "pipe"] }));
  }

  /** Runs a program in the machine; returns what it printed. */
  async must(...command: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(...command);
    if (code !== 0) throw new Error(`${command.join(" ")}: exit code ${code}: ${out}${err}`);
    return out;
  }

  /** Properties of a unit, by name. */
  async show(unit: string, ...names: readonly string[]): Promise<Readonly<Record<string, string>>> {
    const out = await this.must("systemctl", "show", unit, `--property=${names.join(",")}`);
    const rows = out.trim().split("\n");
    return Object.fromEntries(rows.map((row) => /^(\w+)=(.*)$/.exec(row)?.slice(1, 3) ?? []));
  }

  /** What a unit has printed. */
  journal(unit: string): Promise<string> {
    return this.must("journalctl", "--no-pager", "--output=cat", `--unit=${unit}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await kill(this.#holder);
    await until("the end of the machine's processes", () => removeIfEmpty(this.#group));
  }

  /** The machine's PID 1 as this machine numbers it, the only child of `unshare`; 0 before it exists. */
  get #init(): number {
    const { pid } = this.#holder;
    if (this.#first === 0 && existsSync(`/proc/${pid}`)) {
      this.#first = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"));
    }
    return this.#first;
  }
}

/** The folder of this process's own cgroup, in the hierarchy of version 2. */
function ownGroup(): string | undefined {
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  const mounted = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1];
  return own === undefined || mounted === undefined ? undefined : join(mounted, own);
}

/** Removes a cgroup with those in it, unless processes are in one of them; answers whether it is gone. */
function removeIfEmpty(group: string): boolean {
  if (readFileSync(join(group, "cgroup.events"), "utf8").includes("populated 1")) return false;
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory() && !removeIfEmpty(join(group, entry.name))) return false;
  }
  rmdirSync(group);
  return true;
}
