import { StoreUnavailable } from "@holdfast/engine";
import { keys, type Tables } from "./database.ts";
import type { Counts, RedisProcess } from "./redis-process.ts";
import type { Answer, StoreFlaw } from "./scripts.ts";
import type { StoreLink } from "./store-link.ts";

/** The same as in the product. */
const markerMs = 250;
const sliceMs = 250;
const barrierTimeoutMs = 1_000;

/** The result of a barrier, for the lease. */
export interface BarrierResult {
  readonly beganMs: { readonly monotonicMs: number; readonly wallMs: number };
  readonly local: boolean;
  readonly replicas: boolean;
}

/** The events of a session. */
export interface SessionListener {
  barrier(session: StoreSession, result: BarrierResult): void;
  ended(session: StoreSession, failure: StoreUnavailable): void;
}

interface Job {
  readonly script: (tables: Tables) => Answer<unknown>;
  readonly partition: number;
  readonly written: (value: unknown) => void;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly deadlineMs: number;
  answer: Answer<unknown> | undefined;
}

/** How a job is made durable. */
export interface SubmitOptions {
  readonly partition: number;
  /** Called once it is written. */
  readonly written?: (() => void) | undefined;
  /** Whether the answer may be sent before the barrier: a planted fault. */
  readonly early?: ((value: unknown) => boolean) | undefined;
}

/** A session with one primary: group commit in batches, each with a marker and a barrier. */
export class StoreSession {
  readonly process: RedisProcess;
  readonly runId: string;
  readonly storeId: string;
  /** By partition, the change number up to which everything is known to be covered. */
  readonly covered = new Map<number, number>();
  readonly #link: StoreLink;
  readonly #members: readonly string[];
  readonly #listener: SessionListener;
  readonly #flaws: ReadonlySet<StoreFlaw>;
  #replicas: readonly string[];
  #queue: Job[] = [];
  #carried: Job[] = [];
  #unnoted = new Map<number, number>();
  #wake: (() => void) | undefined;
  #over: StoreUnavailable | undefined;
  /** Offset of the last write of this session's connection. */
  #offset = 0;

  private constructor(
    link: StoreLink,
    process: RedisProcess,
    found: Found,
    parts: SessionParts,
    members: readonly string[],
  ) {
    this.#link = link;
    this.process = process;
    this.runId = found.runId;
    this.storeId = found.storeId;
    this.#replicas = found.replicas;
    this.#members = members;
    this.#listener = parts.listener;
    this.#flaws = parts.flaws;
  }

  /** Connects to the primary that the Sentinels name. */
  static async open(link: StoreLink, parts: SessionParts, began?: string): Promise<StoreSession> {
    const { group } = link;
    const alone = group.processes.length === 1;
    const said = alone ? { address: group.primary.name, members: [] } : await link.ask();
    const process = group.named(said.address) ?? group.primary;
    const found = await link.call<Found | undefined>(process, undefined, (answer) =>
      answer(process.role === "primary" ? foundIn(process) : undefined),
    );
    if (found === undefined) throw new StoreUnavailable("noLease", "that is a replica");
    if (began !== undefined && began !== found.storeId) {
      throw new StoreUnavailable("notInitialised", "another store than at the start");
    }
    return new StoreSession(link, process, found, parts, said.members);
  }

  /** Starts its batches; resolves at its end. */
  async run(): Promise<void> {
    while (this.#over === undefined) {
      try {
        if (this.#queue.length + this.#carried.length === 0) await this.#idle();
        if (this.#over === undefined) await this.#cycle();
      } catch (error) {
        this.end(error instanceof StoreUnavailable ? error : crash(error));
      }
    }
  }

  /** Ends it; everything that waits fails. */
  end(failure: StoreUnavailable): void {
    if (this.#over !== undefined) return;
    this.#over = failure;
    this.#listener.ended(this, failure);
    const jobs = [...this.#carried, ...this.#queue];
    this.#carried = [];
    this.#queue = [];
    for (const { reject } of jobs) reject(failure);
    this.#wake?.();
  }

  /** Runs a script in the next batch; resolves when a full barrier covers it. */
  submit<Value>(
    script: (tables: Tables) => Answer<Value>,
    { partition, written, early }: SubmitOptions,
  ): Promise<Value> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      const deadlineMs = this.#link.life.machine.monotonicMs() + barrierTimeoutMs;
      const settle = (value: unknown): void => resolve(value as Value);
      const onWritten = (value: unknown): void => {
        written?.();
        if (early?.(value) === true) settle(value);
      };
      const job = { script, partition, deadlineMs, resolve: settle, reject };
      this.#queue.push({ ...job, written: onWritten, answer: undefined });
      this.#wake?.();
    });
  }

  /** Resolves when everything up to these change numbers is covered. */
  async cover(numbers: ReadonlyMap<number, number>): Promise<void> {
    const short = [...numbers].filter(([at, number]) => (this.covered.get(at) ?? 0) < number);
    await Promise.all(
      short.map(([partition, number]) =>
        this.submit(() => ({ value: undefined, number }), { partition }),
      ),
    );
  }

  async #cycle(): Promise<void> {
    const { life } = this.#link;
    const jobs = this.#queue;
    this.#queue = [];
    this.#carried.push(...jobs);
    const beganMs = { monotonicMs: life.machine.monotonicMs(), wallMs: life.machine.wallMs() };
    const counts = await this.#write(jobs);
    this.#see(counts.connected);
    const replicas = counts.replicas >= this.#required();
    this.#listener.barrier(this, { beganMs, local: counts.local, replicas });
    if (counts.local && replicas) this.#promise();
    else this.#postpone();
  }

