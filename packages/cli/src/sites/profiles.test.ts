import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Profiles, profilesFile, readProfiles, writeProfiles } from "./profiles.ts";
import { tokenIn } from "./site.ts";

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-profiles-"));
  file = join(folder, "holdfast", "profiles.json");
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const all: Profiles = {
  current: "site",
  profiles: { site: { url: ["https://kms-1.example:8443"], tokenFile: "/run/token" } },
};

describe("profiles", () => {
  test("are empty if there is no file", () => {
    expect(readProfiles(file)).toEqual({ profiles: {} });
  });

  test("are read as written, are private to their owner, and leave no temporary file", () => {
    writeProfiles(all, file);
    writeProfiles(all, file);
    expect(readProfiles(file)).toEqual(all);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(file)).mode & 0o777).toBe(0o700);
    expect(readdirSync(dirname(file))).toEqual(["profiles.json"]);
  });

  test.each([
    ["{", "correct or delete it"],
    ['{"profiles":{"a":{"url":[]}}}', "holds no profiles"],
    ["[]", "holds no profiles"],
  ])("are reported if their file is broken: %j", (content, wanted) => {
    writeProfiles(all, file);
    writeFileSync(file, content);
    expect(() => readProfiles(file)).toThrow(
      expect.objectContaining({ name: "Failure", message: expect.stringContaining(wanted) }),
    );
  });

  test("show no part of a token if their file is broken", () => {
    writeProfiles(all, file);
    writeFileSync(file, '{"profiles":{"a":{"url":["https://a:1"],"token":hf_ABCDEFGH}}}');
    expect(() => readProfiles(file)).toThrow(`${file}: is not JSON; correct or delete it`);
  });

  test("are reported if they cannot be written", () => {
    writeFileSync(join(folder, "holdfast"), "");
    expect(() => writeProfiles(all, file)).toThrow(expect.objectContaining({ name: "Failure" }));
  });

  test("are stored under XDG_CONFIG_HOME", () => {
    const before = process.env["XDG_CONFIG_HOME"];
    process.env["XDG_CONFIG_HOME"] = folder;
    expect(profilesFile()).toBe(file);
    if (before === undefined) delete process.env["XDG_CONFIG_HOME"];
    else process.env["XDG_CONFIG_HOME"] = before;
  });
});

test("a file without a token is refused before any request, and its content is not shown", () => {
  const path = join(folder, "token");
  writeFileSync(path, "a-token\r\n");
  expect(tokenIn(path)).toBe("a-token");
  for (const bad of ["two words", "caf\u00e9", "\0secret"]) {
    writeFileSync(path, bad);
    expect(() => tokenIn(path)).toThrow(`--token-file ${path}: is not a token: it has spaces`);
    expect(() => tokenIn(path)).not.toThrow(bad);
  }
});
