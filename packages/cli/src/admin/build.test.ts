import { contract } from "@holdfast/admin";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addAdminCommands, operations } from "./build.ts";

function commandOf(words: string): Command | undefined {
  const program = new Command("holdfast");
  addAdminCommands(program);
  return words
    .split(" ")
    .reduce<Command | undefined>(
      (at, word) => at?.commands.find((command) => command.name() === word),
      program,
    );
}

describe("the management commands", () => {
  test("have unique words, one command for each operation of the contract", () => {
    const words = Object.values(contract).map(({ command }) => command.words);
    expect(new Set(words).size).toBe(words.length);
  });

  test("are in groups that say what they are about", () => {
    const program = new Command("holdfast");
    addAdminCommands(program);
    const groups = program.commands.filter(({ commands }) => commands.length > 0);
    const bare = groups.filter((group) => group.summary() === group.name());
    expect(bare.map((group) => group.name())).toEqual([]);
  });

  test.each(operations().filter(({ row }) => !row.words.includes("--")))(
    "$row.words takes every field of $name",
    ({ row, params, query, body }) => {
      const command = commandOf(row.words);
      expect(command?.registeredArguments.map((argument) => argument.name())).toEqual(params);
      const options = (command?.options ?? []).map(({ long }) => long);
      for (const { name } of [...query, ...body]) {
        const kebab = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        const expected = row.secrets?.includes(name)
          ? `${kebab}-file`
          : (row.files?.[name] ?? kebab);
        expect(options).toContain(`--${expected}`);
      }
      for (const option of ["--profile", "--url", "--ca", "--token-file", "--json"]) {
        expect(options).toContain(option);
      }
    },
  );

  test("list the values that an option accepts, and say which options are mandatory", () => {
    const command = commandOf("key revoke");
    const reason = command?.options.find(({ long }) => long === "--reason");
    expect(reason?.argChoices).toContain("KeyCompromise");
    expect(reason?.mandatory).toBe(true);
    const roles = commandOf("token create")?.options.find(({ long }) => long === "--roles");
    expect(roles?.argChoices).toContain("security-officer");
    expect(roles?.mandatory).toBe(true);
    const given = ["manager", "auditor"].reduce<unknown>(
      (before, text) => roles?.parseArg?.(text, before as never),
      undefined,
    );
    expect(given).toEqual(["manager", "auditor"]);
    expect(() => roles?.parseArg?.("root", undefined as never)).toThrow(/Allowed choices/);
  });

  test.each([
    ["events", "--limit", "1 to 1000; 100 unless given"],
    ["authority sign", "--days", "1 to 3650; 365 unless given"],
    ["user set", "--password-file", "12 to 1024 characters"],
  ])("%s says the range of %s", (words, option, range) => {
    const found = commandOf(words)?.options.find(({ long }) => long === option);
    expect(found?.description).toContain(range);
  });

  test("take no secret as an argument", () => {
    const options = operations().flatMap(({ row }) =>
      (commandOf(row.words)?.options ?? []).map(({ long }) => long),
    );
    for (const secret of ["--password", "--api-key", "--pin", "--token-value", "--secret"]) {
      expect(options).not.toContain(secret);
    }
  });
});
