import type { Moment } from "@holdfast/engine";
import { type Observer, StoreUnavailable, sysPartition } from "@holdfast/engine";
import type { Argument } from "../connection/command-line.ts";
import {
  answerOf,
  type CommandLine,
  type Connection,
  type Outcome,
} from "../connection/connection.ts";
import { isNoScript, isReply, storeFailure } from "../connection/failure.ts";
import { partitionKeys, sysKeys } from "../connection/keys.ts";
import { readPartitionHead } from "../connection/record-header.ts";
import { type Reply, readPairs, readReply } from "../connection/replies.ts";
import { type Script, type Scripts, scriptArguments } from "../connection/scripts.ts";
import type { StoreTimers } from "../connection/timers.ts";
import { sendTogether } from "../connection/transaction.ts";
import { acknowledged } from "./barrier.ts";
import type { CoveredNumbers } from "./covered.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { ReplicaSet } from "./replica-set.ts";

/** How the group commit works. */
export interface GroupCommitSettings {
  readonly markerMs: number;
  readonly barrierTimeoutMs: number;
  /** How long one round of the barrier waits; a change may wait for several rounds. */
  readonly sliceMs: number;
}

export interface GroupCommitParts {
  readonly connection: Connection;
  /** The number by which the lease knows the connection. */
  readonly number: number;
  readonly storeId: string;
  readonly scripts: Scripts;
  readonly replicas: ReplicaSet;
  readonly covered: CoveredNumbers;
  readonly lease: LeaseKeeper;
  readonly observe: Observer;
  /** Called when replicas are connected that were never seen before. */
  readonly onReplicas: (addresses: readonly string[]) => void;
  /** Wakes Redis on another connection. */
  readonly nudge: () => void;
  /** Throws where the format that the store requires, by this proof, is newer than what this node reads. */
  readonly checkFormat: (required: Buffer, proof: Buffer) => void;
  /** Told what the store says of which storage keys count; throws where this node must open keys first. */
  readonly meetKeys: (note: string) => void;
  /** Told the same once a full barrier covers it. */
  readonly followKeys: (note: string) => void;
  readonly timers: StoreTimers;
  /** Called with the time of Redis, in milliseconds since the epoch. */
  readonly onTime: (wallMs: number) => void;
}

interface Job {
  /** Absent for a job that only wants a barrier. */
  readonly line: CommandLine | undefined;
  readonly partition: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  /** Resolves even if a replica lacks it: it promises nothing to a client. */
  readonly localEnough: boolean;
  readonly written: (() => void) | undefined;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  reply: Reply;
}

/** How a script is to be run. */
export interface SubmitOptions {
  /** The local disk is enough: it promises nothing to a client. */
  readonly localEnough?: boolean;
  /** Called when the script has answered that it wrote, before the barrier. */
  readonly written?: (() => void) | undefined;
}

const batchJobsMax = 512;
const batchBytesMax = 8 << 20;
const queueMax = 20_000;
const loadsMax = 3;
const none = Buffer.alloc(0);
/** A job that only wants a barrier. */
const bare = { line: undefined, bytes: 0, localEnough: false, written: undefined } as const;

/**
 * Runs write scripts and promises their changes (group commit). All scripts that wait go out in one
 * write, and each batch ends with a marker. When every answer is in, one WAITAOF on the same
 * connection covers them all. The next batch is collected meanwhile.
 */
export class GroupCommit {
  readonly #parts: GroupCommitParts;
  readonly #settings: GroupCommitSettings;
  readonly #head = partitionKeys(sysPartition).head;
  readonly #token = Buffer.alloc(8);
  /** Partition → covered number that is not noted in the store yet. */
  readonly #unnoted = new Map<number, number>();
  #queue: Job[] = [];
  /** Answered, but not yet covered. */
  #carried: Job[] = [];
  #wake: (() => void) | undefined;
  /** What the last marker has read of which storage keys count. */
  #keysNote = "";
  #failure: StoreUnavailable | undefined;
  /** Resolves, with the reason, when it has ended. */
  readonly ended: Promise<StoreUnavailable>;

