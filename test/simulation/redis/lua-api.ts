import { Lua } from "wasmoon-lua5.1";

/** Lua's C functions that the machine calls, as WebAssembly has them; states and texts are addresses. */
interface Functions {
  readonly luaL_newstate: () => number;
  readonly luaL_openlibs: (state: number) => void;
  readonly luaL_loadbuffer: (state: number, at: number, length: number, name: number) => number;
  readonly luaL_ref: (state: number, table: number) => number;
  readonly luaL_where: (state: number, level: number) => void;
  readonly luaL_argerror: (state: number, argument: number, message: number) => number;
  readonly lua_pcall: (state: number, args: number, results: number, handler: number) => number;
  readonly lua_error: (state: number) => number;
  readonly lua_concat: (state: number, count: number) => void;
  readonly lua_settop: (state: number, top: number) => void;
  readonly lua_checkstack: (state: number, count: number) => number;
  readonly lua_type: (state: number, index: number) => number;
  readonly lua_toboolean: (state: number, index: number) => number;
  readonly lua_tonumber: (state: number, index: number) => number;
  readonly lua_tolstring: (state: number, index: number, length: number) => number;
  readonly lua_pushnil: (state: number) => void;
  readonly lua_pushboolean: (state: number, value: number) => void;
  readonly lua_pushnumber: (state: number, value: number) => void;
  readonly lua_pushlstring: (state: number, at: number, length: number) => void;
  readonly lua_pushcclosure: (state: number, callback: number, values: number) => void;
  readonly lua_createtable: (state: number, list: number, fields: number) => void;
  readonly lua_rawgeti: (state: number, table: number, index: number) => void;
  readonly lua_rawseti: (state: number, table: number, index: number) => void;
  readonly lua_getfield: (state: number, table: number, name: number) => void;
  readonly lua_setfield: (state: number, table: number, name: number) => void;
  readonly lua_setfenv: (state: number, index: number) => number;
  readonly lua_gc: (state: number, what: number, value: number) => number;
  readonly lua_sethook: (state: number, hook: number, mask: number, count: number) => number;
  readonly malloc: (bytes: number) => number;
  readonly free: (at: number) => void;
}

/** What the package adds to them. */
interface Package {
  readonly addFunction: (
    callback: (state: number, more: number) => number | undefined,
    signature: string,
  ) => number;
  /** The memory, byte by byte and as numbers; both are new after it has grown. */
  readonly HEAPU8: Uint8Array;
  readonly HEAPU32: Uint32Array;
}

/** What makes an instance of a module; from a compiled module, it answers the instance itself. */
interface WebAssemblyGlobal {
  instantiate: (
    ...args: unknown[]
  ) => Promise<{ readonly instance?: { readonly exports: Functions } }>;
}

/** Types of Lua values. */
export const luaTypes = { nil: 0, boolean: 1, number: 3, string: 4, table: 5 } as const;
const globalsIndex = -10_002;
/** `LUA_GCSETPAUSE`, and the memory at which garbage is collected, in percent of what the last time left. */
const setPause = 6;
const pausePercent = 1_000;
/** `LUA_MASKLINE`, and where `lua_Debug` has the number of the line. */
const lineMask = 4;
const currentLine = 20;
/** Up to this length, JavaScript alone copies text faster than Node does. */
const shortMax = 24;
/** The table of what JavaScript refers to. */
const registry = -10_000;
/** Where `lua_State` has the top of the stack and the first value of the function that runs (lstate.h). */
const topAt = 8;
const baseAt = 12;
/** The size of a value, and where its type is (lobject.h, `TValue`). */
const valueBytes = 16;
const typeAt = 8;
/** Where a text has its hash and its length, and where its bytes begin (lobject.h, `TString`). */
const hashAt = 8;
const lengthAt = 12;
const bytesAt = 16;
/** Of texts up to this length, the last one of each slot is kept. */
const keptMax = 64;
const slots = 4_096;

/**
 * One Lua state through its C functions. The package's own wrappers make UTF-8 of all text, and would spoil bytes; here,
 * a character is a byte (latin1).
 */
export class LuaApi {
  /** Resolves when no state is being opened. */
  static #opening: Promise<unknown> = Promise.resolve();
  readonly #c: Functions;
  readonly #package: Package;
  readonly #state: number;
  readonly #length: number;
  /** The memory, byte by byte and as numbers; empty once it has grown. */
  #memory: Buffer;
  #words: Uint32Array;
  /** Name of a field → where it lies. */
  readonly #names = new Map<string, number>();
  #scratch = 0;
  #scratchBytes = 0;
  /** Texts that were read from Lua, by hash: the same names of commands, keys and fields come again and again. */
  readonly #texts = new Array<string>(slots).fill("");

