import { expect, test } from "vitest";
import { LuaMachine } from "./lua-machine.ts";
import { RedisModel } from "./redis-model.ts";
import type { Bytes } from "./reply.ts";

const lua = await LuaMachine.create();
const storeId = "s".repeat(16);
const otherId = "t".repeat(16);
const [one, two] = ["1".repeat(16), "2".repeat(16)];
const id = "a".repeat(16);
const record = `{p}:o:${id}`;
/** A record of a change: tag, the promised number and the number of the change. */
const recordOf = (tag: string, promised: number, changed: number): string =>
  `${tag.padEnd(32)}${number(promised)}${number(0)}${number(changed)}`;
const number = (value: number): string => String.fromCharCode(0, 0, 0, 0, 0, value);
const hold = (operation: string, instance: string): string =>
  `${number(1)}${String.fromCharCode(0, operation.length)}${operation}${instance}`;
/** Of a commit: audit, instance, terms, statuses, operation, prefix, stamp, given records, their keys and tags. */
const commitArgs = (statuses: string, operation = "", given: readonly string[] = []) => [
  "1",
  "i",
  "1",
  statuses,
  operation,
  "{p}:o:",
  storeId,
  String(given.length / 2),
  ...given,
];

interface Case {
  readonly script: string;
  readonly what: string;
  readonly keys: readonly Bytes[];
  readonly args?: readonly Bytes[];
  readonly before?: readonly (readonly Bytes[])[];
  readonly lua: string;
}

const text = (value: string): string =>
  `"${Array.from(value, (each) => `\\${each.charCodeAt(0)}`).join("")}"`;
const set = (key: number, value: string): string =>
  `redis.call("SET", KEYS[${key}], ${text(value)})`;

