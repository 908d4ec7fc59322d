import fc from "fast-check";
import { Command } from "ioredis";
import { describe, expect, test } from "vitest";
import { type Argument, commandBytes, Line } from "./command-line.ts";

const seed = 20_261_125;

describe("commandBytes", () => {
  test.each<[string, string, Argument[], string]>([
    ["no argument", "ping", [], "*1\r\n$4\r\nping\r\n"],
    ["text", "get", ["key"], "*2\r\n$3\r\nget\r\n$3\r\nkey\r\n"],
    [
      "empty text and empty bytes",
      "x",
      ["", Buffer.alloc(0)],
      "*3\r\n$1\r\nx\r\n$0\r\n\r\n$0\r\n\r\n",
    ],
    ["text of more bytes than letters", "x", ["äöü"], "*2\r\n$1\r\nx\r\n$6\r\näöü\r\n"],
    ["ten bytes", "x", ["0123456789"], "*2\r\n$1\r\nx\r\n$10\r\n0123456789\r\n"],
  ])("encodes a command with %s", (_name, name, args, expected) => {
    expect(commandBytes(name, args).toString()).toBe(expected);
  });

  const argument = fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.string({ minLength: 90, maxLength: 1100 }),
    fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes)),
  );

  test(`encodes any command as ioredis does (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.constantFrom("mget", "evalsha"), fc.array(argument), (name, args) => {
        const theirs = Buffer.from(new Command(name, [...args]).toWritable(undefined as never));
        expect(commandBytes(name, args)).toEqual(theirs);
        expect(new Line(name, args).toWritable()).toEqual(theirs);
      }),
      { seed },
    );
  });
});
