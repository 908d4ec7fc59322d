import { hash } from "node:crypto";
import type { Command } from "./command.ts";
import type { Loaded, LuaMachine } from "./lua-machine.ts";
import { small } from "./numbers.ts";
import {
  type Bytes,
  CommandError,
  errors,
  Failure,
  NotModelled,
  ok,
  type Reply,
  Status,
} from "./reply.ts";
import { scanCommands } from "./scan-command.ts";
import { runByRules } from "./script-rules.ts";
import { sortedSetCommands } from "./sorted-set-commands.ts";
import { streamCommands } from "./stream-commands.ts";
import { hashCommands, textCommands, wrongNumber } from "./text-commands.ts";
import { Keyspace } from "./values.ts";

const commands: ReadonlyMap<string, Command> = new Map(
  Object.entries({
    ...textCommands,
    ...hashCommands,
    ...sortedSetCommands,
    ...streamCommands,
    ...scanCommands,
  }),
);

/** A script that a server knows. */
interface KnownScript {
  readonly loaded: Loaded;
  readonly name: string;
  readonly noWrites: boolean;
  readonly allowOom: boolean;
  /** Keys and arguments → the last answer, if it only read. */
  readonly answers: Map<string, Answered>;
}

/** What a script answered when it had looked at these keys, and the number of the last change before that. */
interface Answered {
  readonly reply: Reply;
  readonly keys: ReadonlySet<Bytes>;
  readonly changes: number;
}

/** More answers of one script are not kept. */
const answersMax = 200;

/** What surrounds a server. */
export interface Surroundings {
  readonly lua: LuaMachine;
  /** The server's wall clock. */
  readonly wallMs: () => number;
  /** Told each command that changed data, in order: what goes into the AOF and to replicas. */
  readonly changed?: ((line: readonly Bytes[]) => void) | undefined;
  /** What really runs in place of a script: a planted fault. */
  readonly edited?: ((source: string) => string) | undefined;
  /** Told what a script broke that must hold after each one. */
  readonly broken?: ((what: string) => void) | undefined;
}

/** A Redis server: its data, its scripts, and which commands it refuses. */
export class RedisModel {
  readonly data = new Keyspace();
  readonly #scripts = new Map<string, KnownScript>();
  readonly #surroundings: Surroundings;
  role: "primary" | "replica" = "primary";
  /** Whether memory is full. */
  full = false;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** A connection of a client. */
  connect(): Session {
    return new Session(this);
  }

  /** Forgets all scripts, as a server does that starts anew. */
  forgetScripts(): void {
    this.#scripts.clear();
  }

  /** Why a command is not even queued in a transaction; undefined if nothing speaks against it. */
  refusal(name: string, line: readonly Bytes[]): Failure | undefined {
    const { writes, grows } = this.#kind(name, line);
    if (grows && this.full && this.role === "primary") return new Failure(errors.outOfMemory);
    if (writes && this.role === "replica") return new Failure(errors.readOnly);
    return undefined;
  }

  /** Runs a command that was not refused. */
  perform(name: string, args: readonly Bytes[]): Reply {
    try {
      if (name === "EVALSHA") return this.#evaluate(args);
      if (name === "SCRIPT") return this.#script(args);
      return this.#run(name, args);
    } catch (error) {
      if (error instanceof CommandError) return new Failure(error.message);
      throw error;
    }
  }

