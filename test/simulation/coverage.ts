import { readdirSync, readFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { loadScripts } from "@holdfast/redis";
import { lua } from "./store/redis-group.ts";

/** How much of a file the histories have run. */
export interface Covered {
  readonly file: string;
  readonly reached: number;
  readonly all: number;
  /** The lines that no history has reached. */
  readonly lines: readonly number[];
}

const root = join(import.meta.dirname, "../..");
/** The folders whose code decides whether something is lost. */
const folders = [
  "packages/redis/src/memory",
  "packages/redis/src/objects",
  "packages/redis/src/records",
  "packages/redis/src/session",
  "packages/redis/src/storage-keys",
  "packages/regions/src/join",
  "packages/regions/src/leader",
  "packages/regions/src/serving",
  "packages/regions/src/store",
];

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

/** Counts what runs in this process from now on: V8's blocks of the product, and lines of Lua. */
export class Coverage {
  readonly #session = new Session();
  readonly #lua = lua.watchLines();

  static async begin(): Promise<Coverage> {
    const coverage = new Coverage();
    const session = coverage.#session;
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    // Of what was loaded before, V8 knows only the functions that ran: a second copy of each file has them all.
    for (const file of folders.flatMap(sourcesIn)) {
      await import(`${pathToFileURL(join(root, file))}?all`);
    }
    return coverage;
  }

  async end(): Promise<readonly Covered[]> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    this.#session.disconnect();
    const covered = folders.flatMap(sourcesIn).map((file) => {
      const path = join(root, file);
      const copies = result.filter(
        ({ url }) => url.startsWith("file:") && fileURLToPath(url) === path,
      );
      const ranges = copies.flatMap(({ functions }) => functions.flatMap((each) => each.ranges));
      return linesOf(file, readFileSync(path, "utf8"), ofAllCopies(ranges));
    });
    return [...covered, ...this.#ofScripts()].toSorted((a, b) => (a.file < b.file ? -1 : 1));
  }

  /** By file, with what several scripts include counted once. */
  #ofScripts(): readonly Covered[] {
    const files = new Map<string, { readonly code: Set<number>; readonly reached: Set<number> }>();
    for (const { name, source } of Object.values(loadScripts())) {
      const reached = this.#lua.get(Buffer.from(source).toString("latin1"));
      for (const [at, { file, line, text }] of placesOf(name).entries()) {
        if (!isLuaCode(text)) continue;
        const known = files.get(file) ?? { code: new Set(), reached: new Set() };
        files.set(file, known);
        known.code.add(line);
        if (reached?.has(at + 1) === true) known.reached.add(line);
      }
    }
    return [...files].map(([file, { code, reached }]) => {
      const lines = [...code].filter((line) => !reached.has(line));
      return { file, reached: reached.size, all: code.size, lines };
    });
  }
}

/** The files of the product in a folder. */
function sourcesIn(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => /(?<!\.test)\.ts$/.test(file) && !/(^|\/)testing\//.test(file))
    .map((file) => join(folder, file));
}

/** Each range once: what one copy of its file ran has run. */
function ofAllCopies(ranges: readonly Range[]): readonly Range[] {
  const known = new Map<string, Range>();
  for (const range of ranges) {
    const name = `${range.startOffset} ${range.endOffset}`;
    if ((known.get(name)?.count ?? -1) < range.count) known.set(name, range);
  }
  return [...known.values()];
}

const scripts = "packages/redis/src/connection/lua";

/** The file and the line from which each line of a script comes. */
function placesOf(name: string) {
  const own = name === "commit-facts" ? "commit" : name;
  return linesIn(`${own}.lua`).flatMap((place) => {
    const [, shared] = /^--- include (\w+)$/.exec(place.text) ?? [];
    return shared === undefined ? [place] : linesIn(`shared/${shared}.lua`);
  });
}

function linesIn(name: string) {
  const file = `${scripts}/${name}`;
  const lines = readFileSync(join(root, file), "utf8").split("\n");
  return lines.map((text, at) => ({ file, line: at + 1, text }));
}

/** Lines with code; those that only end or open a block are left out, since Lua runs nothing there. */
function isLuaCode(line: string): boolean {
  const text = line.trim();
  return !(text === "" || text.startsWith("--") || text.startsWith("#!") || noCode.test(text));
}

const noCode = /^(?:end\)?,?|else|\)|\}\)?|local function .*|return function.*)$/;

/** A line is reached if the innermost range around its first character was. */
function linesOf(file: string, source: string, ranges: readonly Range[]): Covered {
  const lines: number[] = [];
  let all = 0;
  let offset = 0;
  for (const [at, line] of source.split("\n").entries()) {
    const first = offset + line.length - line.trimStart().length;
    offset += line.length + 1;
    const text = line.trim();
    if (text === "" || /^(?:\/\/|\*|\/\*|[)}\];,]+$)/.test(text)) continue;
    const around = ranges.filter(
      ({ startOffset, endOffset }) => startOffset <= first && first < endOffset,
    );
    // What belongs to no function ran when the file was loaded.
    if (around.length < 2) continue;
    const [inner] = around.toSorted(
      (a, b) => a.endOffset - a.startOffset - (b.endOffset - b.startOffset),
    );
    all += 1;
    if (inner?.count === 0) lines.push(at + 1);
  }
  return { file, reached: all - lines.length, all, lines };
}

/** The result in lines: a percentage for each file, and what was not reached. */
export function coverageLines(covered: readonly Covered[]): readonly string[] {
  const sum = (key: "reached" | "all") => covered.reduce((total, each) => total + each[key], 0);
  const percent = (reached: number, all: number): string =>
    `${(all === 0 ? 100 : (reached / all) * 100).toFixed(1).padStart(5)} %`;
  return [
    ...covered.map(({ file, reached, all, lines }) => {
      const left = lines.length === 0 ? "" : `  not reached: ${spans(lines)}`;
      return `${percent(reached, all)}  ${file}${left}`;
    }),
    `${percent(sum("reached"), sum("all"))}  of ${sum("all")} lines`,
  ];
}

/** `1-3, 7`. */
function spans(lines: readonly number[]): string {
  const found: [number, number][] = [];
  for (const line of lines) {
    const last = found.at(-1);
    if (last !== undefined && line <= last[1] + 1) last[1] = line;
    else found.push([line, line]);
  }
  return found.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(", ");
}
