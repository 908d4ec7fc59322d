import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Document, isMap, isNode, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { isPem } from "../base/certificates.ts";
import { codeOf, OperatorError, reasonOf } from "../base/operator-error.ts";
import { crossFaults, type Fault, nameOf, type SettingPath } from "./config-rules.ts";
import { type Config, configTable } from "./config-table.ts";
import { type SettingRows, schemaOf } from "./setting.ts";

/** Made once: making it takes longer than a file's validation. */
const configSchema = schemaOf(configTable);

/** Reads and validates a node's configuration; throws an `OperatorError` with one line per fault. */
export function loadConfig(path: string): Config {
  return parseConfig(readConfigFile(path), path);
}

/** Validates the text of a configuration; `path` is named in faults and is where relative paths start. */
export function parseConfig(text: string, path: string): Config {
  const lines = new LineCounter();
  const options = { lineCounter: lines, prettyErrors: false, logLevel: "error" } as const;
  const document = parseDocument(text, options);
  const broken = document.errors[0];
  if (broken !== undefined) {
    const { line } = lines.linePos(broken.pos[0]);
    const isSecond = broken.code === "MULTIPLE_DOCS";
    const what = isSecond
      ? "a second YAML document begins here: keep one"
      : `not YAML: ${reasonOf(broken)}`;
    throw new OperatorError(`${path}:${line}: ${what}`);
  }
  const source = { path, document, lines };
  const parsed = configSchema.safeParse(toValue(source), { reportInput: true });
  if (!parsed.success) throw refusal(source, parsed.error.issues.flatMap(faultsOf));
  const config = parsed.data;
  const faults = crossFaults(config);
  if (faults.length > 0) throw refusal(source, faults);
  const resolved = resolvePaths(configTable, config, dirname(resolve(path))) as Config;
  const shared = sharedFiles([{ at: [], path: resolve(path) }, ...pathsIn(configTable, resolved)]);
  if (shared.length > 0) throw refusal(source, shared);
  return resolved;
}

interface Source {
  readonly path: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

function readConfigFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") {
      throw new OperatorError(`${path}: no such file; give the configuration with --config FILE`);
    }
    throw new OperatorError(`${path}: cannot be read: ${reasonOf(error)}`);
  }
}

function toValue(source: Source): unknown {
  try {
    return source.document.toJS();
  } catch (error) {
    // Too many aliases: the only failure left for a document without errors.
    throw new OperatorError(`${source.path}: not YAML: ${reasonOf(error)}`);
  }
}

function refusal(source: Source, faults: readonly Fault[]): OperatorError {
  const lines = faults.map(({ at, says }) => {
    const line = lineOf(source, at);
    const where = line === undefined ? source.path : `${source.path}:${line}`;
    return `${where}: ${at.length === 0 ? "the configuration" : nameOf(at)} ${says}`;
  });
  return new OperatorError(lines.join("\n"));
}

/** The line of a setting, or of the nearest enclosing group that the file contains. */
function lineOf({ document, lines }: Source, path: SettingPath): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const around =
      length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const step = path[length - 1];
    const pair = isMap(around)
      ? around.items.find(({ key }) => isNode(key) && "value" in key && key.value === step)
      : undefined;
    const node = pair === undefined ? document.getIn(path.slice(0, length), true) : pair.key;
    if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
  }
  return undefined;
}

function faultsOf(issue: z.core.$ZodIssue): Fault[] {
  const path = issue.path.filter((step) => typeof step !== "symbol");
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ at: [...path, key], says: unknown([...path, key]) }));
  }
  const { row, at } = rowAt(path);
  if (row === undefined || row.kind !== "setting") {
    const expects = row?.kind === "list" ? "a list" : "a group of settings";
    return [{ at, says: `must be ${expects}` }];
  }
  if (issue.input === undefined) {
    return [{ at, says: `is missing: set it to ${row.expects}` }];
  }
  return [{ at, says: `must be ${row.expects}` }];
}

/** The row that a path leads to, and the path as far as that row. */
function rowAt(path: SettingPath): { row: SettingRows[string] | undefined; at: SettingPath } {
  let rows: SettingRows = configTable;
  for (let at = 0; at < path.length; at++) {
    const row = rows[String(path[at])];
    if (row === undefined) return { row: undefined, at: path.slice(0, at + 1) };
    const isItem = row.kind === "list" && typeof path[at + 1] === "number";
    const next = isItem ? at + 1 : at;
    if (row.kind === "setting" || next === path.length - 1) {
      return { row: isItem ? { ...row, kind: "group" } : row, at: path.slice(0, next + 1) };
    }
    rows = row.rows;
    at = next;
  }
  return { row: undefined, at: path };
}

function unknown(path: SettingPath): string {
  const wanted = String(path.at(-1));
  const { row } = rowAt(path.slice(0, -1));
  const rows: SettingRows =
    path.length === 1 ? configTable : row === undefined || row.kind === "setting" ? {} : row.rows;
  const near = Object.keys(rows).find((name) => isNear(name, wanted));
  const known = near === undefined ? Object.keys(rows).join(", ") : near;
  return `is not a setting; ${near === undefined ? "known here are" : "did you mean"} ${known}`;
}

function isNear(name: string, wanted: string): boolean {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
  const [one, other] = [plain(name), plain(wanted)];
  return one === other || (other.length > 2 && (one.startsWith(other) || other.startsWith(one)));
}

/** Makes the paths that the table marks absolute. */
function resolvePaths(rows: SettingRows, values: object, folder: string): object {
  const entries = Object.entries(values).map(([name, value]: [string, unknown]) => {
    const row = rows[name];
    if (row === undefined || value === undefined) return [name, value];
    if (row.kind === "group") return [name, resolvePaths(row.rows, value as object, folder)];
    if (row.kind === "list") {
      return [name, (value as object[]).map((item) => resolvePaths(row.rows, item, folder))];
    }
    if (row.path !== true) return [name, value];
    const absolute = (path: string) => (isPem(path) ? path : resolve(folder, path));
    return [name, Array.isArray(value) ? value.map(absolute) : absolute(value as string)];
  });
  return Object.fromEntries(entries);
}

interface NamedPath {
  readonly at: SettingPath;
  readonly path: string;
  readonly written?: boolean | undefined;
}

/** All paths of a configuration, with the settings that name them. */
function pathsIn(rows: SettingRows, values: object, at: SettingPath = []): NamedPath[] {
  return Object.entries(values).flatMap(([name, value]: [string, unknown]) => {
    const row = rows[name];
    if (row === undefined || value === undefined) return [];
    const here = [...at, name];
    if (row.kind === "group") return pathsIn(row.rows, value as object, here);
    if (row.kind === "list") {
      return (value as object[]).flatMap((item, index) =>
        pathsIn(row.rows, item, [...here, index]),
      );
    }
    if (row.path !== true) return [];
    return [value].flat().map((path) => ({ at: here, path: String(path), written: row.written }));
  });
}

/** A file that the node writes, and that is another one too, such as a key, would be lost. */
function sharedFiles(paths: readonly NamedPath[]): Fault[] {
  return paths
    .filter(({ written }) => written === true)
    .flatMap((one) => {
      const other = paths.find((each) => each !== one && each.path === one.path);
      if (other === undefined) return [];
      const what = other.at.length === 0 ? "the configuration" : `the file of ${nameOf(other.at)}`;
      return [{ at: one.at, says: `is ${what} too, and the node writes it: name another file` }];
    });
}
