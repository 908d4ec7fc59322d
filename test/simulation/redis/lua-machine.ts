import { hash } from "node:crypto";
import { LuaApi, luaTypes } from "./lua-api.ts";
import { prelude } from "./lua-prelude.ts";
import { numberText } from "./numbers.ts";
import { type Bytes, Failure, type Reply, Status } from "./reply.ts";
import { pack, StructError, unpack } from "./struct.ts";

/** Answers a script's `redis.call`. It must not throw. */
export type Caller = (line: readonly Bytes[]) => Reply;

/** A script that is loaded, by number. */
export type Loaded = number;

/** Lua 5.1 with what Redis gives to scripts. It keeps nothing from one run to the next, so one serves all servers. */
export class LuaMachine {
  readonly #lua: LuaApi;
  readonly #globals: number;
  readonly #environment: number;
  readonly #handler: number;
  /** Source → what it was compiled to. */
  readonly #loaded = new Map<string, Loaded>();
  readonly #sources: string[] = [];
  /** The source of the script that runs. */
  #source = "";
  #caller: Caller = () => new Failure("ERR no script runs");
  /** A fault of the model itself, which a script must not swallow. */
  #fault: { readonly error: unknown } | undefined;

  private constructor(lua: LuaApi) {
    this.#lua = lua;
    this.#global("redis_call", () => this.#redis(true));
    this.#global("redis_pcall", () => this.#redis(false));
    this.#global("redis_sha1hex", () => {
      const digest = hash("sha1", Buffer.from(lua.textAt(1), "latin1"));
      lua.pushText(digest);
      return 1;
    });
    this.#global("struct_pack", () => this.#pack());
    this.#global("struct_unpack", () => this.#unpack());
    this.#global("bit_bxor", () => {
      let word = 0;
      for (let i = 1; i <= lua.top; i += 1)
        word ^= Number(BigInt.asIntN(32, BigInt(lua.numberAt(i))));
      lua.pushNumber(word);
      return 1;
    });
    if (!lua.pushChunk(prelude, "=prelude")) throw new Error(lua.textAt(-1));
    lua.pushFunction(() => {
      const name = lua.textAt(2);
      return lua.raiseHere(`Script attempted to access nonexistent global variable '${name}'`);
    });
    lua.pushFunction(() => lua.raiseHere("Attempt to modify a readonly table"));
    if (lua.call(2, 3)) throw new Error(lua.textAt(-1));
    this.#handler = lua.keep();
    this.#environment = lua.keep();
    this.#globals = lua.keep();
  }

  static async create(): Promise<LuaMachine> {
    return new LuaMachine(await LuaApi.open());
  }

  /** Source of each script that has run → the lines that were reached, from now on. */
  watchLines(): ReadonlyMap<string, ReadonlySet<number>> {
    const reached = new Map<string, Set<number>>();
    this.#lua.watchLines((line) => {
      const lines = reached.get(this.#source) ?? new Set();
      reached.set(this.#source, lines.add(line));
    });
    return reached;
  }

  /** Compiles a script; a `Failure` where it is no Lua. */
  load(source: string): Loaded | Failure {
    const known = this.#loaded.get(source);
    if (known !== undefined) return known;
    const lua = this.#lua;
    lua.top = 0;
    // The line with the flags goes, its end stays: so lines keep their numbers.
    if (!lua.pushChunk(source.replace(/^#!.*/, ""), "@user_script")) {
      return new Failure(`ERR Error compiling script (new function): ${lua.textAt(-1)}`);
    }
    lua.pushKept(this.#environment);
    lua.setEnvironment();
    const loaded = lua.keep();
    this.#loaded.set(source, loaded);
    this.#sources[loaded] = source;
    return loaded;
  }

  /** Runs a script that was loaded, and answers as EVALSHA does. */
  run(script: Loaded, sha: string, keys: readonly Bytes[], args: readonly Bytes[], caller: Caller) {
    const lua = this.#lua;
    this.#caller = caller;
    this.#source = this.#sources[script] ?? "";
    lua.top = 0;
    lua.pushKept(this.#globals);
    this.#pushList(keys);
    lua.setField(1, "KEYS");
    this.#pushList(args);
    lua.setField(1, "ARGV");
    lua.pushKept(this.#handler);
    lua.pushKept(script);
    const failed = lua.call(0, 1, 2);
    const fault = this.#fault;
    this.#fault = undefined;
    if (fault !== undefined) throw fault.error;
    return failed ? this.#failure(sha) : this.#toReply(lua.top);
  }

  #global(name: string, callback: () => number): void {
    this.#lua.pushFunction(callback);
    this.#lua.setGlobal(name);
  }

  #pushList(texts: readonly Bytes[]): void {
    this.#lua.pushTable(texts.length, 0);
    const table = this.#lua.top;
    let at = 0;
    for (const text of texts) {
      at += 1;
      this.#lua.pushText(text);
      this.#lua.setItem(table, at);
    }
  }

  #redis(raises: boolean): number {
    const line = this.#line();
    const answer = line instanceof Failure ? line : this.#answer(line);
    this.#push(answer);
    return raises && answer instanceof Failure ? this.#lua.raise() : 1;
  }

  #answer(line: readonly Bytes[]): Reply {
    try {
      return this.#caller(line);
    } catch (error) {
      this.#fault ??= { error };
      return new Failure("ERR the model failed");
    }
  }

  /** The arguments of `redis.call`. */
  #line(): readonly Bytes[] | Failure {
    const values = this.#lua.values();
    if (values.length === 0) {
      return new Failure("ERR Please specify at least one argument for this redis lib call");
    }
    for (let at = 0; at < values.length; at += 1) {
      const value = values[at];
      if (value === undefined) {
        return new Failure("ERR Lua redis lib command arguments must be strings or integers");
      }
      if (typeof value === "number") values[at] = numberText(value);
    }
    return values as Bytes[];
  }

  #push(reply: Reply): void {
    const lua = this.#lua;
    if (reply === null) lua.pushBoolean(false);
    else if (typeof reply === "number") lua.pushNumber(reply);
    else if (typeof reply === "string") lua.pushText(reply);
    else if (reply instanceof Status) this.#pushField("ok", reply.text);
    else if (reply instanceof Failure) this.#pushField("err", reply.text);
    else {
      lua.pushTable(reply.length, 0);
      const table = lua.top;
      for (const [at, item] of reply.entries()) {
        this.#push(item);
        lua.setItem(table, at + 1);
      }
    }
  }

  #pushField(name: string, text: string): void {
    this.#lua.pushTable(0, 1);
    const table = this.#lua.top;
    this.#lua.pushText(text);
    this.#lua.setField(table, name);
  }

  #pack(): number {
    const lua = this.#lua;
    const numbers: (number | undefined)[] = [];
    for (let i = 2; i <= lua.top; i += 1) numbers.push(lua.numberAt(i));
    return this.#struct(() => {
      lua.pushText(pack(lua.textAt(1), numbers));
      return 1;
    });
  }

  #unpack(): number {
    const lua = this.#lua;
    return this.#struct(() => {
      const from = lua.top < 3 ? 1 : lua.numberAt(3);
      const numbers = unpack(lua.textAt(1), lua.textAt(2), from);
      for (const number of numbers) lua.pushNumber(number);
      return numbers.length;
    });
  }

  #struct(run: () => number): number {
    let wrong: StructError;
    try {
      return run();
    } catch (error) {
      if (!(error instanceof StructError)) throw error;
      wrong = error;
    }
    return this.#lua.raiseArgument(wrong.argument, wrong.message);
  }

  /** The value of a script as an answer: numbers are cut, a list ends at the first nil. */
  #toReply(index: number): Reply {
    const lua = this.#lua;
    const value = lua.last();
    if (typeof value === "number") return Math.trunc(value) + 0;
    if (value !== undefined) return value;
    const type = lua.typeAt(index);
    if (type === luaTypes.boolean) return lua.booleanAt(index) ? 1 : null;
    if (type !== luaTypes.table) return null;
    const failure = this.#field(index, "err");
    if (failure !== undefined) return new Failure(failure);
    const status = this.#field(index, "ok");
    if (status !== undefined) return new Status(status);
    const items: Reply[] = [];
    for (;;) {
      lua.getItem(index, items.length + 1);
      const item = index + 1;
      const end = lua.typeAt(item) === luaTypes.nil;
      if (!end) items.push(this.#toReply(item));
      lua.pop();
      if (end) return items;
    }
  }

  #field(table: number, name: string): string | undefined {
    const lua = this.#lua;
    lua.getField(table, name);
    const value = lua.last();
    const text = typeof value === "string" ? value : undefined;
    lua.pop();
    return text;
  }

  /** The error that a script ended with, in Redis' words. */
  #failure(sha: string): Failure {
    const error = this.#lua.top;
    const message = this.#field(error, "err") ?? "ERR unknown error";
    const source = this.#field(error, "source");
    this.#lua.getField(error, "line");
    const line = this.#lua.last();
    const place = source === undefined ? "" : `, on ${source}:${line}.`;
    return new Failure(`${message} script: ${sha}${place}`.replaceAll(/[\r\n]/g, " "));
  }
}