  constructor(parts: GroupCommitParts, settings: GroupCommitSettings) {
    this.#parts = parts;
    this.#settings = settings;
    const lost = parts.connection.closed.then((reason) => {
      this.end(new StoreUnavailable("noLease", `Redis ${parts.connection.address}: ${reason}`));
    });
    this.ended = Promise.all([this.#run(), lost]).then(() => this.#ending);
  }

  /**
   * Runs a script in the next batch; resolves with its answer when a full barrier covers it, or with `localEnough` when
   * the local disk has it.
   */
  submit(
    script: Script,
    partition: number,
    keys: readonly Argument[],
    args: readonly Argument[],
    { localEnough = false, written }: SubmitOptions = {},
  ): Promise<Reply> {
    const line: CommandLine = ["evalsha", ...scriptArguments(script, keys, args)];
    const bytes = args.reduce((sum, arg) => sum + arg.length, 0);
    return this.#enqueue({ line, partition, bytes, localEnough, written }, 0);
  }

  /** Resolves when everything that was read on this process before is covered. */
  async barrier(): Promise<void> {
    await this.#enqueue({ ...bare, partition: sysPartition }, 0);
  }

  /** Resolves when everything up to `number` of a partition, read on this process before, is covered. */
  async cover(partition: number, number: number): Promise<void> {
    if (this.#parts.covered.of(partition) >= number) return;
    await this.#enqueue({ ...bare, partition }, number);
  }

  /** Whether nothing waits. */
  get idle(): boolean {
    return this.#queue.length === 0 && this.#carried.length === 0;
  }

  /** Ends the group commit and its connection; waiting jobs fail with `failure`. */
  end(failure: StoreUnavailable): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    const { lease, number, connection } = this.#parts;
    lease.apply({ type: "ended", connection: number, reason: failure.message });
    connection.destroy(failure.message);
    this.#failAll(failure);
    this.#wake?.();
  }

  get #ending(): StoreUnavailable {
    return this.#failure ?? new StoreUnavailable("noLease", "the store is closing");
  }

  #enqueue(
    job: Pick<Job, "line" | "partition" | "bytes" | "localEnough" | "written">,
    number: number,
  ): Promise<Reply> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#queue.length >= queueMax) {
      return Promise.reject(new StoreUnavailable("timeout", "too many changes wait for Redis"));
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = this.#now() + this.#settings.barrierTimeoutMs;
      const reply = { result: "covered", number, rest: [] };
      this.#queue.push({ ...job, deadlineMs, resolve, reject, reply });
      this.#wake?.();
    });
  }

  #now(): number {
    return this.#parts.lease.now().monotonicMs;
  }

  async #run(): Promise<void> {
    while (this.#failure === undefined) {
      try {
        await this.#cycle();
      } catch (error) {
        this.end(storeFailure(error, this.#parts.connection.address));
      }
      if (this.#failure === undefined && this.idle) await this.#idle();
    }
  }

  /** Waits until something is submitted, or it is time for a marker. */
  #idle(): Promise<void> {
    return new Promise((resolve) => {
      const { timers } = this.#parts;
      const cancel = timers.after(this.#settings.markerMs, resolve);
      this.#wake = () => {
        cancel();
        this.#wake = undefined;
        // Everything else that this turn of the event loop submits goes into the same batch.
        timers.soon(resolve);
      };
    });
  }

  #take(): Job[] {
    let bytes = 0;
    let count = 0;
    for (const job of this.#queue) {
      if (count === batchJobsMax || bytes > batchBytesMax) break;
      bytes += job.bytes;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #cycle(): Promise<void> {
    const { lease, observe } = this.#parts;
    const jobs = this.#take();
    this.#carried.push(...jobs);
    const began = lease.now();
    await this.#write(jobs);
    if (this.#failure !== undefined) return;
    const { local, full } = await this.#barrier(began);
    const durationMs = this.#now() - began.monotonicMs;
    observe({ type: "barrier", durationMs, batch: this.#carried.length, full });
    if (full) this.#promise();
    else this.#postpone(local);
  }

  /** Sends the batch and its marker, and handles every answer. */
  async #write(jobs: readonly Job[]): Promise<void> {
    const withLine = jobs.filter((job) => job.line !== undefined);
    const lines = withLine.flatMap((job) => (job.line === undefined ? [] : [job.line]));
    const note = this.#noteLine();
    const outcomes = await this.#send([...(note ? [note] : []), ...lines, this.#markerLine()]);
    if (this.#failure !== undefined) return;
    for (const [index, job] of withLine.entries()) {
      await this.#answer(job, outcomes[index + (note ? 1 : 0)]);
    }
    await this.#readMarker(outcomes.at(-1));
    if (note) this.#readNoted(outcomes[0]);
  }

  /**
   * Resends scripts that Redis did not know, and the marker after them: WAITAOF was not sent yet.
   */
  async #send(lines: readonly CommandLine[]): Promise<readonly Outcome[]> {
    const { connection } = this.#parts;
    let outcomes = await sendTogether(connection, lines);
    for (let load = 0; load < loadsMax; load += 1) {
      const unknown = [...outcomes.keys()].filter((index) => isUnknown(outcomes[index]));
      if (unknown.length === 0) break;
      await this.#load();
      const last = lines.length - 1;
      const again = unknown.at(-1) === last ? unknown : [...unknown, last];
      const answers = await sendTogether(
        connection,
        again.flatMap((index) => (lines[index] === undefined ? [] : [lines[index]])),
      );
      outcomes = outcomes.map((outcome, index) => answers[again.indexOf(index)] ?? outcome);
    }
    return outcomes;
  }

  /** Loads every script: if one is unknown, all are. */
  async #load(): Promise<void> {
    const { connection, scripts } = this.#parts;
    const loads = Object.values(scripts).map(
      ({ source }): CommandLine => ["script", "LOAD", source],
    );
    for (const outcome of await connection.batch(loads)) answerOf(outcome, connection);
  }

  async #answer(job: Job, outcome: Outcome | undefined): Promise<void> {
    try {
      job.reply = this.#answered(outcome);
      if (job.reply.result === "notInitialised") throw await this.#whyRefused(job);
      if (job.reply.result === "committed") this.#tellWritten(job);
    } catch (error) {
      this.#carried = this.#carried.filter((other) => other !== job);
      job.reject(error);
    }
  }

  /** A script's reply; throws where it failed. */
  #answered(outcome: Outcome | undefined): Reply {
    if (outcome === undefined || "error" in outcome) {
      throw storeFailure(outcome?.error, this.#parts.connection.address);
    }
    return readReply(outcome.value);
  }

  /** The same, for a script that compares no storage key; throws where it found another store than this one. */
  #replyOf(outcome: Outcome | undefined): Reply {
    const reply = this.#answered(outcome);
    const { connection, storeId } = this.#parts;
    if (reply.result === "notInitialised") throw otherStore(connection.address, storeId, undefined);
    return reply;
  }

  /** Why a script changed nothing: another store is here, or this one's head no longer takes what an older key made. */
  async #whyRefused({ partition }: Job): Promise<StoreUnavailable> {
    const { connection, storeId } = this.#parts;
    const head = readPartitionHead(
      (await connection.call("get", partitionKeys(partition).head)) as Buffer | null,
    );
    if (head?.storeId !== storeId) return otherStore(connection.address, storeId, head?.storeId);
    return new StoreUnavailable(
      "noLease",
      `Redis ${connection.address}: the storage key was rotated while this node was away; it opens the new one now: try again`,
    );
  }

  #tellWritten({ written }: Job): void {
    try {
      written?.();
    } catch (cause) {
      const message = "a listener for written changes failed";
      this.#parts.observe({ type: "warning", message, cause });
    }
  }

  #markerLine(): CommandLine {
    const { scripts } = this.#parts;
    this.#token.writeUInt32BE((this.#token.readUInt32BE(4) + 1) >>> 0, 4);
    const keys = [this.#head, sysKeys.beat, sysKeys.replicasVersion, sysKeys.formats];
    keys.push(sysKeys.keys);
    return ["evalsha", ...scriptArguments(scripts.marker, keys, [Buffer.from(this.#token)])];
  }

  async #readMarker(outcome: Outcome | undefined): Promise<void> {
    const { connection, replicas, storeId, checkFormat, meetKeys, onTime } = this.#parts;
    const { rest } = this.#replyOf(outcome);
    const [id, version, required, proof, time, note] = rest as readonly [Buffer, ...Buffer[]];
    if (id?.toString("hex") !== storeId) {
      throw otherStore(connection.address, storeId, id?.toString("hex"));
    }
    checkFormat(required ?? none, proof ?? none);
    this.#keysNote = String(note);
    meetKeys(this.#keysNote);
    onTime(Number(time));
    if (String(version) === replicas.version) return;
    const known = readPairs(await connection.call("hgetall", sysKeys.replicas));
    replicas.load([...known.keys()], String(version));
  }

  /** Whether everything written on this connection is on every disk that counts. */
  async #barrier(began: Moment): Promise<{ readonly local: boolean; readonly full: boolean }> {
    const { connection, replicas, lease, number, onReplicas, nudge, timers } = this.#parts;
    const { sliceMs } = this.#settings;
    const nudgeAfter = (ms: number): (() => void) => timers.after(ms, nudge);
    const found = await acknowledged(connection, replicas.required, sliceMs, nudgeAfter);
    const added = replicas.see(found.connected);
    if (added.length > 0) onReplicas(added);
    const { local } = found;
    const covered = found.replicas >= replicas.required;
    // Before the lease: who waits for it must not read with keys of an earlier step.
    if (local && covered) this.#parts.followKeys(this.#keysNote);
    lease.apply({
      type: "barrier",
      connection: number,
      began,
      local,
      replicas: covered,
      ...(covered ? {} : { lacking: replicas.lacking(found.connected) }),
    });
    return { local, full: local && covered };
  }

  #promise(): void {
    const carried = this.#carried;
    this.#carried = [];
    for (const { partition, reply } of carried) this.#raise(partition, reply.number);
    for (const { resolve, reply } of carried) resolve(reply);
    if (this.#queue.length === 0) void this.#note();
  }

  /** Jobs that are not covered yet wait for the next barrier too, until their deadline. */
  #postpone(local: boolean): void {
    const now = this.#now();
    const carried = this.#carried;
    this.#carried = [];
    for (const job of carried) {
      if (local && job.localEnough) job.resolve(job.reply);
      else if (job.deadlineMs > now) this.#carried.push(job);
      else job.reject(barrierShort(this.#parts.connection.address));
    }
  }

  #raise(partition: number, number: number): void {
    if (this.#parts.covered.raise(partition, number)) this.#unnoted.set(partition, number);
  }

  /**
   * Notes what is covered, for the other nodes' reads: now, or with the next batch. A lost note
   * only costs a marker; one that is refused ends this.
   */
  async #note(): Promise<void> {
    const line = this.#noteLine();
    if (line === undefined) return;
    const [outcome] = await this.#parts.connection.batch([line]);
    if (outcome !== undefined && "error" in outcome && !isReply(outcome.error)) this.#wake?.();
    this.#readNoted(outcome);
  }

  #readNoted(outcome: Outcome | undefined): void {
    if (outcome === undefined || "error" in outcome) return;
    try {
      this.#replyOf(outcome);
    } catch (error) {
      this.end(storeFailure(error, this.#parts.connection.address));
    }
  }

  #noteLine(): CommandLine | undefined {
    if (this.#unnoted.size === 0) return undefined;
    const keys = [...this.#unnoted.keys()].map((partition) => partitionKeys(partition).head);
    const numbers = [...this.#unnoted.values()].map(String);
    this.#unnoted.clear();
    const { scripts, storeId } = this.#parts;
    const args = [Buffer.from(storeId, "hex"), ...numbers];
    return ["evalsha", ...scriptArguments(scripts["note-covered"], keys, args)];
  }

  #failAll(failure: StoreUnavailable): void {
    const jobs = [...this.#carried, ...this.#queue];
    this.#carried = [];
    this.#queue = [];
    for (const { reject } of jobs) reject(failure);
  }
}

function isUnknown(outcome: Outcome | undefined): boolean {
  return outcome !== undefined && "error" in outcome && isNoScript(outcome.error);
}

/** The store's marker is missing. */
export function notInitialised(address: string): StoreUnavailable {
  return new StoreUnavailable(
    "notInitialised",
    `Redis ${address} holds no store: restore its data (holdfast store init is for a new store only)`,
  );
}

/** A running node stays with the store that it began with: in another one, what it promised would be "not found". */
export function otherStore(
  address: string,
  began: string,
  found: string | undefined,
): StoreUnavailable {
  const mend =
    found === undefined
      ? `no store; restore the data of ${began}`
      : `store ${found}; restore the data of ${began}, or restart the node if ${found} is meant`;
  return new StoreUnavailable(
    "notInitialised",
    `this node began with store ${began}, but Redis ${address} holds ${mend}`,
  );
}

function barrierShort(address: string): StoreUnavailable {
  return new StoreUnavailable(
    "barrierShort",
    `Redis ${address}: not every replica has the change on its disk; it may survive, but is not promised`,
  );
}
