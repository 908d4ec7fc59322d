import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Role } from "@holdfast/admin";
import { expect, onTestFinished, test } from "vitest";
import { systemIds } from "../../base/system.ts";
import { Bootstrap, type BootstrapOptions } from "./bootstrap.ts";
import { newToken } from "./token-text.ts";

// No own token, as where only an identity provider is used or all tokens have expired.
const nobody: BootstrapOptions["book"] = {
  verify: () => "unknown",
  has: () => false,
  isFresh: () => true,
};

function open(file: string, elsewhere: readonly Role[], book = nobody) {
  const bootstrap = new Bootstrap({
    file,
    elsewhere,
    book,
    randomBytes: systemIds.randomBytes,
    observe: () => undefined,
    say: () => undefined,
  });
  onTestFinished(() => bootstrap[Symbol.asyncDispose]());
  return bootstrap;
}

test("where an identity provider makes managers and security officers, no one-time token is valid or stays on the disk", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bootstrap-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "token");
  const own = open(file, []);
  await own.look();
  const token = readFileSync(file, "latin1").trim();
  expect(own.verify(token)).toMatchObject({ roles: ["manager", "security-officer"] });
  const managers = open(file, ["manager"]);
  await managers.look();
  expect(managers.verify(readFileSync(file, "latin1").trim())).toMatchObject({
    roles: ["security-officer"],
  });
  const elsewhere = open(file, ["manager", "security-officer"]);
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

test("a one-time token is void as soon as both roles have a token, and none is made while tokens cannot be seen", async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bootstrap-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "token");
  let [managers, fresh] = [false, false];
  const book = { ...nobody, has: () => managers, isFresh: () => fresh };
  const bootstrap = open(file, [], book);
  await bootstrap.look();
  expect(existsSync(file)).toBe(false);
  fresh = true;
  await bootstrap.look();
  const token = readFileSync(file, "latin1").trim();
  expect(bootstrap.verify(token)).toMatchObject({ roles: ["manager", "security-officer"] });
  // Before the node looks again.
  managers = true;
  expect(bootstrap.verify(token)).toBe("unknown");
});

test("a node without a file warns once of the roles that nobody has, and names the settings", async () => {
  const has = new Set<Role>(["manager"]);
  const warned: string[] = [];
  const at = (served: boolean, isFresh: boolean) => {
    const bootstrap = new Bootstrap({
      ...{ file: undefined, served, randomBytes: systemIds.randomBytes, say: () => undefined },
      book: { verify: () => "unknown", has: (role) => has.has(role), isFresh: () => isFresh },
      observe: (event) => {
        if (event.type === "warning") warned.push(event.message);
      },
    });
    onTestFinished(() => bootstrap[Symbol.asyncDispose]());
    return bootstrap;
  };
  // The records were not read yet.
  await at(true, false).look();
  expect(warned).toEqual([]);
  const bootstrap = at(true, true);
  for (let look = 0; look < 3; look += 1) await bootstrap.look();
  const ways = "and restart the node (docs/certificates.md, The first token)";
  const first = `no valid token has the role security-officer: set admin.bootstrapFile, or admin.oidc.securityOfficer, ${ways}`;
  expect(warned).toEqual([first]);
  has.add("security-officer");
  await bootstrap.look();
  expect(warned).toHaveLength(1);
  has.clear();
  await bootstrap.look();
  expect(warned[1]).toContain(
    "manager or security-officer: set admin.bootstrapFile, or admin.oidc.manager and admin.oidc.securityOfficer,",
  );
});
