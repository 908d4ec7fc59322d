import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectionError, KmipClient, KmipClientError } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { answered, createKey, look, registerKey } from "./keys.ts";
import { type Entry, Ledger, rankOf } from "./ledger.ts";
import { seeded } from "./random.ts";
import type { Region } from "./region.ts";

/** The most time that a request may take, also during a fault. Pauses of the machine are subtracted. */
const answerBoundMs = 5_000;

const active = rankOf("Active");

export interface LoadOptions {
  readonly instance: string;
  readonly workers?: number;
  /** How long a worker rests after each request. */
  readonly restMs?: number;
}

type Kind = "read" | "write";

/**
 * Makes, reads, activates, revokes and destroys keys at all nodes in turn, and remembers what was acknowledged. Each
 * answer is compared with what was acknowledged before its request.
 */
export class Load implements AsyncDisposable {
  readonly ledger = new Ledger();
  /** How often each kind of failure occurred. */
  readonly failures = new Map<string, number>();
  /** The number of acknowledged requests. */
  readonly done = { read: 0, write: 0 };
  /** The longest time of a request. */
  slowestMs = 0;
  readonly #clients: readonly KmipClient[];
  readonly #restMs: number;
  readonly #random: () => number;
  /** By node and kind: when the latest successful request began. */
  readonly #latest = new Map<string, number>();
  readonly #workers: Promise<void>[];
  /** For how long the machine has kept this process from its work. */
  #pausedMs = 0;
  #stopped = false;
  #turn = 0;

  private constructor(clients: readonly KmipClient[], options: LoadOptions) {
    this.#clients = clients;
    this.#restMs = options.restMs ?? 4;
    this.#random = seeded(1);
    this.#workers = Array.from({ length: options.workers ?? 6 }, () => this.#work());
    this.#workers.push(this.#noticePauses());
  }

  /** Connects to every node and begins. */
  static async start(region: Region, options: LoadOptions): Promise<Load> {
    const clients = await Promise.all(
      region.nodes.map((_, at) => answered(() => clientOf(region, options.instance, at))),
    );
    return new Load(clients, options);
  }

  /** Resolves with the time since `sinceMs` once every named node acknowledged a request that began after it. */
  async recovered(kind: Kind, sinceMs: number, nodes?: readonly number[]): Promise<number> {
    const all = nodes ?? this.#clients.map((_, at) => at);
    await until(`${kind}s at nodes ${all.join(", ")} (${this.summary()})`, () =>
      all.every((at) => (this.#latest.get(`${kind} ${at}`) ?? 0) > sinceMs),
    );
    return performance.now() - sinceMs;
  }

  /** Whether no request of a kind that began after `sinceMs` was acknowledged. */
  noneSince(kind: Kind, sinceMs: number): boolean {
    return this.#clients.every((_, at) => (this.#latest.get(`${kind} ${at}`) ?? 0) <= sinceMs);
  }

  /** Waits until so many more requests of a kind are acknowledged. */
  async more(kind: Kind, count: number): Promise<void> {
    const goal = this.done[kind] + count;
    await until(`${count} more ${kind}s`, () => this.done[kind] >= goal);
  }

  /** Ends the load, and waits for requests in progress. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#workers);
  }

  /** Reads every object at every node; the ledger records contradictions. */
  async check(): Promise<void> {
    const all = [...this.ledger.entries.values()];
    await Promise.all(
      this.#clients.map(async (_, at) => {
        const left = [...all];
        const worker = async () => {
          for (let entry = left.pop(); entry !== undefined; entry = left.pop()) {
            await this.#settled(entry, at);
          }
        };
        await Promise.all([worker(), worker(), worker(), worker()]);
      }),
    );
  }

