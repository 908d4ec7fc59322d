import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";

/**
 * How a node serves its clients. `own`: from its region's store, whose copies its answers show as they are. `through`: the
 * same, but reads also show what the other region's copies have. `remote`: from the other region's store; reads also show
 * what the own one has.
 */
export type Service = "own" | "through" | "remote" | "none";

interface Change {
  readonly atMs: number;
  readonly service: Service;
}

/** A region's store has everything, by the word of a node that uses it again. */
export interface Level {
  readonly node: string;
  readonly atMs: number;
  /** Everything that was acknowledged by then: when the node's lease began, after which it asked for a resync. */
  readonly sinceMs: number;
}

/** A log's times are whole milliseconds. */
const roundMs = 5;
/** What a node logged so shortly before it was killed may be lost. */
const unwrittenMs = 500;

/** From where nodes have served their clients, as their logs say. */
export class ServingLog {
  readonly levels: Level[] = [];
  readonly #nodes: ReadonlyMap<string, NodeLog>;

  /** `files`: node → its log. */
  constructor(files: ReadonlyMap<string, string>) {
    this.#nodes = new Map([...files].map(([node, file]) => [node, new NodeLog(file)]));
  }

  /** Reads what was written since the last time. */
  read(): void {
    for (const [node, log] of this.#nodes) {
      for (const level of log.read()) this.levels.push({ node, ...level });
    }
  }

  /** Its process was killed. */
  died(node: string, atMs: number): void {
    this.#nodes.get(node)?.died(atMs);
  }

  /** How a node served all of the time; undefined where that changed. */
  during(node: string, fromMs: number, toMs: number): Service | undefined {
    return this.#nodes.get(node)?.during(fromMs, toMs);
  }
}

class NodeLog {
  readonly #file: string;
  readonly #changes: Change[] = [];
  #offset = 0;
  #rest = "";
  /** Since when its lease is full. */
  #leasedMs: number | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  *read(): Generator<Omit<Level, "node">> {
    const lines = (this.#rest + this.#more()).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.includes('"store lease"')) this.#lease(JSON.parse(line));
      if (!line.includes('"clients are served from"')) continue;
      const level = this.#serving(JSON.parse(line));
      if (level !== undefined) yield level;
    }
  }

  died(atMs: number): void {
    this.#leasedMs = undefined;
    this.#note({ atMs: atMs - unwrittenMs, service: "none" });
  }

  during(fromMs: number, toMs: number): Service | undefined {
    const before = this.#changes.findLastIndex(({ atMs }) => atMs <= fromMs - roundMs);
    const next = this.#changes[before + 1];
    const isSame = next === undefined || next.atMs > toMs + roundMs;
    return isSame ? this.#changes[before]?.service : undefined;
  }

  #lease({ state, time }: { readonly state: string; readonly time: string }): void {
    if (state !== "full") this.#leasedMs = undefined;
    else this.#leasedMs ??= monotonicMs(time);
  }

  /** A lease that has just begun is logged a moment later. */
  #serving({
    from,
    reason,
    time,
  }: Readonly<Record<string, string>>): Omit<Level, "node"> | undefined {
    const atMs = monotonicMs(time);
    this.#note({ atMs, service: serviceOf(from, reason) });
    if (from !== "local" || reason !== "own store") return undefined;
    return { atMs: atMs + roundMs, sinceMs: (this.#leasedMs ?? atMs) - roundMs };
  }

  /** Keeps the order of time: lines of a process that was killed may come late. */
  #note(change: Change): void {
    const before = this.#changes.findLastIndex(({ atMs }) => atMs <= change.atMs);
    this.#changes.splice(before + 1, 0, change);
  }

  #more(): string {
    if (!existsSync(this.#file)) return "";
    const file = openSync(this.#file, "r");
    try {
      const added = Buffer.alloc(Math.max(0, fstatSync(file).size - this.#offset));
      this.#offset += readSync(file, added, 0, added.length, this.#offset);
      return added.toString("latin1");
    } finally {
      closeSync(file);
    }
  }
}

function serviceOf(from: string | undefined, reason = ""): Service {
  if (from === "remote") return "remote";
  if (from !== "local") return "none";
  return reason === "own store" || reason.startsWith("own store for reads only")
    ? "own"
    : "through";
}

/** A time of the log on this process's monotonic clock; all are on one machine. */
function monotonicMs(time = ""): number {
  return Date.parse(time) - performance.timeOrigin;
}
