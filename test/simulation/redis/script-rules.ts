import { type Bytes, Failure, type Reply } from "./reply.ts";
import type { Keyspace } from "./values.ts";

/** A run of one of the store's scripts. */
export interface ScriptRun {
  /** As the script's first comment says. */
  readonly name: string;
  readonly keys: readonly Bytes[];
  readonly args: readonly Bytes[];
  readonly data: Keyspace;
}

/** What a key holds, by the end of its name. */
const kinds = [
  ["o:", "record"],
  ["s:", "status"],
  ["head", "head"],
  ["counters", "counters"],
  ["digests", "digests"],
  ["reserved", "reserved"],
  ["epoch", "epoch"],
  ["levels", "levels"],
  ["replicas", "replicas"],
  ["replicas-version", "version"],
] as const;
type Kind = (typeof kinds)[number][1];

const tagLength = 16;
const storeIdLength = 16;
const promisedAt = 32;
/** Scripts that repair replace a record as it is found, held or not, and its digest by what its index says. */
const repairs = "repair";

/** Scripts that write each time: a barrier follows the one, and no number is given twice by the other. */
const mustWrite = new Set(["marker", "new-epoch"]);

/** Where the epoch of the leader that runs a script is among its arguments. */
const epochAt: Readonly<Record<string, number>> = {
  "set-cursor": 0,
  "set-level": 0,
  "require-format": 0,
  "audit-chain": 0,
  "set-audit-sink": 0,
  "set-audit-tree": 0,
  release: 3,
};

/** Where the store for which a script is meant is among its arguments. */
const stampAt: Readonly<Record<string, number>> = {
  commit: 6,
  reserve: 4,
  "set-cursor": 1,
  "set-level": 1,
  "note-covered": 0,
  "ask-level": 0,
};

/** Runs a script and reports the rule that it broke. It reads only the keys of the script, and uses no code of the product. */
export function runByRules(
  run: ScriptRun,
  work: () => Reply,
  broken: (what: string) => void,
): Reply {
  const { data } = run;
  const changes = data.changes;
  const before = new Seen(run);
  const reply = work();
  if (data.changes === changes) {
    if (mustWrite.has(run.name) && isCommitted(reply)) broken(`${run.name}.lua: it writes nothing`);
    return reply;
  }
  const after = new Seen(run);
  const what =
    reply instanceof Failure
      ? "it changes something, and fails"
      : brokenBy(run, before, after, reply);
  if (what !== undefined) broken(`${run.name}.lua: ${what}`);
  return reply;
}

/** The values of the keys that a script was given. */
class Seen {
  readonly texts = new Map<Bytes, Bytes>();
  readonly hashes = new Map<Bytes, ReadonlyMap<Bytes, Bytes>>();
  readonly #of = new Map<Kind, Bytes[]>();

  constructor({ keys, data }: ScriptRun) {
    for (const key of keys) {
      const kind = kindOf(key);
      if (kind === undefined) continue;
      const alike = this.#of.get(kind);
      if (alike === undefined) this.#of.set(kind, [key]);
      else alike.push(key);
      const type = data.typeOf(key);
      if (type === "string") this.texts.set(key, data.text(key) ?? "");
      if (type === "hash") this.hashes.set(key, new Map(data.hash(key)));
    }
  }

  keys(kind: Kind): readonly Bytes[] {
    return this.#of.get(kind) ?? [];
  }

  text(key: Bytes): Bytes {
    return this.texts.get(key) ?? "";
  }

  field(key: Bytes, field: Bytes): Bytes | undefined {
    return this.hashes.get(key)?.get(field);
  }

  number(key: Bytes, field: Bytes): number {
    return Number(this.field(key, field) ?? 0);
  }
}

type Rule = (run: ScriptRun, before: Seen, after: Seen, reply: Reply) => string | undefined;

/** The rules, each of which says what is broken. */
const rules: readonly Rule[] = [
  forItsStore,
  onGivenRecords,
  neverBack,
  coversWhatIsThere,
  byTheNewestLeader,
  epochIsNew,
  statusStays,
  statusAllows,
  holdsStay,
  heldIsUntouched,
  replicasAreTold,
  digestsFollow,
  promisedIsCarried,
];

function brokenBy(...about: Parameters<Rule>): string | undefined {
  for (const rule of rules) {
    const what = rule(...about);
    if (what !== undefined) return what;
  }
  return undefined;
}

