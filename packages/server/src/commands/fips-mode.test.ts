import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { providerVariable } from "../base/fips.ts";
import { installProvider, removeInstallation } from "./fips-mode.ts";

let place: string;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "holdfast-fips-test-"));
});

afterEach(() => {
  rmSync(place, { recursive: true, force: true });
});

/** Makes a folder with these files; returns Node's option that names the first one. */
function folderWith(name: string, files: readonly string[]): string {
  mkdirSync(join(place, name));
  for (const file of files) writeFileSync(join(place, name, file), "");
  return `--openssl-config=${join(place, name, files[0] ?? "")}`;
}

describe("the files of a start in FIPS mode", () => {
  const started = { [providerVariable]: "OpenSSL FIPS Provider 3.5.7" };
  const ours = ["openssl.cnf", "fipsmodule.cnf"];

  test("are removed, also if the operator names a configuration before", () => {
    const own = folderWith("holdfast-fips-own", ours);
    const made = folderWith("holdfast-fips-abc", ours);
    removeInstallation([own, "--no-warnings", made, "--force-fips"], started);
    expect(readdirSync(place)).toEqual(["holdfast-fips-own"]);
    removeInstallation([made], started);
    expect(readdirSync(place)).toEqual(["holdfast-fips-own"]);
  });

  test.each<[string, string, readonly string[], NodeJS.ProcessEnv]>([
    ["Holdfast did not start this process", "holdfast-fips-abc", ours, {}],
    ["it contains another file", "holdfast-fips-abc", [...ours, "client.key"], started],
    ["it has another name", "fips", ours, started],
  ])("a folder is kept if %s", (_, name, files, environment) => {
    removeInstallation([folderWith(name, files), "--force-fips"], environment);
    expect(readdirSync(join(place, name)).toSorted()).toEqual(files.toSorted());
  });

  test("no configuration is named", () => {
    removeInstallation([], started);
    expect(existsSync(place)).toBe(true);
  });
});

test("a program that does not end is ended, and nothing is left", () => {
  for (const folder of ["run", "path", "modules"]) mkdirSync(join(place, folder));
  writeFileSync(join(place, "modules/fips.so"), "");
  writeFileSync(join(place, "path/openssl"), "#!/bin/sh\nexec /bin/sleep 30\n");
  chmodSync(join(place, "path/openssl"), 0o755);
  const environment = {
    PATH: join(place, "path"),
    OPENSSL_MODULES: join(place, "modules"),
    RUNTIME_DIRECTORY: join(place, "run"),
  };
  expect(() => installProvider(environment, 50)).toThrow(
    /^fips: required, but the program openssl did not end within 0\.05 s: run /,
  );
  expect(readdirSync(join(place, "run"))).toEqual([]);
});
