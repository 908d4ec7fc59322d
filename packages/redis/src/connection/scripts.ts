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
  /**
   * Why it runs although Redis is at `maxmemory` (flag `allow-oom`), or why it is refused then. What runs then only
   * reads, frees, fences, or writes a bounded amount.
   */
  readonly full: { readonly runs: boolean; readonly why: string };
  /** The script that this one copies; only the flags differ. */
  readonly copyOf?: string;
}

const runs = (why: string) => ({ full: { runs: true, why } });
const refused = (why: string) => ({ full: { runs: false, why } });
const reads = runs("it only reads");
/** Writes of the region's leader that replace a value. */
const fixedSize = "it replaces a value of fixed size, without which a leader's duties stop";

const partition = ["head", "counters"] as const;
const committed = ["committed", "notInitialised"] as const;
const fenced = [...committed, "deposed"] as const;
const found = ["found", "notInitialised"] as const;

const commit = {
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
    "surplus",
    "shares",
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
};

/** Every script, one row each: what is atomic in the store. */
const rows = {
  commit: { ...commit, ...refused("changes may grow without a bound") },
  "commit-facts": {
    ...commit,
    copyOf: "commit",
    ...runs(
      "an object has five lifecycle facts, each of bounded size; Revoke and Destroy free memory; a joined change that lets no record grow is accepted, else the region could not be level",
    ),
  },
  "append-audit": {
    keys: [...partition, "audit", "surplus", "shares"],
    more: false,
    results: committed,
    ...refused(
      "entries grow without a bound; a read whose evidence may wait is still answered then",
    ),
  },
  "audit-entries": { keys: [...partition, "audit"], more: false, results: found, ...reads },
  "audit-seek": { keys: [...partition, "audit"], more: false, results: found, ...reads },
  "audit-standings": { keys: [], more: true, results: found, ...reads },
  "audit-points": { keys: ["head", "chain"], more: false, results: found, ...reads },
  "audit-chain": {
    keys: [...partition, "epoch", "chain", "audit", "shares"],
    more: false,
    results: [...fenced, "conflict"],
    ...runs("it trims the trail; else it sets a point of fixed size for each 256 entries"),
  },
  "audit-sinks": { keys: ["head", "sinks"], more: false, results: found, ...reads },
  "set-audit-sink": {
    keys: ["head", "epoch", "sinks"],
    more: false,
    results: fenced,
    ...runs("retention waits for it: one point of fixed size per sink and partition"),
  },
  "set-audit-tree": {
    keys: ["head", "epoch", "tree", "leaves"],
    more: false,
    results: [...fenced, "conflict"],
    ...runs("retention waits for it: 39 bytes for each entry that is stored already, and bounded"),
  },
  find: {
    keys: [...partition, "live", "destroyed", "reserved", "bucket"],
    more: false,
    results: found,
    ...reads,
  },
  "set-status": {
    keys: [...partition, "status"],
    more: false,
    results: committed,
    ...runs("deleting an instance frees its objects; one word per instance"),
  },

  reserve: {
    keys: ["head", "reserved"],
    more: true,
    results: [...committed, "held", "tooMany", "superseded"],
    ...runs("a Destroy begins with it; at most 20,000 short-lived holds per partition"),
  },
  release: {
    keys: ["head", "epoch", "reserved"],
    more: false,
    results: fenced,
    ...runs("it frees what an agreed operation holds"),
  },
  reservations: { keys: ["head"], more: true, results: found, ...reads },

  position: { keys: [], more: true, results: found, ...reads },
  changes: { keys: [...partition, "changes"], more: false, results: found, ...reads },
  headers: { keys: [...partition, "changes"], more: false, results: found, ...reads },
  counts: { keys: [...partition, "states"], more: false, results: found, ...reads },
  recount: {
    keys: [...partition, "changes", "states"],
    more: false,
    results: [...committed, "conflict"],
    ...refused("it is repeated later, and no count is needed to free memory"),
  },
  digests: { keys: [...partition, "digests"], more: false, results: found, ...reads },
  leaves: { keys: ["head", "changes"], more: false, results: found, ...reads },

  cursor: { keys: ["head", "cursors"], more: false, results: found, ...reads },
  "set-cursor": {
    keys: ["head", "epoch", "cursors"],
    more: false,
    results: fenced,
    ...runs(fixedSize),
  },
  levels: { keys: ["head", "levels"], more: false, results: found, ...reads },
  "ask-level": {
    keys: ["head", "levels"],
    more: false,
    results: committed,
    ...runs(
      "a node that starts needs it, and a full store must stop counting as level: two counters",
    ),
  },
  "set-level": {
    keys: ["head", "epoch", "levels"],
    more: false,
    results: fenced,
    ...runs(fixedSize),
  },
  "new-epoch": {
    keys: ["head", "epoch"],
    more: false,
    results: committed,
    ...runs("a leader must be elected to free memory: one counter"),
  },

  "local-value": { keys: ["head", "local"], more: false, results: found, ...reads },
  "set-local-value": {
    keys: ["head", "local"],
    more: false,
    results: [...committed, "conflict"],
    ...refused(
      "a node continues without it: it makes its own ticket secret, and gives no KEK by an order",
    ),
  },

  quarantine: {
    keys: ["head", "quarantine"],
    more: false,
    results: committed,
    ...refused("it keeps a copy; the damaged record stays where it is"),
  },
  quarantined: { keys: ["head"], more: true, results: found, ...reads },
  traces: { keys: ["head", "index"], more: false, results: found, ...reads },
  "term-traces": { keys: ["head"], more: true, results: found, ...reads },
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
    ...refused("it keeps a copy and writes a record; the damaged record stays where it is"),
  },

  claim: { keys: ["head", "region"], more: false, results: committed, ...runs("one name a store") },
  formats: {
    keys: ["head", "formats"],
    more: false,
    results: committed,
    ...runs("a node that starts needs it: one short field per node"),
  },
  "require-format": {
    keys: ["head", "epoch", "formats"],
    more: false,
    results: [...fenced, "conflict"],
    ...runs(fixedSize),
  },
  marker: {
    keys: ["head", "beat", "replicas-version", "formats", "keys"],
    more: false,
    results: committed,
    ...runs("reads need the lease, which its fixed length renews"),
  },
  rehearse: {
    keys: ["scratch", "scratch"],
    more: false,
    results: ["committed"],
    ...runs("it leaves nothing behind"),
  },
  "note-covered": {
    keys: [],
    more: true,
    results: committed,
    ...runs("reads need it: six bytes per partition, which exist already"),
  },
  initialise: {
    keys: ["beat", "replicas-version", "region", "keys", "formats"],
    more: true,
    results: ["committed", "notEmpty"],
    ...refused("a new store needs room"),
  },
  "set-key": {
    keys: ["head", "keys"],
    more: false,
    results: [...committed, "conflict"],
    ...runs("it replaces a wrap that a disabled root key may soon no longer open: one short field"),
  },
  "key-step": {
    keys: ["head", "formats", "keys"],
    more: true,
    results: [...committed, "conflict", "behind"],
    ...runs("a key that was stolen must end: one entry, and two bytes per partition"),
  },
  remac: {
    keys: ["head"],
    more: true,
    results: committed,
    ...runs("a key that was stolen must end; no record grows"),
  },
  "remember-replica": {
    keys: ["head", "replicas", "replicas-version"],
    more: false,
    results: committed,
    ...runs("a barrier must count the replica that joined; one short field each"),
  },
  "forget-replica": {
    keys: ["head", "replicas", "replicas-version"],
    more: false,
    results: committed,
    ...runs("it frees memory"),
  },
} as const satisfies Record<string, ScriptRow>;