function forItsStore({ name, args }: ScriptRun, before: Seen): string | undefined {
  const at = stampAt[name];
  if (at === undefined) return undefined;
  const store = (args[at] ?? "").slice(0, storeIdLength);
  const isIts = before.keys("head").every((key) => before.text(key).startsWith(store));
  return isIts ? undefined : "it was meant for another store";
}

/** What was decided on some records changes nothing where these have changed. */
function onGivenRecords({ name, keys, args }: ScriptRun, before: Seen): string | undefined {
  const tags = new Map<Bytes, Bytes>();
  if (name === "reserve") {
    for (const [at, key] of keys.slice(2).entries()) tags.set(key, args[5 + at] ?? "");
  }
  if (name === "commit") {
    for (let at = 0; at < Number(args[7]); at += 1) {
      tags.set(keys[Number(args[8 + 2 * at]) - 1] ?? "", args[9 + 2 * at] ?? "");
    }
  }
  const changed = [...tags].some(([key, tag]) => tagOf(before.text(key)) !== tag);
  return changed ? "a record is not as it was given" : undefined;
}

/** Numbers that only rise. */
function neverBack(_run: ScriptRun, before: Seen, after: Seen): string | undefined {
  for (const key of before.keys("head")) {
    const [one, other] = [before.text(key), after.text(key)];
    const isSame = one.slice(0, storeIdLength) === other.slice(0, storeIdLength);
    // Numbers of fixed length compare as texts.
    if (isSame && other.slice(storeIdLength, 22) < one.slice(storeIdLength, 22)) {
      return "what is covered goes back";
    }
  }
  for (const [kind, fields] of risingFields) {
    for (const key of before.keys(kind)) {
      const field = fields.find((each) => after.number(key, each) < before.number(key, each));
      if (field !== undefined) return `${field} goes back`;
    }
  }
  const [epoch] = before.keys("epoch");
  if (epoch === undefined) return undefined;
  return Number(after.text(epoch)) < Number(before.text(epoch)) ? "the epoch goes back" : undefined;
}

/** What is covered is there: a later change with such a number would be taken for covered. */
function coversWhatIsThere({ name, data }: ScriptRun, _before: Seen, after: Seen) {
  if (name !== "note-covered") return undefined;
  const beyond = after.keys("head").some((key) => {
    const changes = Number(data.hash(key.replace(/head$/, "counters"))?.get("change") ?? 0);
    return numberIn(after.text(key), storeIdLength) > changes;
  });
  return beyond ? "more is covered than there is" : undefined;
}

const risingFields = [
  ["counters", ["change", "promised", "created"]],
  ["levels", ["asked", "reached"]],
] as const;

/** What a leader writes is in the newest epoch that the store has seen. */
function byTheNewestLeader({ name, args }: ScriptRun, _before: Seen, after: Seen) {
  const at = epochAt[name];
  const [key] = after.keys("epoch");
  if (at === undefined || key === undefined || args[at] === "") return undefined;
  return after.text(key) === args[at] ? undefined : `epoch ${args[at]} is not the store's`;
}

function epochIsNew({ name }: ScriptRun, before: Seen, after: Seen, reply: Reply) {
  const [key] = after.keys("epoch");
  if (name !== "new-epoch" || key === undefined || !isCommitted(reply)) return undefined;
  const given = Number(reply[2]);
  const isNew = given > Number(before.text(key)) && given === Number(after.text(key));
  return isNew ? undefined : `epoch ${given} is not new`;
}

function statusStays(_run: ScriptRun, before: Seen, after: Seen): string | undefined {
  const back = before
    .keys("status")
    .some((key) => before.text(key) === "Deleted" && after.text(key) !== "Deleted");
  return back ? "a deleted instance comes back" : undefined;
}

/** A commit says which statuses of the instance refuse it. */
function statusAllows({ name, args }: ScriptRun, before: Seen): string | undefined {
  const [key] = before.keys("status");
  if (name !== "commit" || key === undefined) return undefined;
  const status = before.text(key);
  const refuses = args[3] === "open" ? status !== "Installed" : status === "Deleted";
  return refuses && args[3] !== "none" ? `it changes an instance that is ${status}` : undefined;
}

/** No operation takes what another one holds, and only a release or a write of its own ends a hold. */
function holdsStay({ name, args }: ScriptRun, before: Seen, after: Seen): string | undefined {
  const [key] = before.keys("reserved");
  if (key === undefined) return undefined;
  const ends = { release: args[0], commit: args[4] }[name];
  for (const [id, hold] of before.hashes.get(key) ?? []) {
    const now = after.field(key, id);
    const { operation, instance } = holdOf(hold);
    if (now !== undefined && holdOf(now).operation !== operation) return "it takes what is held";
    const isEnded = now === undefined;
    if (isEnded && (operation !== ends || instance !== args[1])) return "it ends another's hold";
  }
  return undefined;
}