  #kind(name: string, line: readonly Bytes[]): Pick<Command, "writes" | "grows"> {
    if (name !== "EVALSHA") return commands.get(name) ?? { writes: false, grows: false };
    const script = this.#scripts.get(line[1]?.toLowerCase() ?? "");
    if (script === undefined) return { writes: false, grows: false };
    return { writes: !script.noWrites, grows: !script.noWrites && !script.allowOom };
  }

  #run(name: string, args: readonly Bytes[]): Reply {
    if (name === "TIME") return this.#time();
    const command = commands.get(name);
    if (command === undefined) throw new NotModelled(`the command ${name}`);
    const before = this.data.changes;
    try {
      return command.run(this.data, args);
    } finally {
      if (this.data.changes !== before) this.#surroundings.changed?.([name, ...args]);
    }
  }

  #time(): Reply {
    this.data.lookElsewhere();
    const us = Math.floor(this.#surroundings.wallMs() * 1_000);
    return [String(Math.floor(us / 1_000_000)), String(us % 1_000_000)];
  }

  #script([what = "", source = ""]: readonly Bytes[]): Reply {
    if (what.toUpperCase() !== "LOAD") throw new NotModelled(`SCRIPT ${what}`);
    const [, flags] = /^#!lua(?: flags=(\S*))?\n/.exec(source) ?? [];
    if (!source.startsWith("#!lua")) throw new NotModelled("scripts without #!lua");
    const sha = hash("sha1", Buffer.from(source, "latin1"));
    const { lua, edited } = this.#surroundings;
    const loaded = lua.load(edited?.(source) ?? source);
    if (loaded instanceof Failure) return loaded;
    const has = (flag: string): boolean => flags?.split(",").includes(flag) ?? false;
    const flagged = { noWrites: has("no-writes"), allowOom: has("allow-oom") };
    const [, name = ""] = /^-- (\S+)\.lua/m.exec(source) ?? [];
    this.#scripts.set(sha, { loaded, name, ...flagged, answers: new Map() });
    return sha;
  }

  #evaluate([name = "", amount = "", ...rest]: readonly Bytes[]): Reply {
    const keys = small(amount);
    if (keys > rest.length) {
      throw new CommandError("ERR Number of keys can't be greater than number of args");
    }
    if (keys < 0) throw new CommandError("ERR Number of keys can't be negative");
    const sha = name.toLowerCase();
    const script = this.#scripts.get(sha);
    if (script === undefined) throw new CommandError(errors.noScript);
    const given = { keys: rest.slice(0, keys), args: rest.slice(keys) };
    const { lua, broken } = this.#surroundings;
    const run = (): Reply =>
      lua.run(script.loaded, sha, given.keys, given.args, (line) => this.#called(script, line));
    if (script.noWrites) return this.#same(script.answers, amount, rest, run);
    if (broken === undefined) return run();
    return runByRules({ name: script.name, ...given, data: this.data }, run, broken);
  }

  /** A script that only reads answers the same again while the keys at which it looked have not changed. */
  #same(
    answers: Map<string, Answered>,
    amount: Bytes,
    rest: readonly Bytes[],
    run: () => Reply,
  ): Reply {
    const { data } = this;
    const asked = `${amount} ${rest.map((text) => text.length).join()} ${rest.join("")}`;
    const known = answers.get(asked);
    if (known !== undefined && data.unchanged(known.keys, known.changes)) return known.reply;
    let reply: Reply = null;
    const keys = data.keysOf(() => {
      reply = run();
    });
    if (answers.size >= answersMax) answers.clear();
    if (keys !== undefined) answers.set(asked, { reply, keys, changes: data.changes });
    return reply;
  }

  /** A script's `redis.call`. */
  #called({ noWrites }: KnownScript, line: readonly Bytes[]): Reply {
    const word = line[0] ?? "";
    const exact = commands.get(word);
    const name = exact === undefined ? word.toUpperCase() : word;
    const kind = exact ?? known(name);
    if (kind === undefined) return new Failure("ERR Unknown Redis command called from script");
    if (!fits(kind.words, line.length)) {
      return new Failure("ERR Wrong number of args calling Redis command from script");
    }
    if (exact === undefined && sessionCommands.has(name)) {
      return new Failure("ERR This Redis command is not allowed from script");
    }
    if (noWrites && kind.writes) {
      return new Failure("ERR Write commands are not allowed from read-only scripts.");
    }
    return this.perform(name, line.slice(1));
  }
}

/** Commands that are no commands of data, with their number of words. */
const sessionCommands: ReadonlyMap<string, number> = new Map([
  ["EVALSHA", -3],
  ["SCRIPT", -2],
  ["MULTI", 1],
  ["EXEC", 1],
]);

function known(name: string): Pick<Command, "words" | "writes"> | undefined {
  const command = commands.get(name);
  if (command !== undefined) return command;
  const words = name === "TIME" ? 1 : sessionCommands.get(name);
  return words === undefined ? undefined : { words, writes: false };
}

function fits(words: number, given: number): boolean {
  return words < 0 ? given >= -words : given === words;
}

/** One client's connection to a server: what it has queued since MULTI. */
export class Session {
  readonly #server: RedisModel;
  #queued: (readonly Bytes[])[] | undefined;
  #aborted = false;

  constructor(server: RedisModel) {
    this.#server = server;
  }

  /** Answers one command. */
  execute(line: readonly Bytes[]): Reply {
    const name = line[0]?.toUpperCase() ?? "";
    const refused = this.#refusal(name, line);
    if (refused !== undefined) {
      this.#aborted = true;
      return refused;
    }
    if (name === "EXEC") return this.#exec();
    if (name === "MULTI") return this.#multi();
    if (this.#queued !== undefined) {
      this.#queued.push(line);
      return new Status("QUEUED");
    }
    return this.#server.perform(name, line.slice(1));
  }

  #multi(): Reply {
    if (this.#queued !== undefined) return new Failure("ERR MULTI calls can not be nested");
    this.#queued = [];
    this.#aborted = false;
    return ok;
  }

  #refusal(name: string, line: readonly Bytes[]): Failure | undefined {
    const kind = known(name);
    if (kind === undefined) return unknownCommand(line);
    if (!fits(kind.words, line.length)) {
      return new Failure(wrongNumber(line[0]?.toLowerCase() ?? "").message);
    }
    return this.#server.refusal(name, line);
  }

  #exec(): Reply {
    const queued = this.#queued;
    this.#queued = undefined;
    if (queued === undefined) return new Failure("ERR EXEC without MULTI");
    if (this.#aborted) {
      return new Failure("EXECABORT Transaction discarded because of previous errors.");
    }
    return queued.map(([name = "", ...args]) => this.#server.perform(name.toUpperCase(), args));
  }
}

function unknownCommand([name = "", ...args]: readonly Bytes[]): Failure {
  const some = args.map((arg) => `'${arg}' `).join("");
  return new Failure(`ERR unknown command '${name}', with args beginning with: ${some}`);
}
