import { LuaMachine } from "../lua-machine.ts";
import { RedisModel, type Session } from "../redis-model.ts";
import { type Bytes, Failure, type Reply, Status } from "../reply.ts";
import { RealRedis } from "./real-redis.ts";

/** The command that reads the value of each type. */
const readers: Readonly<Record<string, (key: Bytes) => readonly Bytes[]>> = {
  string: (key) => ["GET", key],
  hash: (key) => ["HGETALL", key],
  zset: (key) => ["ZRANGE", key, "0", "-1", "WITHSCORES"],
  stream: (key) => ["XRANGE", key, "-", "+"],
};

/** A command, and what the model answered. */
interface Step {
  readonly line: readonly Bytes[];
  readonly reply: Reply;
}

/** The model and a real Redis, which must answer alike and keep the same data. */
export class Both implements AsyncDisposable {
  readonly #real: RealRedis;
  readonly #lua: LuaMachine;
  readonly #model: RedisModel;
  #session: Session;
  #steps: Step[] = [];
  #changes: (readonly Bytes[])[] = [];

  private constructor(real: RealRedis, lua: LuaMachine) {
    this.#real = real;
    this.#lua = lua;
    this.#model = this.#newModel();
    this.#session = this.#model.connect();
  }

  static async start(): Promise<Both> {
    return new Both(await RealRedis.start(), await LuaMachine.create());
  }

  /** The model, as the sequence that is being made has left it. */
  get model(): RedisModel {
    return this.#model;
  }

  /** Begins a sequence with empty data; scripts stay known. */
  begin(): void {
    this.#steps = [];
    this.#changes = [];
    this.#session = this.#model.connect();
    this.execute(["FLUSHALL"]);
  }

  /** Answers a command from the model, and keeps it for the real server. */
  execute(line: readonly Bytes[]): Reply {
    const reply = this.#session.execute(line);
    this.#steps.push({ line, reply });
    return reply;
  }

  /** Sends commands to the real server only, such as CONFIG SET. */
  async arrange(...lines: (readonly Bytes[])[]): Promise<void> {
    await this.#real.execute(lines);
  }

  /**
   * Sends the real server what it has not got yet, and compares answers and data. The changes that the model told since
   * the beginning, made again elsewhere, must make the same data.
   */
  async compare(): Promise<void> {
    // A transaction that is still open would reach into the next sequence.
    this.execute(["EXEC"]);
    const steps = this.#steps;
    this.#steps = [];
    const replies = await this.#real.execute(steps.map(({ line }) => line));
    for (const [at, { line, reply }] of steps.entries()) {
      mustEqual(
        `step ${at} of ${steps.length}, ${line.map(show).join(" ")}`,
        told(reply),
        told(replies[at] ?? null),
      );
    }
    const dump = await this.#dump();
    mustEqual("data", dumpOf(this.#model), dump);
    const copy = this.#newModel();
    for (const [name = "", ...args] of [...this.#changes]) copy.perform(name, args);
    mustEqual("data by the changes alone", dumpOf(copy), dump);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#real[Symbol.asyncDispose]();
  }

  async #dump(): Promise<string> {
    const [keys] = await this.#real.execute([["KEYS", "*"]]);
    const names = (keys as Bytes[]).toSorted();
    const types = await this.#real.execute(names.map((key) => ["TYPE", key]));
    const lines = names.map((key, at) => readLine((types[at] as Status).text, key));
    return dumpText(names, await this.#real.execute(lines));
  }

  #newModel(): RedisModel {
    return new RedisModel({
      lua: this.#lua,
      wallMs: () => 0,
      changed: (line) => this.#changes.push(line),
    });
  }
}

function dumpOf(model: RedisModel): string {
  const names = model.data.keys().toSorted();
  const lines = names.map((key) => readLine(model.data.typeOf(key), key));
  return dumpText(
    names,
    lines.map(([name = "", ...args]) => model.perform(name, args)),
  );
}

function readLine(type: string, key: Bytes): readonly Bytes[] {
  const reader = readers[type];
  if (reader === undefined) throw new Error(`${show(key)} is of the unknown type ${type}`);
  return reader(key);
}

function dumpText(names: readonly Bytes[], values: readonly Reply[]): string {
  return names.map((name, at) => `${show(name)} = ${told(values[at] ?? null)}`).join("\n");
}

function mustEqual(what: string, model: string, real: string): void {
  if (model === real) return;
  throw new Error(`the model and Redis differ in ${what}:\nmodel: ${model}\nRedis: ${real}`);
}

/** An answer as text that can be printed. */
function told(reply: Reply): string {
  if (typeof reply === "string") return show(reply);
  if (reply instanceof Status) return `+${reply.text}`;
  if (reply instanceof Failure) return `-${reply.text}`;
  return reply === null || typeof reply === "number"
    ? String(reply)
    : `[${reply.map(told).join(" ")}]`;
}

function show(bytes: Bytes): string {
  return JSON.stringify(bytes).replaceAll(
    /[\x7f-\xff]/g,
    (one) => `\\x${one.charCodeAt(0).toString(16)}`,
  );
}