  /** Sends the batch with its marker, waits for all answers, and then asks whether it is durable. */
  async #write(jobs: readonly Job[]): Promise<Counts> {
    const note = [...this.#unnoted];
    this.#unnoted = new Map();
    const done = await this.#link.call<BatchAnswer | undefined>(
      this.process,
      this.runId,
      (answer) => answer(this.process.role === "primary" ? this.#batch(jobs, note) : undefined),
      jobs.length > 0 ? "write" : undefined,
    );
    if (done === undefined) throw new StoreUnavailable("noLease", "that is a replica now");
    if (done.storeId !== this.storeId) throw otherStore();
    if (done.replicas !== undefined) this.#replicas = done.replicas;
    this.#offset = done.offset;
    for (const [at, job] of jobs.entries()) this.#answer(job, done.answers[at]);
    const offset = this.#flaws.has("WAITAOF on another connection") ? 0 : this.#offset;
    const required = this.#flaws.has("WAITAOF on another connection") ? 0 : this.#required();
    const counts = await this.#link.call<Counts | undefined>(this.process, this.runId, (answer) => {
      if (this.process.role !== "primary") answer(undefined);
      else this.process.waitAof(offset, required, sliceMs, answer);
    });
    if (counts === undefined) throw new StoreUnavailable("noLease", "that is a replica now");
    if (!this.#flaws.has("WAITAOF on another connection")) return counts;
    return { ...counts, replicas: this.#required() };
  }

  /** Runs in the process: each script, and then the marker. */
  #batch(jobs: readonly Job[], note: readonly (readonly [number, number])[]): BatchAnswer {
    const { process } = this;
    if (note.length > 0) process.execute((tables) => noteCovered(tables, this.storeId, note));
    const answers = jobs.map(({ script }): BatchAnswer["answers"][number] => {
      try {
        return process.execute((tables) => {
          if (tables.get(keys.storeId) !== this.storeId) throw otherStore();
          return script(tables);
        });
      } catch (error) {
        return { error };
      }
    });
    return process.execute((tables) => {
      tables.set(keys.beat, (tables.get(keys.beat) ?? 0) + 1);
      const storeId = tables.get(keys.storeId);
      const replicas = tables.get(keys.replicas);
      return { answers, storeId, replicas, offset: process.offset + 1 };
    });
  }

  #answer(job: Job, answer: BatchAnswer["answers"][number] | undefined): void {
    if (answer === undefined || "error" in answer) {
      this.#carried = this.#carried.filter((other) => other !== job);
      job.reject(answer?.error);
      return;
    }
    job.answer = answer;
    job.written(answer.value);
  }

  #promise(): void {
    const carried = this.#carried;
    this.#carried = [];
    for (const { partition, answer } of carried) this.#raise(partition, answer?.number ?? 0);
    for (const { resolve, answer } of carried) resolve(answer?.value);
  }

  #raise(partition: number, number: number): void {
    if (number <= (this.covered.get(partition) ?? 0)) return;
    this.covered.set(partition, number);
    this.#unnoted.set(partition, number);
  }

  /** Moves jobs that are not covered yet to the next barrier, until their time is over. */
  #postpone(): void {
    const now = this.#link.life.machine.monotonicMs();
    const carried = this.#carried;
    this.#carried = [];
    for (const job of carried) {
      if (job.deadlineMs > now) this.#carried.push(job);
      else job.reject(new StoreUnavailable("barrierShort", "not every replica has the change"));
    }
  }

  /** The number of replicas ever seen, without the primary: a process cannot acknowledge itself. */
  #required(): number {
    const known = new Set([...this.#replicas, ...this.#members]);
    known.delete(this.process.name);
    return known.size;
  }

  #see(connected: readonly string[]): void {
    const fresh = connected.filter((name) => !this.#replicas.includes(name));
    if (fresh.length === 0) return;
    this.#replicas = [...this.#replicas, ...fresh];
    const replicas = this.#replicas;
    const remember = (tables: Tables): Answer<undefined> => {
      tables.set(keys.replicas, [...new Set([...(tables.get(keys.replicas) ?? []), ...replicas])]);
      return { value: undefined, number: 0 };
    };
    this.submit(remember, { partition: 0 }).catch(() => undefined);
  }

  #idle(): Promise<void> {
    return new Promise((resolve) => {
      const callOff = this.#link.life.after(markerMs, resolve);
      this.#wake = () => {
        callOff();
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

/** The parts of a session. */
export interface SessionParts {
  readonly listener: SessionListener;
  readonly flaws: ReadonlySet<StoreFlaw>;
}

interface Found {
  readonly runId: string;
  readonly storeId: string;
  readonly replicas: readonly string[];
}

interface BatchAnswer {
  readonly answers: readonly (Answer<unknown> | { readonly error: unknown })[];
  readonly storeId: string | undefined;
  readonly replicas: readonly string[] | undefined;
  readonly offset: number;
}

function foundIn(process: RedisProcess): Found | undefined {
  return process.execute((tables) => {
    const storeId = tables.get(keys.storeId);
    if (storeId === undefined) return undefined;
    return { runId: process.runId, storeId, replicas: tables.get(keys.replicas) ?? [] };
  });
}

/** Records the number up to which other nodes' reads need not wait; it never decreases. */
function noteCovered(
  tables: Tables,
  storeId: string,
  note: readonly (readonly [number, number])[],
): void {
  if (tables.get(keys.storeId) !== storeId) return;
  for (const [partition, number] of note) {
    const key = keys.covered(partition);
    if (number > (tables.get(key) ?? 0)) tables.set(key, number);
  }
}

function otherStore(): StoreUnavailable {
  return new StoreUnavailable("notInitialised", "the store is empty or another one");
}

function crash(error: unknown): StoreUnavailable {
  return new StoreUnavailable("corrupt", String(error), { cause: error });
}
