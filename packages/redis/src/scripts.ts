import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface ScriptRow {
  /** The keys by name, in order, as the script's header numbers them. */
  readonly keys: readonly string[];
  /** Whether any number of keys may follow. */
  readonly more: boolean;
  /** The first words that the script answers. */
  readonly results: readonly string[];
}

const partition = ["head", "counters"] as const;
const committed = ["committed", "notInitialised"] as const;
const fenced = [...committed, "deposed"] as const;
const found = ["found", "notInitialised"] as const;

/** Every script, one row each: what is atomic in the store. */
const rows = {
  commit: {
    keys: [
      ...partition,
      "status",
      "live",
      "destroyed",
      "changes",
      "digests",
      "audit",
      "reserved",
      "states",
    ],
    more: true,
    results: [
      ...committed,
      "conflict",
      "nameTaken",
      "instanceClosed",
      "reserved",
      "reservationLost",
      "superseded",
    ],
  },
  "append-audit": { keys: [...partition, "audit"], more: false, results: committed },
  "audit-entries": { keys: [...partition, "audit"], more: false, results: found },
  "audit-seek": { keys: [...partition, "audit"], more: false, results: found },
  "audit-standings": { keys: [], more: true, results: found },
  "audit-points": { keys: ["head", "chain"], more: false, results: found },
  "audit-chain": {
    keys: [...partition, "epoch", "chain", "audit"],
    more: false,
    results: [...fenced, "conflict"],
  },
  "audit-sinks": { keys: ["head", "sinks"], more: false, results: found },
  "set-audit-sink": { keys: ["head", "epoch", "sinks"], more: false, results: fenced },
  find: {
    keys: [...partition, "live", "destroyed", "reserved", "bucket"],
    more: false,
    results: found,
  },
  "set-status": { keys: [...partition, "status"], more: false, results: committed },

  reserve: {
    keys: ["head", "reserved"],
    more: true,
    results: [...committed, "held", "tooMany", "superseded"],
  },
  release: { keys: ["head", "epoch", "reserved"], more: false, results: fenced },
  reservations: { keys: ["head"], more: true, results: found },

  position: { keys: [], more: true, results: found },
  changes: { keys: [...partition, "changes"], more: false, results: found },
  counts: { keys: [...partition, "states"], more: false, results: found },
  recount: {
    keys: [...partition, "changes", "states"],
    more: false,
    results: [...committed, "conflict"],
  },
  digests: { keys: [...partition, "digests"], more: false, results: found },
  leaves: { keys: ["head", "changes"], more: false, results: found },

  cursor: { keys: ["head", "cursors"], more: false, results: found },
  "set-cursor": { keys: ["head", "epoch", "cursors"], more: false, results: fenced },
  levels: { keys: ["head", "levels"], more: false, results: found },
  "ask-level": { keys: ["head", "levels"], more: false, results: committed },
  "set-level": { keys: ["head", "epoch", "levels"], more: false, results: fenced },
  "new-epoch": { keys: ["head", "epoch"], more: false, results: committed },

  quarantine: { keys: ["head", "quarantine"], more: false, results: committed },
  quarantined: { keys: ["head"], more: true, results: found },
  traces: { keys: ["head", "index"], more: false, results: found },
  "term-traces": { keys: ["head"], more: true, results: found },
  repair: {
    keys: [
      ...partition,
      "live",
      "destroyed",
      "changes",
      "digests",
      "reserved",
      "quarantine",
      "record",
      "states",
    ],
    more: true,
    results: [...committed, "conflict"],
  },

  claim: { keys: ["head", "region"], more: false, results: committed },
  formats: { keys: ["head", "formats"], more: false, results: committed },
  "require-format": {
    keys: ["head", "epoch", "formats"],
    more: false,
    results: [...fenced, "conflict"],
  },
  marker: {
    keys: ["head", "beat", "replicas-version", "formats"],
    more: false,
    results: committed,
  },
  rehearse: { keys: ["scratch", "scratch"], more: false, results: ["committed"] },
  "note-covered": { keys: [], more: true, results: ["committed"] },
  initialise: {
    keys: ["beat", "replicas-version"],
    more: true,
    results: ["committed", "notEmpty"],
  },
  "remember-replica": {
    keys: ["head", "replicas", "replicas-version"],
    more: false,
    results: committed,
  },
  "forget-replica": {
    keys: ["head", "replicas", "replicas-version"],
    more: false,
    results: committed,
  },
} as const satisfies Record<string, ScriptRow>;

/** The name of a script: its file without `.lua`. */
export type ScriptName = keyof typeof rows;

/** A script ready to be sent. */
export interface Script {
  readonly name: ScriptName;
  readonly source: string;
  /** By which EVALSHA names it. */
  readonly sha: string;
}

/** All scripts, loaded and checked against their rows. */
export type Scripts = Readonly<Record<ScriptName, Script>>;

/** Reads the scripts; throws where a header and its row disagree. */
export function loadScripts(directory = join(import.meta.dirname, "lua")): Scripts {
  const read = (file: string): string => readFileSync(join(directory, file), "utf8");
  const names = Object.keys(rows) as ScriptName[];
  const entries = names.map((name) => {
    const text = read(`${name}.lua`);
    checkScript(name, text);
    const source = text.replaceAll(/^--- include (\w+)$/gm, (_, shared: string) =>
      read(`shared/${shared}.lua`),
    );
    return [name, { name, source, sha: hash("sha1", source) }] as const;
  });
  return Object.fromEntries(entries) as Scripts;
}

/** Throws where the header of `text` does not say the keys of the row. */
export function checkScript(name: ScriptName, text: string): void {
  const { keys, more, results }: ScriptRow = rows[name];
  const header = text.slice(0, text.search(/^(?!#!|--)/m)).replaceAll(/\n--/g, " ");
  const said = /KEYS\s(.*?)(?:ARGV|→)/.exec(header)?.[1] ?? "";
  const numbered = [...said.matchAll(/(\d+)(\.\.)? +([\w-]+)/g)];
  const fixed = numbered.filter(([, , open]) => open === undefined).map(([, , , key]) => key);
  if (fixed.join() !== keys.join() || numbered.length - fixed.length !== Number(more)) {
    throw new Error(`${name}.lua: its header says other keys than its row`);
  }
  const highest = Math.max(0, ...[...text.matchAll(/KEYS\[(\d+)\]/g)].map(([, n]) => Number(n)));
  if (highest > keys.length) throw new Error(`${name}.lua: KEYS[${highest}] is not in its row`);
  for (const result of results) {
    if (!header.includes(`"${result}"`)) throw new Error(`${name}.lua: "${result}" is not said`);
  }
}

/** The arguments of EVALSHA; throws where the number of keys is not the row's. */
export function scriptArguments(
  script: Script,
  keys: readonly (string | Buffer)[],
  args: readonly (string | Buffer)[],
): (string | Buffer)[] {
  const row: ScriptRow = rows[script.name];
  if (keys.length < row.keys.length || (!row.more && keys.length > row.keys.length)) {
    throw new RangeError(`${script.name}.lua takes ${row.keys.length} keys, not ${keys.length}`);
  }
  return [script.sha, String(keys.length), ...keys, ...args];
}
