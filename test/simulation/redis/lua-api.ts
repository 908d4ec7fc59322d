import { Lua } from "wasmoon-lua5.1";

/** Lua's C functions that the machine calls; `State` and texts are addresses. */
interface Functions {
  readonly _luaL_newstate: () => number;
  readonly _luaL_openlibs: (state: number) => void;
  readonly _luaL_loadbuffer: (state: number, at: number, length: number, name: number) => number;
  readonly _luaL_ref: (state: number, table: number) => number;
  readonly _luaL_where: (state: number, level: number) => void;
  readonly _luaL_argerror: (state: number, argument: number, message: number) => number;
  readonly _lua_pcall: (state: number, args: number, results: number, handler: number) => number;
  readonly _lua_error: (state: number) => number;
  readonly _lua_concat: (state: number, count: number) => void;
  readonly _lua_gettop: (state: number) => number;
  readonly _lua_settop: (state: number, top: number) => void;
  readonly _lua_checkstack: (state: number, count: number) => number;
  readonly _lua_type: (state: number, index: number) => number;
  readonly _lua_toboolean: (state: number, index: number) => number;
  readonly _lua_tonumber: (state: number, index: number) => number;
  readonly _lua_tolstring: (state: number, index: number, length: number) => number;
  readonly _lua_pushnil: (state: number) => void;
  readonly _lua_pushboolean: (state: number, value: number) => void;
  readonly _lua_pushnumber: (state: number, value: number) => void;
  readonly _lua_pushlstring: (state: number, at: number, length: number) => void;
  readonly _lua_pushcclosure: (state: number, callback: number, values: number) => void;
  readonly _lua_createtable: (state: number, list: number, fields: number) => void;
  readonly _lua_rawgeti: (state: number, table: number, index: number) => void;
  readonly _lua_rawseti: (state: number, table: number, index: number) => void;
  readonly _lua_getfield: (state: number, table: number, name: number) => void;
  readonly _lua_setfield: (state: number, table: number, name: number) => void;
  readonly _lua_setfenv: (state: number, index: number) => number;
  readonly _lua_sethook: (state: number, hook: number, mask: number, count: number) => number;
  readonly _malloc: (bytes: number) => number;
  readonly _free: (at: number) => void;
  readonly addFunction: (
    callback: (state: number, more: number) => number | undefined,
    signature: string,
  ) => number;
  readonly HEAPU8: Uint8Array;
}

/** Types of Lua values. */
export const luaTypes = { nil: 0, boolean: 1, number: 3, string: 4, table: 5 } as const;
const globalsIndex = -10_002;
/** `LUA_MASKLINE`, and where `lua_Debug` has the number of the line. */
const lineMask = 4;
const currentLine = 20;
/** The table of what JavaScript refers to. */
const registry = -10_000;

/**
 * One Lua state through its C functions. The package's own wrappers make UTF-8 of all text, and would spoil bytes; here,
 * a character is a byte (latin1).
 */
export class LuaApi {
  readonly #c: Functions;
  readonly #state: number;
  readonly #length: number;
  #memory: Buffer;
  #scratch = 0;
  #scratchBytes = 0;

  private constructor(functions: Functions) {
    this.#c = functions;
    this.#memory = Buffer.from(functions.HEAPU8.buffer);
    this.#state = functions._luaL_newstate();
    functions._luaL_openlibs(this.#state);
    this.#length = functions._malloc(8);
  }

  static async open(): Promise<LuaApi> {
    const lua = await Lua.create({});
    return new LuaApi(lua.luaApi.module as unknown as Functions);
  }

  /** Calls `reached` before each line that runs. */
  watchLines(reached: (line: number) => void): void {
    const hook = this.#c.addFunction((_state, info) => {
      reached(this.#bytes().readInt32LE(info + currentLine));
      return undefined;
    }, "vii");
    this.#c._lua_sethook(this.#state, hook, lineMask, 0);
  }

  get top(): number {
    return this.#c._lua_gettop(this.#state);
  }

  set top(top: number) {
    this.#c._lua_settop(this.#state, top);
  }

  typeAt(index: number): number {
    return this.#c._lua_type(this.#state, index);
  }