  private constructor(functions: Functions, around: Package) {
    this.#c = functions;
    this.#package = around;
    this.#memory = Buffer.from(around.HEAPU8.buffer);
    this.#words = around.HEAPU32;
    this.#state = functions.luaL_newstate();
    functions.luaL_openlibs(this.#state);
    functions.lua_gc(this.#state, setPause, pausePercent);
    this.#length = functions.malloc(8);
    this.pushText("text");
    this.pushNumber(1.5);
    this.pushNil();
    const [text, number, other, ...more] = this.values();
    if (text !== "text" || number !== 1.5 || other !== undefined || more.length > 0) {
      throw new Error("this build of Lua has its values elsewhere in memory");
    }
    this.top = 0;
  }

  static open(): Promise<LuaApi> {
    const opened = LuaApi.#opening.then(() => LuaApi.#open());
    LuaApi.#opening = opened.catch(() => undefined);
    return opened;
  }

  /** Takes the functions themselves: a call of the package's wrapper costs many times as much, since it is built for tests. */
  static async #open(): Promise<LuaApi> {
    const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal };
    const { instantiate } = WebAssembly;
    const found: { functions?: Functions } = {};
    WebAssembly.instantiate = async (...args) => {
      const made = await instantiate(...args);
      const exported = made.instance?.exports;
      if (exported?.lua_pcall !== undefined) found.functions = exported;
      return made;
    };
    try {
      const lua = await Lua.create({});
      const { functions } = found;
      if (functions === undefined) throw new Error("the package made no instance of Lua");
      return new LuaApi(functions, lua.luaApi.module as unknown as Package);
    } finally {
      WebAssembly.instantiate = instantiate;
    }
  }

