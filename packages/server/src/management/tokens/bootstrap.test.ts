import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemIds } from "../../base/system.ts";
import { Bootstrap } from "./bootstrap.ts";
import { newToken } from "./token-text.ts";

function open(file: string, managersElsewhere: boolean) {
  const bootstrap = new Bootstrap({
    file,
    managersElsewhere,
    // No own manager token, as where only an identity provider is used or all tokens have expired.
    book: { verify: () => "unknown", hasManager: () => false, isFresh: () => true },
    randomBytes: systemIds.randomBytes,
    observe: () => undefined,
    say: () => undefined,
  });
  onTestFinished(() => bootstrap[Symbol.asyncDispose]());
  return bootstrap;
}

test("where an identity provider makes managers, no one-time token is valid or stays on the disk", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bootstrap-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "token");
  const own = open(file, false);
  await own.look();
  const token = readFileSync(file, "latin1").trim();
  expect(own.verify(token)).toMatchObject({ role: "manager" });
  const elsewhere = open(file, true);
  await elsewhere.look();
  expect(existsSync(file)).toBe(false);
  expect(elsewhere.verify(token)).toBe("unknown");
  await elsewhere.look();
  expect(existsSync(file)).toBe(false);
  // One that an earlier start left is removed too.
  writeFileSync(file, `${newToken(systemIds.randomBytes)}\n`, { mode: 0o600 });
  await elsewhere.look();
  expect(existsSync(file)).toBe(false);
});
