import type { Exchange, LoadPlan, LoadResult, Message } from "./load-plan.ts";
import { cpuSeconds } from "./process-figures.ts";
import { Histogram } from "./statistics.ts";
import { Contexts, identifierIn, refusalIn, Wire } from "./wire.ts";

const failuresMax = 200;
/** PyKMIP's server has a backlog of five connections. */
const openingMax = 4;

interface Prepared extends Omit<Message, "bytes"> {
  readonly bytes: Buffer;
  /** Whether its answer may have the identifier that a later message needs. */
  readonly teaches: boolean;
}

/** Runs one plan: opens, warms up, measures, closes. */
export class Load {
  readonly #plan: LoadPlan;
  readonly #operations: readonly (readonly (readonly Prepared[])[])[];
  readonly #contexts = new Contexts();
  readonly #wires = new Set<Wire>();
  readonly #histogram = new Histogram();
  readonly #done: Promise<void>;
  #endEarly: () => void = () => undefined;
  /** How many connections, operations and numbers have been used. */
  #opened = 0;
  #begun = 0;
  #number = 0;
  #nextTurnMs = 0;
  #phase: "warm" | "measure" | "over" = "warm";
  #failures = 0;
  #firstFailure: string | undefined;

  constructor(plan: LoadPlan) {
    this.#plan = plan;
    this.#operations = plan.operations.map(prepare);
    this.#done = new Promise((resolve) => {
      this.#endEarly = resolve;
    });
  }

  get #over(): boolean {
    return this.#phase === "over";
  }

  async run(): Promise<LoadResult> {
    const { persistent, warmMs } = this.#plan;
    try {
      const workers = persistent ? await this.#openAll() : this.#startAll();
      const running = Promise.all(workers.map((worker) => worker()));
      await Promise.race([sleep(warmMs), running]);
      const result = await this.#measure();
      await running;
      return result;
    } finally {
      this.#phase = "over";
      await Promise.all([...this.#wires].map((wire) => wire.destroy()));
    }
  }

  async #measure(): Promise<LoadResult> {
    const { pids, measureMs } = this.#plan;
    const names = Object.keys(pids);
    const read = () => names.map((name) => cpuSeconds(pids[name] ?? []));
    const before = read();
    const loadBefore = process.cpuUsage();
    const sinceMs = performance.now();
    this.#phase = "measure";
    await Promise.race([sleep(measureMs), this.#done]);
    this.#phase = "over";
    const seconds = (performance.now() - sinceMs) / 1000;
    const after = read();
    const load = process.cpuUsage(loadBefore);
    const used = names.map((name, at) => [name, (after[at] ?? 0) - (before[at] ?? 0)] as const);
    return {
      operations: this.#histogram.count,
      failures: this.#failures,
      ...(this.#firstFailure === undefined ? {} : { firstFailure: this.#firstFailure }),
      seconds,
      histogram: this.#histogram.toJSON(),
      cpuSeconds: Object.fromEntries(used),
      loadCpuSeconds: (load.user + load.system) / 1e6,
    };
  }

  /** Opens a few at a time. */
  async #openAll(): Promise<(() => Promise<void>)[]> {
    const workers: (() => Promise<void>)[] = [];
    let next = 0;
    const opener = async () => {
      while (next < this.#plan.connections) {
        next += 1;
        const wire = await this.#open();
        workers.push(() => this.#repeat(wire));
      }
    };
    await Promise.all(Array.from({ length: openingMax }, opener));
    return workers;
  }

  #startAll(): (() => Promise<void>)[] {
    return Array.from({ length: this.#plan.connections }, () => () => this.#converse());
  }

  /** The next operation in turn, whichever connection asks. */
  #nextOperation(): readonly (readonly Prepared[])[] {
    this.#begun += 1;
    return this.#operations[this.#begun % this.#operations.length] ?? [];
  }

  async #open(): Promise<Wire> {
    const { targets } = this.#plan;
    const target = targets[this.#opened++ % targets.length];
    if (target === undefined) throw new Error("nothing to connect to");
    const wire = await Wire.open(target, this.#contexts);
    this.#wires.add(wire);
    return wire;
  }

  /** Sends the first exchange of each operation on one connection, until the end. */
  async #repeat(first: Wire): Promise<void> {
    let wire = first;
    while (!this.#over) {
      await this.#turn();
      const sinceMs = performance.now();
      try {
        await this.#exchangeAll(wire, this.#nextOperation()[0] ?? [], undefined);
        this.#count(sinceMs);
      } catch (error) {
        this.#failed(error);
        this.#wires.delete(wire);
        await wire.destroy();
        if (!this.#over) wire = await this.#open();
      }
    }
  }

  /** Waits until the rate lets another operation begin. */
  async #turn(): Promise<void> {
    const { ratePerSecond } = this.#plan;
    if (ratePerSecond === undefined) return;
    const now = performance.now();
    const atMs = Math.max(now, this.#nextTurnMs);
    this.#nextTurnMs = atMs + 1000 / ratePerSecond;
    if (atMs > now) await sleep(atMs - now);
  }

  /** Opens a new connection for each exchange, until the end. */
  async #converse(): Promise<void> {
    while (!this.#over) {
      const sinceMs = performance.now();
      try {
        let id: string | undefined;
        for (const messages of this.#nextOperation()) {
          const wire = await this.#open();
          try {
            id = await this.#exchangeAll(wire, messages, id);
          } finally {
            this.#wires.delete(wire);
            wire.end();
          }
        }
        this.#count(sinceMs);
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  /** Sends each message after the answer to the one before; returns the identifier from answers. */
  async #exchangeAll(
    wire: Wire,
    messages: readonly Prepared[],
    known: string | undefined,
  ): Promise<string | undefined> {
    let id = known;
    for (const message of messages) {
      const answer = await wire.exchange(this.#filled(message, id));
      const refusal = refusalIn(answer);
      if (refusal !== undefined) throw new Error(refusal);
      if (message.teaches) id = identifierIn(answer) ?? id;
    }
    return id;
  }

  #filled({ bytes, idsAt, numbersAt }: Prepared, id = ""): Buffer {
    if (idsAt.length === 0 && numbersAt.length === 0) return bytes;
    const own = Buffer.from(bytes);
    for (const at of idsAt) own.write(id, at, "latin1");
    for (const at of numbersAt) own.write(this.#nextNumber(), at, "latin1");
    return own;
  }

  #nextNumber(): string {
    this.#number += 1;
    return String(this.#number).padStart(10, "0");
  }

  #count(sinceMs: number): void {
    if (this.#phase !== "measure") return;
    this.#histogram.record((performance.now() - sinceMs) * 1000);
    const { operationsMax = Number.POSITIVE_INFINITY } = this.#plan;
    if (this.#histogram.count >= operationsMax) this.#endEarly();
  }

  #failed(error: unknown): void {
    this.#failures += 1;
    this.#firstFailure ??= error instanceof Error ? error.message : String(error);
    if (this.#failures > failuresMax) throw new Error(`too many failures: ${this.#firstFailure}`);
  }
}

function prepare(exchanges: readonly Exchange[]): readonly (readonly Prepared[])[] {
  const needed = exchanges.some((messages) => messages.some(({ idsAt }) => idsAt.length > 0));
  return exchanges.map((messages) =>
    messages.map((message) => ({
      ...message,
      bytes: Buffer.from(message.bytes, "base64"),
      teaches: needed && message.idsAt.length === 0,
    })),
  );
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