const cases: readonly Case[] = [
  {
    script: "any",
    what: "it changes something, and fails",
    keys: ["{p}:x"],
    lua: `redis.call("SET", KEYS[1], "1") error("no")`,
  },
  {
    script: "marker",
    what: "it writes nothing",
    keys: ["{sys}:beat"],
    lua: "local nothing",
  },
  {
    script: "set-level",
    what: "it was meant for another store",
    keys: ["{sys}:head", "{sys}:levels"],
    args: ["1", otherId],
    before: [["SET", "{sys}:head", storeId]],
    lua: `redis.call("HSET", KEYS[2], "reached", "1")`,
  },
  {
    script: "reserve",
    what: "a record is not as it was given",
    keys: ["{p}:head", "{p}:reserved", record],
    args: ["1", "op", "i", "{p}:o:", storeId, two, id],
    before: [
      ["SET", "{p}:head", storeId],
      ["SET", record, recordOf(one, 1, 1)],
    ],
    lua: `redis.call("HSET", KEYS[2], ${text(id)}, ${text(hold("op", "i"))})`,
  },
  {
    script: "commit",
    what: "a record is not as it was given",
    keys: ["{p}:head", "{p}:counters", record],
    args: commitArgs("none", "", ["3", two]),
    before: [["SET", "{p}:head", storeId]],
    lua: `redis.call("HSET", KEYS[2], "change", "1")`,
  },
  {
    script: "any",
    what: "what is covered goes back",
    keys: ["{p}:head"],
    before: [["SET", "{p}:head", `${storeId}${number(5)}00`]],
    lua: set(1, `${storeId}${number(4)}00`),
  },
  {
    script: "note-covered",
    what: "more is covered than there is",
    keys: ["{p}:head"],
    before: [
      ["SET", "{p}:head", `${storeId}${number(0)}00`],
      ["HSET", "{p}:counters", "change", "4"],
    ],
    args: [storeId],
    lua: set(1, `${storeId}${number(5)}00`),
  },
  {
    script: "any",
    what: "promised goes back",
    keys: ["{p}:counters"],
    before: [["HSET", "{p}:counters", "promised", "10"]],
    lua: `redis.call("HSET", KEYS[1], "promised", "9")`,
  },
  {
    script: "any",
    what: "reached goes back",
    keys: ["{sys}:levels"],
    before: [["HSET", "{sys}:levels", "reached", "10"]],
    lua: `redis.call("HSET", KEYS[1], "reached", "9")`,
  },
  {
    script: "any",
    what: "the epoch goes back",
    keys: ["{sys}:epoch"],
    before: [["SET", "{sys}:epoch", "10"]],
    lua: set(1, "9"),
  },
  {
    script: "set-cursor",
    what: "epoch 3 is not the store's",
    keys: ["{sys}:epoch", "{p}:cursors"],
    args: ["3", storeId],
    before: [["SET", "{sys}:epoch", "4"]],
    lua: `redis.call("HSET", KEYS[2], "b", "1")`,
  },
  {
    script: "new-epoch",
    what: "epoch 4 is not new",
    keys: ["{sys}:epoch"],
    before: [["SET", "{sys}:epoch", "4"]],
    lua: `${set(1, "4")} return { "committed", 0, 4 }`,
  },
  {
    script: "any",
    what: "a deleted instance comes back",
    keys: ["{p}:s:i"],
    before: [["SET", "{p}:s:i", "Deleted"]],
    lua: set(1, "Installed"),
  },
  {
    script: "commit",
    what: "it changes an instance that is Suspended",
    keys: ["{p}:head", "{p}:counters", "{p}:s:i"],
    args: commitArgs("open"),
    before: [
      ["SET", "{p}:head", storeId],
      ["SET", "{p}:s:i", "Suspended"],
    ],
    lua: `redis.call("HSET", KEYS[2], "change", "1")`,
  },
  {
    script: "any",
    what: "it takes what is held",
    keys: ["{p}:reserved"],
    before: [["HSET", "{p}:reserved", id, hold("op", "i")]],
    lua: `redis.call("HSET", KEYS[1], ${text(id)}, ${text(hold("other", "i"))})`,
  },
  {
    script: "release",
    what: "it ends another's hold",
    keys: ["{p}:reserved"],
    args: ["op", "j", "{p}:o:", ""],
    before: [["HSET", "{p}:reserved", id, hold("op", "i")]],
    lua: `redis.call("HDEL", KEYS[1], ${text(id)})`,
  },
  {
    script: "commit",
    what: "it changes a record that stays held",
    keys: ["{p}:reserved", record],
    args: commitArgs("none"),
    before: [["HSET", "{p}:reserved", id, hold("op", "i")]],
    lua: set(2, recordOf(one, 1, 1)),
  },
  {
    script: "any",
    what: "nobody is told of a new replica",
    keys: ["{sys}:replicas", "{sys}:replicas-version"],
    lua: `redis.call("HSET", KEYS[1], "r:1", "1")`,
  },
  {
    script: "commit",
    what: "a digest is not that of its records",
    keys: ["{p}:digests", record],
    args: commitArgs("none"),
    lua: `${set(2, recordOf(one, 1, 1))} redis.call("SETRANGE", KEYS[1], 97 * 16, ${text(two)})`,
  },
  {
    script: "commit",
    what: "no record carries the promised number",
    keys: ["{p}:counters", record],
    args: commitArgs("none"),
    lua: `${set(2, recordOf(one, 6, 7))} redis.call("HSET", KEYS[1], "promised", "7")`,
  },
];

test.each(cases)("$script: $what", ({ script, what, keys, args = [], before = [], lua: body }) => {
  const broken: string[] = [];
  const model = new RedisModel({ lua, wallMs: () => 1, broken: (each) => broken.push(each) });
  const ask = (...line: readonly Bytes[]) => model.connect().execute(line);
  for (const line of before) ask(...line);
  const source = `#!lua\n-- ${script}.lua  A script of a test.\n${body}\nreturn { "committed", 0 }`;
  // An end of its own must be the last statement.
  const ends = body.includes("return");
  const sha = String(ask("SCRIPT", "LOAD", ends ? source.replace(/\n[^\n]*$/, "") : source));
  ask("EVALSHA", sha, String(keys.length), ...keys, ...args);
  expect(broken).toEqual([`${script}.lua: ${what}`]);
});