  /** Calls `reached` before each line that runs. */
  watchLines(reached: (line: number) => void): void {
    const hook = this.#package.addFunction((_state, info) => {
      reached(this.#bytes().readInt32LE(info + currentLine));
      return undefined;
    }, "vii");
    this.#c.lua_sethook(this.#state, hook, lineMask, 0);
  }

  get top(): number {
    const words = this.#numbers();
    const base = words[(this.#state + baseAt) >> 2] ?? 0;
    return ((words[(this.#state + topAt) >> 2] ?? 0) - base) / valueBytes;
  }

  set top(top: number) {
    this.#c.lua_settop(this.#state, top);
  }

  typeAt(index: number): number {
    return this.#c.lua_type(this.#state, index);
  }

  booleanAt(index: number): boolean {
    return this.#c.lua_toboolean(this.#state, index) !== 0;
  }

  numberAt(index: number): number {
    return this.#c.lua_tonumber(this.#state, index);
  }

  textAt(index: number): string {
    const at = this.#c.lua_tolstring(this.#state, index, this.#length);
    const length = this.#numbers()[this.#length >> 2] ?? 0;
    const memory = this.#bytes();
    if (length > shortMax) return memory.toString("latin1", at, at + length);
    let text = "";
    for (let i = at; i < at + length; i += 1) text += String.fromCharCode(memory[i] ?? 0);
    return text;
  }

  /**
   * The values of the function that runs: texts, numbers, and undefined for others. Reads Lua's memory itself, since
   * two calls of its functions for each value cost more.
   */
  values(): (string | number | undefined)[] {
    const words = this.#numbers();
    const top = words[(this.#state + topAt) >> 2] ?? 0;
    const found: (string | number | undefined)[] = [];
    for (let at = words[(this.#state + baseAt) >> 2] ?? 0; at < top; at += valueBytes) {
      found.push(this.#valueAt(words, at));
    }
    return found;
  }

  /** The value on the top of the stack, in the same way. */
  last(): string | number | undefined {
    const words = this.#numbers();
    return this.#valueAt(words, (words[(this.#state + topAt) >> 2] ?? 0) - valueBytes);
  }

  /** Takes the value on the top away. */
  pop(): void {
    this.#c.lua_settop(this.#state, -2);
  }

  pushNil(): void {
    this.#c.lua_pushnil(this.#state);
  }

  pushBoolean(value: boolean): void {
    this.#c.lua_pushboolean(this.#state, value ? 1 : 0);
  }

  pushNumber(value: number): void {
    this.#c.lua_pushnumber(this.#state, value);
  }

  pushText(text: string): void {
    this.#c.lua_pushlstring(this.#state, this.#write(text), text.length);
  }

  /** A table with room; fields and values are put into it from the top of the stack. */
  pushTable(list: number, fields: number): void {
    this.#c.lua_checkstack(this.#state, 4);
    this.#c.lua_createtable(this.#state, list, fields);
  }

  pushFunction(callback: () => number): void {
    const address = this.#package.addFunction(callback, "ii");
    this.#c.lua_pushcclosure(this.#state, address, 0);
  }

  /** Compiles a chunk onto the stack; answers false, with the message there, if it is no Lua. */
  pushChunk(source: string, name: string): boolean {
    const at = this.#write(source);
    return this.#c.luaL_loadbuffer(this.#state, at, source.length, this.#name(name)) === 0;
  }

  getItem(table: number, index: number): void {
    this.#c.lua_rawgeti(this.#state, table, index);
  }

  setItem(table: number, index: number): void {
    this.#c.lua_rawseti(this.#state, table, index);
  }

  getField(table: number, name: string): void {
    this.#c.lua_getfield(this.#state, table, this.#name(name));
  }

  setField(table: number, name: string): void {
    this.#c.lua_setfield(this.#state, table, this.#name(name));
  }

  setGlobal(name: string): void {
    this.setField(globalsIndex, name);
  }

  /** Takes the top of the stack into the registry. */
  keep(): number {
    return this.#c.luaL_ref(this.#state, registry);
  }

  pushKept(reference: number): void {
    this.#c.lua_rawgeti(this.#state, registry, reference);
  }

  /** Gives the function below the top the environment on the top. */
  setEnvironment(): void {
    this.#c.lua_setfenv(this.#state, -2);
  }

  /** Calls the function under `args` values; true if it failed, with the error on the stack. */
  call(args: number, results: number, handler = 0): boolean {
    return this.#c.lua_pcall(this.#state, args, results, handler) !== 0;
  }

  /** Raises the top of the stack as an error. Only in a callback, as its last act. */
  raise(): number {
    return this.#c.lua_error(this.#state);
  }

  /** Raises words, with the place of the caller before them. */
  raiseHere(message: string): number {
    this.#c.luaL_where(this.#state, 1);
    this.pushText(message);
    this.#c.lua_concat(this.#state, 2);
    return this.raise();
  }

  /** Raises Lua's words for a wrong argument. */
  raiseArgument(argument: number, message: string): number {
    return this.#c.luaL_argerror(this.#state, argument, this.#write(message));
  }

  #valueAt(words: Uint32Array, at: number): string | number | undefined {
    const type = words[(at + typeAt) >> 2];
    if (type === luaTypes.string) return this.#textOf(words, words[at >> 2] ?? 0);
    return type === luaTypes.number ? this.#bytes().readDoubleLE(at) : undefined;
  }

  /** The text of a `TString`. */
  #textOf(words: Uint32Array, string: number): string {
    const length = words[(string + lengthAt) >> 2] ?? 0;
    const memory = this.#bytes();
    const from = string + bytesAt;
    if (length > keptMax) return memory.toString("latin1", from, from + length);
    const slot = ((words[(string + hashAt) >> 2] ?? 0) ^ length) & (slots - 1);
    const known = this.#texts[slot] ?? "";
    if (known.length === length) {
      let at = 0;
      while (at < length && known.charCodeAt(at) === memory[from + at]) at += 1;
      if (at === length) return known;
    }
    const text = memory.toString("latin1", from, from + length);
    this.#texts[slot] = text;
    return text;
  }

  #bytes(): Buffer {
    if (this.#memory.length === 0) this.#renew();
    return this.#memory;
  }

  #numbers(): Uint32Array {
    if (this.#words.length === 0) this.#renew();
    return this.#words;
  }

  /** Memory moves when it grows. */
  #renew(): void {
    const { HEAPU8, HEAPU32 } = this.#package;
    this.#memory = Buffer.from(HEAPU8.buffer);
    this.#words = HEAPU32;
  }

  /** Where a name lies, with a zero after it. */
  #name(name: string): number {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const at = this.#c.malloc(name.length + 1);
    this.#bytes().write(`${name}\0`, at, "latin1");
    this.#names.set(name, at);
    return at;
  }

  /** Writes text, with a zero after it, where the next call reads it. */
  #write(text: string): number {
    if (text.length >= this.#scratchBytes) {
      if (this.#scratch !== 0) this.#c.free(this.#scratch);
      this.#scratchBytes = Math.max(4_096, 2 * text.length);
      this.#scratch = this.#c.malloc(this.#scratchBytes);
    }
    const memory = this.#bytes();
    const at = this.#scratch;
    if (text.length > shortMax) memory.write(text, at, "latin1");
    else for (let i = 0; i < text.length; i += 1) memory[at + i] = text.charCodeAt(i);
    memory[at + text.length] = 0;
    return at;
  }
}