/** A record that an operation holds changes only as this operation writes it, which ends the hold. */
function heldIsUntouched({ name }: ScriptRun, before: Seen, after: Seen): string | undefined {
  const [key] = after.keys("reserved");
  if (key === undefined || name === repairs) return undefined;
  const held = changedRecords(before, after).some(
    (each) => after.field(key, idOf(each)) !== undefined,
  );
  return held ? "it changes a record that stays held" : undefined;
}

/** The version of the set of replicas says that there is a new one. */
function replicasAreTold(_run: ScriptRun, before: Seen, after: Seen): string | undefined {
  const [key, version] = [after.keys("replicas")[0], after.keys("version")[0]];
  if (key === undefined || version === undefined) return undefined;
  const grown = (after.hashes.get(key)?.size ?? 0) > (before.hashes.get(key)?.size ?? 0);
  return grown && after.text(version) === before.text(version)
    ? "nobody is told of a new replica"
    : undefined;
}

/** Digests are the XOR of the tags of the records whose identifiers begin with a byte. */
function digestsFollow({ name }: ScriptRun, before: Seen, after: Seen): string | undefined {
  const [key] = after.keys("digests");
  if (key === undefined || name !== "commit") return undefined;
  const expected = new Map<number, number[]>();
  for (const record of changedRecords(before, after)) {
    const at = idOf(record).charCodeAt(0) * tagLength;
    const sum = expected.get(at) ?? bytesOf(before.text(key).slice(at, at + tagLength));
    for (const tag of [tagOf(before.text(record)), tagOf(after.text(record))]) {
      for (const [index, byte] of bytesOf(tag).entries()) sum[index] = (sum[index] ?? 0) ^ byte;
    }
    expected.set(at, sum);
  }
  for (const [at, sum] of expected) {
    const found = bytesOf(after.text(key).slice(at, at + tagLength));
    if (found.some((byte, index) => byte !== sum[index]))
      return "a digest is not that of its records";
  }
  return undefined;
}

/** The number of the change that was promised last is that of a record. */
function promisedIsCarried({ name }: ScriptRun, before: Seen, after: Seen): string | undefined {
  const [key] = after.keys("counters");
  if (key === undefined || name !== "commit") return undefined;
  const promised = after.number(key, "promised");
  if (promised <= before.number(key, "promised")) return undefined;
  const carried = changedRecords(before, after).some(
    (record) => numberIn(after.text(record), promisedAt) === promised,
  );
  return carried ? undefined : "no record carries the promised number";
}

function changedRecords(before: Seen, after: Seen): readonly Bytes[] {
  return after.keys("record").filter((key) => tagOf(before.text(key)) !== tagOf(after.text(key)));
}

function isCommitted(reply: Reply): reply is readonly Reply[] {
  return Array.isArray(reply) && reply[0] === "committed";
}

const known = new Map<Bytes, Kind | undefined>();

/** Keys of records are not remembered: there are many. */
function kindOf(key: Bytes): Kind | undefined {
  const name = key.slice(key.indexOf(":") + 1);
  if (name.startsWith("o:")) return "record";
  if (known.has(name)) return known.get(name);
  const kind = kinds.find(([end]) =>
    end.endsWith(":") ? name.startsWith(end) : name === end,
  )?.[1];
  known.set(name, kind);
  return kind;
}

/** The identifier's 16 bytes, which a record's key ends with. */
function idOf(record: Bytes): Bytes {
  return record.slice(-16);
}

function tagOf(record: Bytes): Bytes {
  return record.slice(0, tagLength);
}

function holdOf(hold: Bytes): { readonly operation: Bytes; readonly instance: Bytes } {
  const length = hold.charCodeAt(6) * 256 + hold.charCodeAt(7);
  return { operation: hold.slice(8, 8 + length), instance: hold.slice(8 + length) };
}

function numberIn(text: Bytes, at: number): number {
  let number = 0;
  for (const byte of bytesOf(text.slice(at, at + 6))) number = number * 256 + byte;
  return number;
}

function bytesOf(text: Bytes): number[] {
  return Array.from(text, (each) => each.charCodeAt(0));
}