  /** What happened, on one line. */
  summary(): string {
    const failures = [...this.failures].map(([what, count]) => `${count} × ${what}`).join("; ");
    const { read, write } = this.done;
    const objects = this.ledger.entries.size;
    return `${objects} objects, ${write} changes, ${read} reads, slowest ${Math.round(this.slowestMs)} ms; ${failures === "" ? "no failures" : failures}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      const entry = this.#pick();
      const dice = this.#random();
      if (entry === undefined || dice < 0.3) await this.#make();
      else if (dice < 0.7 || entry.held) await this.#read(entry, this.#next());
      else await this.#move(entry);
      await sleep(this.#restMs);
    }
  }

  async #noticePauses(): Promise<void> {
    const restMs = 100;
    while (!this.#stopped) {
      const began = performance.now();
      await sleep(restMs);
      this.#pausedMs += Math.max(0, performance.now() - began - restMs);
    }
  }

  async #make(): Promise<void> {
    const at = this.#next();
    const client = this.#client(at);
    const own = this.#random() < 0.6 ? randomBytes(32) : undefined;
    const id = await this.#attempt("write", at, () =>
      own === undefined ? createKey(client) : registerKey(client, own),
    );
    if (id === undefined) return;
    // A new key is used at the other node at once, as vCenter does.
    await this.#read(this.ledger.made(id, own?.toString("hex")), this.#next());
  }

  async #read(entry: Entry, at: number): Promise<boolean> {
    const before = entry.rank;
    const seen = await this.#attempt("read", at, () => look(this.#client(at), entry.id));
    if (seen === undefined) return false;
    const answered = this.ledger.compare(entry, before, `at node ${at}`, seen);
    if (!answered) this.#failed(`read: ${seen.state.message ?? seen.key.message}`);
    return answered;
  }

  /** Reads an object until it is answered. */
  async #settled(entry: Entry, at: number): Promise<void> {
    await until(`an answer for ${entry.id} at node ${at}`, () => this.#read(entry, at));
  }

  async #move(entry: Entry): Promise<void> {
    const at = this.#next();
    const client = this.#client(at);
    const request = { uniqueIdentifier: entry.id };
    const [to, send] = this.#transition(entry, client, request);
    // Activating an Active key changes nothing, so it may succeed when only reads do.
    const kind = to > entry.rank ? "write" : "read";
    entry.tried = Math.max(entry.tried, to);
    entry.held = true;
    let isLost = false;
    const answer = await this.#attempt(kind, at, () =>
      send().catch((error: unknown) => {
        isLost = error instanceof ConnectionError && error.failure === "lost";
        throw error;
      }),
    );
    if (answer === undefined) {
      if (kind === "write" && isLost) entry.unanswered = to;
      return;
    }
    entry.held = false;
    this.ledger.reached(entry, to);
  }

  #transition(
    entry: Entry,
    client: KmipClient,
    request: { readonly uniqueIdentifier: string },
  ): [number, () => Promise<unknown>] {
    const dice = this.#random();
    if (entry.rank < active || (entry.rank === active && dice < 0.5)) {
      return [active, () => client.activate(request)];
    }
    if (entry.rank === active) {
      const code = dice < 0.75 ? "KeyCompromise" : "CessationOfOperation";
      const to = rankOf(code === "KeyCompromise" ? "Compromised" : "Deactivated");
      return [to, () => client.revoke({ ...request, revocationReason: { code } })];
    }
    const to = rankOf(entry.rank === rankOf("Compromised") ? "DestroyedCompromised" : "Destroyed");
    return [to, () => client.destroy(request)];
  }

  /** Runs one request; undefined if it failed in a way that a fault of the region may cause. */
  async #attempt<Answer>(
    kind: Kind,
    at: number,
    send: () => Promise<Answer>,
  ): Promise<Answer | undefined> {
    const began = performance.now();
    const pausedBefore = this.#pausedMs;
    try {
      const answer = await send();
      this.done[kind] += 1;
      this.#latest.set(`${kind} ${at}`, began);
      return answer;
    } catch (error) {
      const what = allowed(error);
      if (what === undefined) this.ledger.violations.push(`${kind} at node ${at}: ${error}`);
      else this.#failed(`${kind}: ${what}`);
      // Like real clients, it does not retry without a pause.
      await sleep(20);
      return undefined;
    } finally {
      const tookMs = performance.now() - began - (this.#pausedMs - pausedBefore);
      this.slowestMs = Math.max(this.slowestMs, tookMs);
      if (tookMs > answerBoundMs) {
        this.ledger.violations.push(`${kind} at node ${at} took ${Math.round(tookMs)} ms`);
      }
    }
  }

  #failed(what: string): void {
    this.failures.set(what, (this.failures.get(what) ?? 0) + 1);
  }

  /** A random object, except those at the end of their life, which are left for the check. */
  #pick(): Entry | undefined {
    const all = [...this.ledger.entries.values()];
    const entry = all[Math.floor(this.#random() * all.length)];
    return entry === undefined || entry.rank >= rankOf("Destroyed") ? undefined : entry;
  }

  #client(at: number): KmipClient {
    const client = this.#clients[at];
    if (client === undefined) throw new Error(`no node ${at}`);
    return client;
  }

  #next(): number {
    this.#turn = (this.#turn + 1) % this.#clients.length;
    return this.#turn;
  }
}

/** A client of one node. */
export function clientOf(region: Region, instance: string, at: number): Promise<KmipClient> {
  const { host, port, ca, certificate, key } = region.target(instance, at);
  return KmipClient.connect({
    endpoints: [`${host}:${port}`],
    tls: { ca, certificate, key },
    version: "1.4",
    connectionsMax: 8,
    connectTimeoutMs: answerBoundMs,
    requestTimeoutMs: answerBoundMs + 1_000,
  });
}

/** Prints what a test measured. */
export function say(line: string): void {
  process.stdout.write(`    ${line}\n`);
}

/** The name of a failure that a broken region may cause; undefined for any other. */
function allowed(error: unknown): string | undefined {
  if (error instanceof ConnectionError) return error.failure;
  if (error instanceof KmipClientError && error.reason === "GeneralFailure") {
    return error.resultMessage ?? "General Failure without a message";
  }
  return undefined;
}