/** The name of a script: its file without `.lua`, or that of a copy with other flags. */
export type ScriptName = keyof typeof rows;

/** A script ready to be sent. */
export interface Script {
  readonly name: ScriptName;
  readonly source: string;
  /** SHA-1 of the source, by which EVALSHA names it. */
  readonly sha: string;
}

/** All scripts, loaded and checked against their rows. */
export type Scripts = Readonly<Record<ScriptName, Script>>;

/** Folder → its scripts, which are read once. */
const known = new Map<string, Scripts>();

/** The scripts; throws where a header and its row disagree. */
export function loadScripts(directory = join(import.meta.dirname, "lua")): Scripts {
  const scripts = known.get(directory) ?? readScripts(directory);
  known.set(directory, scripts);
  return scripts;
}

function readScripts(directory: string): Scripts {
  const read = (file: string): string => readFileSync(join(directory, file), "utf8");
  const names = Object.keys(rows) as ScriptName[];
  const entries = names.map((name) => {
    const { copyOf }: ScriptRow = rows[name];
    const original = read(`${copyOf ?? name}.lua`);
    const text =
      copyOf === undefined ? original : original.replace(/^#!.*/, "#!lua flags=allow-oom");
    checkScript(name, text);
    const source = text.replaceAll(/^--- include (\w+)$/gm, (_, shared: string) =>
      read(`shared/${shared}.lua`),
    );
    return [name, { name, source, sha: hash("sha1", source) }] as const;
  });
  return Object.fromEntries(entries) as Scripts;
}

/** Throws where the header of `text` disagrees with the row: in its flags, keys or results. */
export function checkScript(name: ScriptName, text: string): void {
  const { full, keys, more, results }: ScriptRow = rows[name];
  if (/^#!lua flags=\S*allow-oom/.test(text) !== full.runs) {
    throw new Error(
      `${name}.lua: its row and its flags differ in whether it runs when memory is full`,
    );
  }
  const header = text.slice(0, text.search(/^(?!#!|--)/m)).replaceAll(/\n--/g, " ");
  const said = /KEYS\s(.*?)(?:ARGV|→)/.exec(header)?.[1] ?? "";
  const numbered = [...said.matchAll(/(\d+)(\.\.)? +([\w-]+)/g)];
  const fixed = numbered.filter(([, , open]) => open === undefined).map(([, , , key]) => key);
  if (fixed.join() !== keys.join() || numbered.length - fixed.length !== Number(more)) {
    throw new Error(`${name}.lua: its header and its row name different keys`);
  }
  const highest = Math.max(0, ...[...text.matchAll(/KEYS\[(\d+)\]/g)].map(([, n]) => Number(n)));
  if (highest > keys.length) throw new Error(`${name}.lua: KEYS[${highest}] is not in its row`);
  for (const result of results) {
    if (!header.includes(`"${result}"`))
      throw new Error(`${name}.lua: "${result}" is missing in its header`);
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
