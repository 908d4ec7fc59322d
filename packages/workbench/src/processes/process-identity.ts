import { readFileSync } from "node:fs";

/** Identifies a process, so that a later process with the same number is not mistaken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Ticks from the machine's start to the process's, and an identifier of that start of the machine. */
  readonly started: string;
}

/** Ticks per second in /proc, the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** The process that has a number now; undefined if there is none. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const ticks = startTicks(pid);
  if (ticks === undefined) return undefined;
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return { pid, started: `${ticks}@${boot}` };
}

/** Whether exactly this process still runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identityOf(identity.pid)?.started === identity.started;
}

/** Whether exactly this process is stopped by a signal. */
export function isFrozen({ pid, started }: ProcessIdentity): boolean {
  return identityOf(pid)?.started === started && statFields(pid)?.[0] === "T";
}

/** Sends a signal to exactly this process, and never to another one that has its number now. */
export function signal(identity: ProcessIdentity, name: NodeJS.Signals): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(identity.pid, name);
  } catch {
    // It ended between the check and the signal.
  }
}

/** The age of the command that this process runs: since its own start, or since the start of npm above it. */
export function commandAgeMs(): number {
  const [uptime = "0"] = readFileSync("/proc/uptime", "utf8").split(" ");
  const ticks = startTicks(npmAbove(process.pid) ?? process.pid) ?? 0;
  return (Number(uptime) - ticks / ticksPerSecond) * 1000;
}

/** The npm process that runs this process: above a shell, and above a process that waits for the background process. */
function npmAbove(pid: number): number | undefined {
  let above = parentOf(pid);
  for (let step = 0; step < 4 && above !== undefined; step++) {
    if (nameOf(above).startsWith("npm ")) return above;
    above = parentOf(above);
  }
  return undefined;
}

function parentOf(pid: number): number | undefined {
  const parent = statFields(pid)?.[1];
  return parent === undefined ? undefined : Number(parent);
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8");
  } catch {
    return "";
  }
}

/** A zombie counts as gone. */
function startTicks(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields === undefined || fields[0] === "Z" ? undefined : Number(fields[19]);
}

/** /proc/PID/stat from its third field on: state, parent, …; undefined without such a process. */
function statFields(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may itself contain spaces and parentheses.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