  booleanAt(index: number): boolean {
    return this.#c._lua_toboolean(this.#state, index) !== 0;
  }

  numberAt(index: number): number {
    return this.#c._lua_tonumber(this.#state, index);
  }

  textAt(index: number): string {
    const at = this.#c._lua_tolstring(this.#state, index, this.#length);
    const memory = this.#bytes();
    return memory.toString("latin1", at, at + memory.readUInt32LE(this.#length));
  }

  pushNil(): void {
    this.#c._lua_pushnil(this.#state);
  }

  pushBoolean(value: boolean): void {
    this.#c._lua_pushboolean(this.#state, value ? 1 : 0);
  }

  pushNumber(value: number): void {
    this.#c._lua_pushnumber(this.#state, value);
  }

  pushText(text: string): void {
    this.#c._lua_pushlstring(this.#state, this.#write(text), text.length);
  }

  /** A table with room; fields and values are put into it from the top of the stack. */
  pushTable(list: number, fields: number): void {
    this.#c._lua_checkstack(this.#state, 4);
    this.#c._lua_createtable(this.#state, list, fields);
  }

  pushFunction(callback: () => number): void {
    const address = this.#c.addFunction(callback, "ii");
    this.#c._lua_pushcclosure(this.#state, address, 0);
  }

  /** Compiles a chunk onto the stack; answers false, with the message there, if it is no Lua. */
  pushChunk(source: string, name: string): boolean {
    const nameAt = this.#c._malloc(name.length + 1);
    this.#bytes().write(`${name}\0`, nameAt, "latin1");
    const failed = this.#c._luaL_loadbuffer(
      this.#state,
      this.#write(source),
      source.length,
      nameAt,
    );
    this.#c._free(nameAt);
    return failed === 0;
  }

  getItem(table: number, index: number): void {
    this.#c._lua_rawgeti(this.#state, table, index);
  }

  setItem(table: number, index: number): void {
    this.#c._lua_rawseti(this.#state, table, index);
  }

  getField(table: number, name: string): void {
    this.#c._lua_getfield(this.#state, table, this.#write(name));
  }

  setField(table: number, name: string): void {
    this.#c._lua_setfield(this.#state, table, this.#write(name));
  }

  setGlobal(name: string): void {
    this.setField(globalsIndex, name);
  }

  /** Takes the top of the stack into the registry. */
  keep(): number {
    return this.#c._luaL_ref(this.#state, registry);
  }

  pushKept(reference: number): void {
    this.#c._lua_rawgeti(this.#state, registry, reference);
  }

  /** Gives the function below the top the environment on the top. */
  setEnvironment(): void {
    this.#c._lua_setfenv(this.#state, -2);
  }

  /** Calls the function under `args` values; true if it failed, with the error on the stack. */
  call(args: number, results: number, handler = 0): boolean {
    return this.#c._lua_pcall(this.#state, args, results, handler) !== 0;
  }

  /** Raises the top of the stack as an error. Only in a callback, as its last act. */
  raise(): number {
    return this.#c._lua_error(this.#state);
  }

  /** Raises words, with the place of the caller before them. */
  raiseHere(message: string): number {
    this.#c._luaL_where(this.#state, 1);
    this.pushText(message);
    this.#c._lua_concat(this.#state, 2);
    return this.raise();
  }

  /** Raises Lua's words for a wrong argument. */
  raiseArgument(argument: number, message: string): number {
    return this.#c._luaL_argerror(this.#state, argument, this.#write(message));
  }

  /** Memory moves when it grows. */
  #bytes(): Buffer {
    const { buffer } = this.#c.HEAPU8;
    if (this.#memory.buffer !== buffer) this.#memory = Buffer.from(buffer);
    return this.#memory;
  }

  /** Writes text, with a zero after it, where the next call reads it. */
  #write(text: string): number {
    if (text.length >= this.#scratchBytes) {
      if (this.#scratch !== 0) this.#c._free(this.#scratch);
      this.#scratchBytes = Math.max(4_096, 2 * text.length);
      this.#scratch = this.#c._malloc(this.#scratchBytes);
    }
    const memory = this.#bytes();
    memory.write(text, this.#scratch, "latin1");
    memory[this.#scratch + text.length] = 0;
    return this.#scratch;
  }
}
