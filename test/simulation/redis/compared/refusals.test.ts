import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Failure } from "../reply.ts";
import { Both } from "./both.ts";

const flagged = ["", " flags=allow-oom", " flags=no-writes,allow-oom", " flags=no-writes"];
const shas: string[] = [];

let both: Both;
beforeAll(async () => {
  both = await Both.start();
  both.begin();
  for (const flags of flagged) {
    shas.push(
      String(both.execute(["SCRIPT", "LOAD", `#!lua${flags}\nreturn redis.call('GET', 'a')`])),
    );
  }
  await both.compare();
});
afterAll(async () => both[Symbol.asyncDispose]());
beforeEach(() => both.begin());

const unknown = "0".repeat(40);

/** Every kind of command, alone and in transactions. */
function everything(): void {
  const each = [
    ["GET", "a"],
    ["DEL", "b"],
    ["SET", "a", "1"],
    ["HDEL", "h", "x"],
  ];
  const lines = [...each, ...[...shas, unknown].map((sha) => ["EVALSHA", sha, "0"])];
  for (const line of lines) both.execute(line);
  for (const line of lines) {
    for (const one of [["MULTI"], ["GET", "a"], line, ["EXEC"]]) both.execute(one);
  }
}

describe("the model refuses what Redis refuses:", () => {
  test("nothing, as a primary with memory", async () => {
    everything();
    await both.compare();
  });

  test("with full memory", async () => {
    await both.arrange(["CONFIG", "SET", "maxmemory", "1"]);
    both.model.full = true;
    everything();
    await both.compare();
    await both.arrange(["CONFIG", "SET", "maxmemory", "0"]);
    both.model.full = false;
  });

  test("as a replica, with full memory too", async () => {
    both.execute(["SET", "a", "1"]);
    await both.compare();
    await both.arrange(["REPLICAOF", "127.0.0.1", "1"], ["CONFIG", "SET", "maxmemory", "1"]);
    both.model.role = "replica";
    both.model.full = true;
    everything();
    await both.compare();
    await both.arrange(["REPLICAOF", "NO", "ONE"], ["CONFIG", "SET", "maxmemory", "0"]);
    both.model.role = "primary";
    both.model.full = false;
  });
});

test("scripts that a server forgot", async () => {
  await both.arrange(["SCRIPT", "FLUSH"]);
  both.model.forgetScripts();
  const replies = shas.map((sha) => both.execute(["EVALSHA", sha, "0"]));
  expect(replies.every((reply) => reply instanceof Failure)).toBe(true);
  both.execute(["EVALSHA", unknown, "x"]);
  both.execute(["EVALSHA", unknown, "1"]);
  both.execute(["EVALSHA", unknown, "-1"]);
  both.execute(["EVALSHA", unknown, "1", "a"]);
  await both.compare();
});

test("a script that is no Lua", async () => {
  both.execute(["SCRIPT", "LOAD", "#!lua\nreturn return"]);
  await both.compare();
});
