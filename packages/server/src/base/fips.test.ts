import { execFileSync } from "node:child_process";
import { getFips } from "node:crypto";
import { join } from "node:path";
import { expect, test } from "vitest";

const source = join(import.meta.dirname, "fips.ts");

/** What the check says in a process that is not in FIPS mode, after a line of code. */
function saidAfter(line: string): string {
  const code = `
    import * as crypto from "node:crypto";
    import { checkFipsMode } from ${JSON.stringify(source)};
    ${line}
    try { checkFipsMode(); console.log("good"); } catch (error) { console.log(error.message); }`;
  const args = ["--input-type=module", "--eval", code];
  const { PATH } = process.env;
  return execFileSync(process.execPath, args, { env: { PATH }, encoding: "utf8" }).trim();
}

test("a process without FIPS mode is refused, with what to install", () => {
  expect(saidAfter("")).toMatch(
    /^fips: required, but this process does not run in FIPS mode; install openssl and openssl-provider-fips/,
  );
});

test("a process that says FIPS mode, but has no provider for it, is refused", () => {
  expect(saidAfter("crypto.setFips(true);")).toMatch(
    /^fips: required, but this process has no FIPS provider: SHA-256 fails;/,
  );
});

test.runIf(getFips() === 1)("this process is accepted (needs FIPS mode)", async () => {
  const { checkFipsMode } = await import("./fips.ts");
  expect(() => checkFipsMode()).not.toThrow();
});
