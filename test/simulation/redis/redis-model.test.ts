import { expect, test } from "vitest";
import { LuaMachine } from "./lua-machine.ts";
import { RedisModel } from "./redis-model.ts";
import type { Bytes, Reply } from "./reply.ts";

const lua = await LuaMachine.create();

/** A server, and how often it ran a script. */
function server() {
  let runs = 0;
  const counting = new Proxy(lua, {
    get(target, name) {
      if (name === "run") runs += 1;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const model = new RedisModel({ lua: counting, wallMs: () => 1_000 + runs });
  const ask = (...line: readonly Bytes[]): Reply => model.connect().execute(line);
  return { model, ask, runs: () => runs };
}

/** A script that only reads, and how the key that it reads is made and then changed. */
const cases: readonly (readonly [string, ...(readonly Bytes[])[]])[] = [
  [
    '"GET", KEYS[1]',
    ["SET", "k", "1"],
    ["SET", "k", "2"],
    ["INCR", "k"],
    ["SETRANGE", "k", "0", "7"],
  ],
  [
    '"STRLEN", KEYS[1]',
    ["SET", "k", "1"],
    ["DEL", "k"],
    ["SETRANGE", "k", "0", "77"],
    ["FLUSHALL"],
  ],
  ['"EXISTS", KEYS[1]', ["SET", "k", "1"], ["DEL", "k"], ["HSET", "k", "f", "1"], ["FLUSHALL"]],
  ['"MGET", KEYS[1]', ["SET", "k", "1"], ["SET", "k", "2"]],
  [
    '"HGETALL", KEYS[1]',
    ["HSET", "k", "f", "1"],
    ["HSETNX", "k", "g", "1"],
    ["HINCRBY", "k", "f", "1"],
    ["HDEL", "k", "f"],
  ],
  [
    '"ZRANGE", KEYS[1], 0, -1',
    ["ZADD", "k", "1", "a"],
    ["ZADD", "k", "2", "b"],
    ["ZREM", "k", "a"],
  ],
  [
    '"XRANGE", KEYS[1], "-", "+"',
    ["XADD", "k", "1-0", "e", "1"],
    ["XADD", "k", "2-0", "e", "2"],
    ["XTRIM", "k", "MINID", "2"],
  ],
  ['"DBSIZE"', ["SET", "j", "1"], ["SET", "l", "2"]],
];

test.each(cases.map(([call, ...changes]) => ({ call, changes })))(
  "a script with $call answers anew after each change",
  ({ call, changes }) => {
    const { ask, model } = server();
    const sha = String(ask("SCRIPT", "LOAD", `#!lua flags=no-writes\nreturn redis.call(${call})`));
    for (const [at, change] of changes.entries()) {
      ask(...change);
      const answer = ask("EVALSHA", sha, "1", "k");
      // With an argument that no call had before, nothing is remembered.
      expect(answer, change.join(" ")).toEqual(ask("EVALSHA", sha, "1", "k", String(at)));
    }
    const replica = server();
    replica.ask("SCRIPT", "LOAD", `#!lua flags=no-writes\nreturn redis.call(${call})`);
    replica.ask("EVALSHA", sha, "1", "k");
    replica.model.data.copy(model.data);
    expect(replica.ask("EVALSHA", sha, "1", "k")).toEqual(ask("EVALSHA", sha, "1", "k"));
  },
);

test("a script that only reads runs once while its keys stay as they are", () => {
  const { ask, runs } = server();
  const sha = String(
    ask("SCRIPT", "LOAD", '#!lua flags=no-writes\nreturn redis.call("GET", KEYS[1])'),
  );
  ask("SET", "k", "1");
  const first = ask("EVALSHA", sha, "1", "k");
  ask("SET", "another", "1");
  expect(ask("EVALSHA", sha, "1", "k")).toBe(first);
  expect(runs()).toBe(1);
});

test("SCAN shows each key that stays while other keys are made and deleted, and each process has its own order", () => {
  const orders = ["one", "two"].map((seed) => {
    const { ask, model } = server();
    model.data.seed = seed;
    const stay = Array.from({ length: 40 }, (_, at) => `{a}:o:${at}`);
    for (const key of [...stay, "{a}:other"]) ask("SET", key, "1");
    const seen: Bytes[] = [];
    let cursor = "0";
    do {
      const found = ask("SCAN", cursor, "MATCH", "{*}:o:*", "COUNT", "7");
      const [next, keys] = found as unknown as readonly [Bytes, readonly Bytes[]];
      seen.push(...keys);
      ask("SET", `{a}:o:new ${cursor}`, "1");
      ask("DEL", `{a}:o:new ${next}`, "{a}:other");
      cursor = next;
    } while (cursor !== "0");
    expect(seen).toEqual(expect.arrayContaining(stay));
    expect(seen).not.toContain("{a}:other");
    expect(new Set(seen).size).toBe(seen.length);
    return seen.filter((key) => stay.includes(key)).join(" ");
  });
  expect(new Set(orders).size).toBe(2);
});

test("a script that reads the clock, or may write, runs each time", () => {
  const { ask, runs } = server();
  for (const [flags, call] of [
    [" flags=no-writes", '"TIME"'],
    ["", '"GET", "k"'],
  ]) {
    const sha = String(ask("SCRIPT", "LOAD", `#!lua${flags}\nreturn redis.call(${call})`));
    const before = runs();
    ask("EVALSHA", sha, "0");
    ask("EVALSHA", sha, "0");
    expect(runs() - before).toBe(2);
  }
});
