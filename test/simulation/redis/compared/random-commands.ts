import type { Bytes } from "../reply.ts";
import type { Choices } from "./choices.ts";

type Make = (choose: Choices, key: Bytes) => readonly Bytes[];

const integers = ["0", "1", "-1", "2", "5", "140737488355327", "9223372036854775807"];
const wrongIntegers = [
  "-9223372036854775808",
  "9223372036854775808",
  "01",
  "+1",
  " 1",
  "x",
  "",
  "1.5",
];
const scores = ["0", "1", "2", "-1.5", "3.0", "1e3", "inf", "-inf", "140737488355327"];
const wrongScores = ["nan", "x", "", "1 "];
const members = ["", "a", "b", "ab", "a\x00", "a\x01", "a\xff", "\xff\xfe"];
const ids = ["1-0", "2-0", "2", "5-1", "3000000000-0", "0-0", "140737488355327-0"];

const integer = (choose: Choices): Bytes => choose.of(choose.chance(15) ? wrongIntegers : integers);
const score = (choose: Choices): Bytes => choose.of(choose.chance(10) ? wrongScores : scores);
const member = (choose: Choices): Bytes => choose.of(members);
const id = (choose: Choices): Bytes =>
  choose.chance(5) ? choose.of(["x", "1-x", ""]) : choose.of(ids);
const lexEnd = (choose: Choices): Bytes =>
  choose.chance(20)
    ? choose.of(["-", "+", "", "a", "-x", "+x"])
    : choose.of(["[", "("]) + member(choose);
const scoreEnd = (choose: Choices): Bytes => choose.of(["", "("]) + score(choose);
const limit = (choose: Choices): readonly Bytes[] =>
  choose.chance(50) ? ["LIMIT", integer(choose), integer(choose)] : [];
const withScores = (choose: Choices): readonly Bytes[] => (choose.chance(40) ? ["WITHSCORES"] : []);
const count = (choose: Choices): readonly Bytes[] =>
  choose.chance(50) ? ["COUNT", integer(choose)] : [];
const pairs = (choose: Choices, first: (choose: Choices) => Bytes): readonly Bytes[] =>
  [0, ...choose.list(2, () => 0)].flatMap(() => [first(choose), member(choose)]);

/** Commands of each type of value, as makers of their words. */
const makers: Readonly<Record<string, readonly Make[]>> = {
  text: [
    (_choose, key) => ["GET", key],
    (choose, key) => ["SET", key, choose.of([...integers, ...wrongIntegers, ...members])],
    (_choose, key) => ["STRLEN", key],
    (choose, key) => ["GETRANGE", key, integer(choose), integer(choose)],
    (choose, key) => ["SETRANGE", key, choose.of(["0", "1", "3", "9", "-1", "x"]), member(choose)],
    (_choose, key) => ["INCR", key],
    (_choose, key) => ["MGET", key, "hash", "none", "text"],
  ],
  hash: [
    (choose, key) => ["HGET", key, member(choose)],
    (choose, key) => ["HMGET", key, member(choose), member(choose)],
    (_choose, key) => ["HGETALL", key],
    (_choose, key) => ["HLEN", key],
    (choose, key) => ["HEXISTS", key, member(choose)],
    (choose, key) => ["HSET", key, ...pairs(choose, member), ...(choose.chance(10) ? ["odd"] : [])],
    (choose, key) => ["HSET", key, member(choose), integer(choose)],
    (choose, key) => ["HSETNX", key, member(choose), integer(choose)],
    (choose, key) => ["HINCRBY", key, member(choose), integer(choose)],
    (choose, key) => ["HDEL", key, member(choose), ...choose.list(2, () => member(choose))],
  ],
  scored: [
    (choose, key) => ["ZADD", key, ...pairs(choose, score)],
    (choose, key) => [
      "ZADD",
      key,
      score(choose),
      member(choose),
      ...(choose.chance(10) ? ["1"] : []),
    ],
    (choose, key) => ["ZREM", key, member(choose), ...choose.list(2, () => member(choose))],
    (_choose, key) => ["ZCARD", key],
    (choose, key) => ["ZSCORE", key, member(choose)],
    (choose, key) => ["ZRANGE", key, integer(choose), integer(choose), ...withScores(choose)],
    (choose, key) => ["ZRANGE", key, "0", "-1", "REV", ...limit(choose), ...withScores(choose)],
    (choose, key) => [
      ...["ZRANGEBYSCORE", key, scoreEnd(choose), scoreEnd(choose)],
      ...[...withScores(choose), ...limit(choose)],
    ],
    (choose, key) => [
      ...["ZREVRANGEBYSCORE", key, scoreEnd(choose), scoreEnd(choose)],
      ...[...withScores(choose), ...limit(choose)],
    ],
  ],
  // All scores are equal, else Redis does not say what a range of bytes is.
  equal: [
    (choose, key) => ["ZADD", key, "0", member(choose), "0", member(choose), "0", member(choose)],
    (choose, key) => ["ZREM", key, member(choose)],
    (choose, key) => ["ZLEXCOUNT", key, lexEnd(choose), lexEnd(choose)],
    (choose, key) => ["ZRANGE", key, lexEnd(choose), lexEnd(choose), "BYLEX", ...limit(choose)],
    (choose, key) => [
      ...["ZRANGE", key, lexEnd(choose), lexEnd(choose), "BYLEX", "REV"],
      ...[...limit(choose), ...(choose.chance(5) ? ["WITHSCORES"] : [])],
    ],
  ],
  stream: [
    (choose, key) => [
      "XADD",
      key,
      id(choose),
      "e",
      member(choose),
      ...(choose.chance(5) ? ["odd"] : []),
    ],
    (choose, key) => [
      "XRANGE",
      key,
      choose.of(["-", id(choose)]),
      choose.of(["+", id(choose)]),
      ...count(choose),
    ],
    (choose, key) => [
      "XREVRANGE",
      key,
      choose.of(["+", id(choose)]),
      choose.of(["-", id(choose)]),
      ...count(choose),
    ],
    (choose, key) => ["XTRIM", key, "MINID", id(choose)],
  ],
};

const anyKey: readonly Make[] = [
  (choose) => ["EXISTS", choose.of(Object.keys(makers)), "text", "text"],
  (choose) => ["DEL", choose.of(Object.keys(makers)), "none"],
  () => ["DBSIZE"],
  () => ["MULTI"],
  () => ["EXEC"],
  (choose) => [choose.of(["GET", "HSET", "ZRANGE", "XADD", "MULTI", "nothing"]), "one word"],
];

const names = Object.keys(makers);

/** A command with words that fit, mostly; sometimes on a key of another type. */
export function randomCommand(choose: Choices): readonly Bytes[] {
  if (choose.chance(12)) return choose.of(anyKey)(choose, "");
  const name = choose.of(names);
  const others = names.filter((other) => other !== "equal" && name !== "equal");
  const key = choose.chance(6) && others.length > 0 ? choose.of(others) : name;
  return choose.of(makers[name] ?? anyKey)(choose, key);
}
