import { hash } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { checkScript, loadScripts, type ScriptName, scriptArguments } from "./scripts.ts";

// In a test, so that one fails where a script cannot be loaded.
let scripts: ReturnType<typeof loadScripts>;
beforeEach(() => {
  scripts = loadScripts();
});

test("every script is complete", () => {
  for (const [name, { source, sha }] of Object.entries(scripts)) {
    expect(source, name).toMatch(/^#!lua( flags=[a-z,-]+)?\n/);
    expect(source, name).not.toContain("--- include");
    expect(sha).toBe(hash("sha1", source));
  }
});

test("scripts that free memory or fence run when memory is full, and scripts that may grow do not", () => {
  const allowed = Object.values(scripts)
    .filter(({ source }) => source.split("\n")[0]?.includes("allow-oom"))
    .map(({ name }) => name);
  const reading = Object.values(scripts)
    .filter(({ source }) => source.split("\n")[0]?.includes("no-writes"))
    .map(({ name }) => name);
  expect(allowed.filter((name) => !reading.includes(name)).toSorted()).toEqual([
    "ask-level",
    "audit-chain",
    "claim",
    "commit-facts",
    "forget-replica",
    "formats",
    "key-step",
    "marker",
    "new-epoch",
    "note-covered",
    "rehearse",
    "release",
    "remac",
    "remember-replica",
    "require-format",
    "reserve",
    "set-audit-sink",
    "set-audit-tree",
    "set-cursor",
    "set-key",
    "set-level",
    "set-status",
  ]);
  // Scripts that only read must run then too.
  expect(reading.filter((name) => !allowed.includes(name))).toEqual([]);
  expect(reading).toContain("find");
});

test("rehearse calls every command that a script calls", () => {
  const called = (text: string) =>
    new Set([...text.matchAll(/redis\.call\(\s*"([A-Z]+)"/g)].map(([, command]) => command));
  const rehearsed = called(scripts.rehearse.source);
  const { initialise: _, rehearse: __, ...others } = scripts;
  for (const { name, source } of Object.values(others)) {
    for (const command of called(source)) expect(rehearsed, name).toContain(command);
  }
});

describe("the header of a script is compared with its row", () => {
  const header = (keys: string, flags = " flags=allow-oom") =>
    `#!lua${flags}\n-- x.lua  Says.\n-- KEYS  ${keys}\n-- →     {"committed", 1} | {"notInitialised"}\nreturn`;
  test.each<[string, ScriptName, string, string | undefined]>([
    ["the same", "set-status", header("1 head  2 counters  3 status"), undefined],
    ["a missing key", "set-status", header("1 head  2 counters"), "different keys"],
    ["a different key", "set-status", header("1 head  2 counters  3 names"), "different keys"],
    ["open end", "set-status", header("1 head  2 counters  3 status  4.. x"), "different keys"],
    [
      "a key beyond the row",
      "set-status",
      `${header("1 head  2 counters  3 status")} KEYS[4]`,
      "KEYS[4]",
    ],
    ["other flags", "set-status", header("1 head  2 counters  3 status", ""), "memory is full"],
    [
      "a result that its header lacks",
      "reserve",
      header("1 head  2 reserved  3.. given"),
      '"held" is missing in its header',
    ],
  ])("%s", (_name, script, text, problem) => {
    if (problem === undefined) checkScript(script, text);
    else expect(() => checkScript(script, text)).toThrow(problem);
  });
});

test("a call with the wrong number of keys is refused", () => {
  expect(scriptArguments(scripts.marker, ["a", "b", "c", "d", "e"], ["x"])).toEqual([
    scripts.marker.sha,
    "5",
    "a",
    "b",
    "c",
    "d",
    "e",
    "x",
  ]);
  expect(() => scriptArguments(scripts.marker, ["a"], [])).toThrow("takes 5 keys, not 1");
  expect(() => scriptArguments(scripts.marker, ["a", "b", "c", "d", "e", "f"], [])).toThrow(
    "not 6",
  );
  expect(scriptArguments(scripts["note-covered"], ["a"], ["1"])[1]).toBe("1");
});
