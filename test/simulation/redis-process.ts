import { type Entry, redo, Tables, undo } from "./database.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

/** A connection's WAITAOF, which waits for replicas. */
interface Waiting {
  readonly offset: number;
  readonly required: number;
  readonly done: (counts: Counts) => void;
}

/** The answer of a WAITAOF, and the replicas that it may have counted. */
export interface Counts {
  readonly local: boolean;
  readonly replicas: number;
  readonly connected: readonly string[];
}

/** Which processes of a group reach or follow each other. */
export interface Neighbours {
  readonly open: (from: string, to: string) => boolean;
  readonly replicasOf: (primary: RedisProcess) => readonly RedisProcess[];
  /** Told that a replica repeated something. */
  readonly copied: (from: string, to: string) => void;
}

/** How long a primary's writes take to a replica's disk. */
const replicationMs = 1;

/** One Redis process: its keys, its log since it began to count, and the part of it on disk. */
export class RedisProcess {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #neighbours: Neighbours;
  state: "up" | "frozen" | "down" = "up";
  role: "primary" | "replica";
  /** A name for this run of the process. */
  runId = "";
  /** The ID under which changes are counted; it is new after each promotion and each restart. */
  replicationId = "";
  /** The primary whose writes a replica repeats. */
  source: RedisProcess | undefined;
  cells = new Map<string, unknown>();
  /** True: it refuses everything that needs memory. */
  full = false;
  #log: Entry[] = [];
  #durable = 0;
  #feeding = false;
  #waiting: Waiting[] = [];
  #arrived: (() => void)[] = [];

  constructor(
    name: string,
    role: "primary" | "replica",
    parts: { scheduler: Scheduler; random: Random; neighbours: Neighbours },
  ) {
    this.name = name;
    this.role = role;
    this.#scheduler = parts.scheduler;
    this.#random = parts.random;
    this.#neighbours = parts.neighbours;
    this.#begin();
  }

  /** The number of writes, own and repeated, since it began to count. */
  get offset(): number {
    return this.#log.length;
  }

  /** Handles something from a connection: calls `run`, or `refused` if the process is gone. */
  receive(runId: string | undefined, run: () => void, refused: () => void): void {
    const arrived = (): void => {
      if (this.state === "down" || (runId !== undefined && runId !== this.runId)) refused();
      else run();
    };
    if (this.state === "frozen") this.#arrived.push(arrived);
    else arrived();
  }

  /** Runs a whole script. */
  execute<Value>(script: (tables: Tables) => Value): Value {
    const tables = new Tables(this.cells, this.full);
    const value = script(tables);
    const entry = tables.entry();
    if (entry.length > 0) {
      this.#log.push(entry);
      this.#feed();
    }
    return value;
  }

  /** Answers once `required` replicas have everything up to `offset`, or after `waitMs`. */
  waitAof(
    offset: number,
    required: number,
    waitMs: number,
    answer: (counts: Counts) => void,
  ): void {
    const runId = this.runId;
    this.#durable = Math.max(this.#durable, offset);
    let open = true;
    const waiting: Waiting = {
      offset,
      required,
      done: (counts) => {
        callOff();
        if (!open || runId !== this.runId) return;
        open = false;
        answer(counts);
      },
    };
    this.#waiting.push(waiting);
    const callOff = this.#scheduler.after(waitMs, () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
      const count = () => waiting.done(this.#counts(offset));
      if (this.state === "frozen") this.#arrived.push(count);
      else if (this.state === "up") count();
    });
    this.#settle();
  }

  freeze(): void {
    if (this.state === "up") this.state = "frozen";
  }

  thaw(): void {
    if (this.state !== "frozen") return;
    this.state = "up";
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const next of arrived) next();
    this.#feed();
  }

  /** Kills it; with `forget`, writes that no barrier made durable may be missing on its disk. */
  kill(forget: boolean): void {
    this.state = "down";
    this.#waiting = [];
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const next of arrived) next();
    if (!forget) return;
    const keep = this.#durable + this.#random.below(this.#log.length - this.#durable + 1);
    while (this.#log.length > keep) undo(this.cells, this.#log.pop() ?? []);
  }

  /** Starts it with the data of its disk. */
  restart(): void {
    if (this.state !== "down") return;
    this.state = "up";
    this.#begin();
  }

  /** Starts it with other data. */
  restore(cells: ReadonlyMap<string, unknown>): void {
    this.cells = new Map(cells);
    this.restart();
  }

  promote(): void {
    this.role = "primary";
    this.source = undefined;
    this.replicationId = `${this.name}/${this.#random.bits().toString(16)}`;
    this.#count();
  }

  /** Becomes a replica of `source`, with a copy of its current data. */
  follow(source: RedisProcess): void {
    this.role = "replica";
    this.source = source;
    this.replicationId = source.replicationId;
    this.#waiting = [];
    this.cells = new Map(source.cells);
    this.#log = source.#log.slice();
    this.#durable = this.#log.length;
    source.#settle();
  }

  /** Repeats its primary's new writes. */
  pull(): void {
    const source = this.source;
    if (source === undefined || this.state !== "up" || source.state !== "up") return;
    if (this.replicationId !== source.replicationId) return;
    if (!this.#neighbours.open(source.name, this.name)) return;
    if (this.#log.length < source.#log.length) this.#neighbours.copied(source.name, this.name);
    for (let at = this.#log.length; at < source.#log.length; at += 1) {
      const entry = source.#log[at] ?? [];
      redo(this.cells, entry);
      this.#log.push(entry);
    }
    this.#durable = this.#log.length;
    source.#settle();
  }

  #begin(): void {
    this.runId = `${this.name}.${this.#random.bits().toString(16)}`;
    if (this.role === "primary") this.replicationId = this.runId;
    this.#count();
  }

  /** Begins to count again: all existing data is durable. */
  #count(): void {
    this.#log = [];
    this.#durable = 0;
    this.#waiting = [];
  }

  #feed(): void {
    if (this.#feeding) return;
    this.#feeding = true;
    this.#scheduler.after(replicationMs, () => {
      this.#feeding = false;
      for (const replica of this.#neighbours.replicasOf(this)) replica.pull();
    });
  }

  #settle(): void {
    if (this.state !== "up") return;
    for (const waiting of this.#waiting) {
      const counts = this.#counts(waiting.offset);
      if (counts.replicas < waiting.required) continue;
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
      waiting.done(counts);
    }
  }

  #counts(offset: number): Counts {
    const connected = this.#neighbours
      .replicasOf(this)
      .filter(({ replicationId }) => replicationId === this.replicationId)
      .filter(({ name }) => this.#neighbours.open(this.name, name));
    const replicas = connected.filter((replica) => replica.#log.length >= offset).length;
    return { local: true, replicas, connected: connected.map(({ name }) => name) };
  }
}
