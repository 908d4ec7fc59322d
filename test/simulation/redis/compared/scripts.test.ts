import { loadScripts, type Script, type ScriptName } from "@holdfast/redis";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bytes, Reply } from "../reply.ts";
import { Both } from "./both.ts";
import { Choices } from "./choices.ts";
import { calls } from "./script-calls.ts";
import { at, sys } from "./script-places.ts";
import { seed, sequencesOr } from "./sequences.ts";

const sequences = sequencesOr(600);

/** The scripts that ship, with one change: both servers must see the same time. */
const scripts = Object.values(loadScripts()).map((script: Script) => ({
  ...script,
  source: Buffer.from(script.source)
    .toString("latin1")
    .replace('local time = redis.call("TIME")', 'local time = { "1790000000", "250000" }'),
}));
const names = scripts.map(({ name }) => name);
/** Scripts that most of the others need something of. */
const often: readonly ScriptName[] = ["commit", "commit-facts", "append-audit", "reserve"];

/** The first word that each script answered, and how often. */
const answers = new Map<string, number>();

let both: Both;
const shas = new Map<string, Bytes>();
beforeAll(async () => {
  both = await Both.start();
  both.begin();
  for (const { name, source } of scripts) {
    shas.set(name, String(both.execute(["SCRIPT", "LOAD", source])));
  }
  await both.compare();
});
afterAll(async () => both[Symbol.asyncDispose]());

/** Counters from which numbers are close to an end: of a block, of 32 bits, of the mark of a reservation. */
const starts = [0, 0, 126, 2 ** 31 - 2, 2 ** 47 - 120];

function prepare(choose: Choices): void {
  if (choose.chance(95)) call("initialise", choose);
  both.execute(["SET", at.status, choose.of(["Installed", "Installed", "Deleted"])]);
  const start = String(choose.of(starts));
  if (start !== "0")
    both.execute(["HSET", at.counters, "change", start, "promised", start, "created", start]);
  const audit = choose.of(["0", "254", "4999", "2147483646"]);
  if (audit !== "0") both.execute(["HSET", at.counters, "audit", audit]);
}

function call(name: ScriptName, choose: Choices): Reply {
  const { keys, args } = calls[name](choose, both.model);
  const sha = shas.get(name) ?? "";
  const reply = both.execute(["EVALSHA", sha, String(keys.length), ...keys, ...args]);
  const word = Array.isArray(reply) ? `${name} ${String(reply[0])}` : `${name} error`;
  answers.set(word, (answers.get(word) ?? 0) + 1);
  return reply;
}

const kept = [
  at.counters,
  at.changes,
  at.digests,
  at.audit,
  at.reserved,
  at.states,
  at.live,
  at.status,
];

/** A fault of the data: a key is of another type, lost, or no number. */
function damage(choose: Choices): void {
  const key = choose.of([...kept, at.chain, sys.levels, sys.formats, sys.replicas]);
  const ways: readonly (readonly Bytes[])[] = [
    ["DEL", key],
    ["HSET", at.counters, "audit", "words"],
    ["HSET", sys.formats, "n:a3", "2 1789999999000"],
  ];
  const way = choose.below(ways.length + 1);
  for (const line of way < ways.length
    ? [ways[way] ?? []]
    : [
        ["DEL", key],
        ["ZADD", key, "1", "x"],
      ]) {
    both.execute(line);
  }
}

/** Every first word that the sources of the scripts can answer. */
function possible({ name, source }: Script): readonly string[] {
  return [
    ...new Set([...source.matchAll(/\{ "([a-z]\w*)"[,\s]/g)].map(([, word]) => `${name} ${word}`)),
  ];
}

test("an operation holds at most 20,000 records of a partition", async () => {
  both.begin();
  const choose = new Choices([50]);
  prepare(choose);
  const holds = Array.from({ length: 19_999 }, (_, n) => [`id ${n}`, "\0\0\0\0\0\0\0\x01xi"]);
  // So many fields are slow in a hash that keeps their order.
  const bound = (fields: string) => ["CONFIG", "SET", "hash-max-listpack-entries", fields];
  await both.arrange(bound("512"));
  both.execute(["HSET", at.reserved, ...holds.flat()]);
  for (const last of [1, 2, 3]) call("reserve", new Choices([0, 0, 0, 0, last]));
  both.execute(["DEL", at.reserved]);
  await both.compare();
  await both.arrange(bound("100000"));
});

test(`${sequences} random sequences of calls (seed ${seed}): every script answers in the model as in Redis`, async () => {
  const numbers = fc.array(fc.nat(0xffff), { minLength: 16, maxLength: 64 });
  await fc.assert(
    fc.asyncProperty(
      numbers,
      fc.array(numbers, { minLength: 1, maxLength: 60, size: "max" }),
      async (first, steps) => {
        both.begin();
        prepare(new Choices(first));
        for (const step of steps) {
          const choose = new Choices(step);
          if (choose.chance(2)) damage(choose);
          const name = choose.of(choose.chance(40) ? often : names);
          call(name, choose);
        }
        await both.compare();
      },
    ),
    { seed, numRuns: sequences },
  );
  const missing = scripts.flatMap(possible).filter((word) => !answers.has(word));
  expect(
    missing,
    [...answers]
      .map(([word, times]) => `${word} ${times}`)
      .toSorted()
      .join("\n"),
  ).toEqual([]);
});
