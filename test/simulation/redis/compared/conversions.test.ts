import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Failure } from "../reply.ts";
import { Both } from "./both.ts";

let both: Both;
beforeAll(async () => {
  both = await Both.start();
});
afterAll(async () => both[Symbol.asyncDispose]());

const load = (body: string, flags = ""): string =>
  String(both.execute(["SCRIPT", "LOAD", `#!lua${flags}\n${body}`]));

/** Runs commands and a script on both, and compares. */
async function run(
  body: string,
  { before = [] as string[][], args = [] as string[], flags = "" } = {},
) {
  both.begin();
  for (const line of before) both.execute(line);
  const reply = both.execute(["EVALSHA", load(body, flags), "1", "key", ...args]);
  await both.compare();
  return reply;
}

describe("what a script answers becomes an answer of Redis:", () => {
  test.each<[string, string]>([
    ["a whole number", "return 7"],
    ["a number with a fraction, cut toward zero", "return { 2.9, -3.99, -0.5 }"],
    ["large numbers", "return { 2 ^ 31, 2 ^ 47, -2 ^ 52, 2 ^ 53 - 1 }"],
    ["bytes", "return '\\0\\255\\200x'"],
    ["true and false", "return { true, false, 1 }"],
    ["nothing", "return"],
    ["a list ends at the first nil", "return { 1, nil, 3 }"],
    ["lists in lists", "return { 1, { 'a', { 2 } }, {} }"],
    ["a status", "return { ok = 'FINE' }"],
    ["a status from a command", "return redis.call('SET', KEYS[1], 'x')"],
    ["an error", "return { err = 'MINE word' }"],
  ])("%s", async (_name, body) => {
    await run(body);
  });
});

describe("what Redis answers becomes a value in the script:", () => {
  test.each<[string, string]>([
    ["nothing is false", "return tostring(redis.call('GET', 'no'))"],
    ["nothing in a list is false", "return tostring(redis.call('HMGET', 'no', 'a')[1])"],
    [
      "a list that is nothing is false",
      "return tostring(redis.call('XRANGE', 'x', '-', '+', 'COUNT', 0))",
    ],
    [
      "a score is text",
      "redis.call('ZADD', 'z', 3, 'm') return type(redis.call('ZSCORE', 'z', 'm'))",
    ],
    ["a count is a number", "return type(redis.call('DBSIZE'))"],
    ["a status is a table", "return redis.call('SET', 'a', 1).ok"],
    [
      "an error is a table in pcall",
      "redis.call('SET', 'a', 1) return redis.pcall('HGET', 'a', 'b').err",
    ],
    ["bytes stay bytes", "redis.call('SET', 'a', '\\0\\255\\200') return redis.call('GET', 'a')"],
  ])("%s", async (_name, body) => {
    await run(body, { before: [["XADD", "x", "1-0", "a", "b"]] });
  });
});

describe("numbers of a script become words of a command:", () => {
  const numbers = [
    "0",
    "1",
    "-1",
    "2^31",
    "-2^31",
    "2^47",
    "2^53-1",
    "7/2",
    "-0.25",
    "1/3",
    "1e-7",
    "0/1",
  ];
  test.each(numbers)("%s", async (number) => {
    await run(`redis.call('SET', 'a', ${number}) redis.call('ZADD', 'z', ${number}, 'm') return {
      redis.call('GET', 'a'), redis.call('ZSCORE', 'z', 'm'), tostring(${number}), '' .. ${number} }`);
  });
});

describe("the machine does as Redis' Lua:", () => {
  test.each<[string, string]>([
    ["%d in full", "return string.format('%d', 2 ^ 31) .. string.format('%d-0', 2 ^ 47)"],
    ["%d cuts", "return string.format('%d %d %d %d', 3.7, -3.7, -0.2, '12')"],
    [
      "%d in a longer pattern",
      "return string.format('%5d|%-5d|%05d|%+d|%s|%%|%i', 1, 2, 3, 4, 'x', 2 ^ 40)",
    ],
    ["%d as a method", "return ('%d'):format(2 ^ 40)"],
    ["%x of a small number", "return string.format('%x %q %.2f', 255, 'a', 1.5)"],
    [
      "bxor has a sign",
      "return { bit.bxor(4294967295, 0), bit.bxor(1, 2147483648), bit.bxor(5, 3, 1) }",
    ],
    [
      "struct",
      "return { struct.pack('>I6I2i4', 2 ^ 47 - 1, 65535, -2), struct.unpack('>I6i4', '\\0\\1\\2\\3\\4\\5\\255\\255\\255\\254') }",
    ],
    ["struct from a position", "return { struct.unpack('>I2', 'abcd', 3) }"],
    ["struct cuts high bytes", "return struct.pack('>I2', 65536 + 258)"],
    ["sha1hex of bytes", "return redis.sha1hex('\\0\\255')"],
    [
      "the order of pairs",
      "local t, l = { b = 1, a = 2, cc = 3, x1 = 4, ['~1'] = 5 }, {} for k in pairs(t) do l[#l + 1] = k end return l",
    ],
    ["sort", "local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return t"],
    ["numbers in text", "return { '' .. 2 ^ 47, '' .. 10 / 2, tostring(-7 % 3) }"],
    ["io is not there", "return tostring(pcall(function() return io end))"],
    ["keys and arguments", "return { #KEYS, KEYS[1], #ARGV, ARGV[1], ARGV[2] }"],
  ])("%s", async (_name, body) => {
    await run(body, { args: ["\xff\x00", ""] });
  });
});

describe("errors have Redis' words:", () => {
  test.each<[string, string]>([
    ["error with a text", "error('words')"],
    ["error with a table", "error({ err = 'MINE words' })"],
    ["error in a function", "local function f() error('words') end\nf()"],
    ["a text with a line end", "error('a\\nb')"],
    ["nil has no field", "local t = {} return t.x.y"],
    ["wrong type", "return redis.call('HGET', KEYS[1], 'a')"],
    ["wrong number of words", "return redis.call('GET')"],
    ["unknown command", "return redis.call('NOTHING', 'a')"],
    ["a command that scripts may not call", "return redis.call('MULTI')"],
    ["no words", "return redis.call()"],
    ["a word that is a table", "return redis.call('GET', {})"],
    ["a word that is nil", "return redis.call('GET', nil)"],
    ["a global that is not there", "return nothing"],
    ["a new global", "x = 1"],
    ["a change of a library", "string.x = 1"],
    ["a change of redis", "redis.x = 1"],
    ["struct: too short", "return struct.unpack('>I6', 'abc')"],
    ["pcall keeps the code", "return redis.pcall('INCR', KEYS[1])"],
    ["earlier writes stay", "redis.call('SET', 'a', 1) redis.call('HGET', KEYS[1], 'a')"],
  ])("%s", async (_name, body) => {
    const reply = await run(body, { before: [["SET", "key", "text"]] });
    expect(reply).toBeInstanceOf(Failure);
  });

  test("a script that only reads may not write", async () => {
    const flags = " flags=no-writes";
    await run("return redis.call('SET', KEYS[1], 1)", { flags });
    await run("return redis.pcall('DEL', KEYS[1]).err", { flags });
  });
});
