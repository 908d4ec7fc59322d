import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Folder, readJson, writePrivate } from "../base/folder.ts";
import { notRunning } from "../cluster/control.ts";

/** After this time a node takes a link no more. */
const linkMs = 3_600_000;

/**
 * A link that signs in to the web console once, as the manager of this cluster. The code is in the part of the address that
 * a browser does not send; the file for it is named by its digest.
 */
export function signInLink(folder: Folder, console: string): string {
  const code = randomBytes(24).toString("base64url");
  for (const old of readdirSync(folder.signIn)) {
    const file = join(folder.signIn, old);
    if (Date.now() - statSync(file).mtimeMs > linkMs) rmSync(file);
  }
  const name = createHash("sha256").update(code).digest("hex");
  writePrivate(join(folder.signIn, name), readFileSync(folder.managerToken));
  return `${console}#/sign-in?code=${code}`;
}

/** Prints a new link to the console of the cluster that runs in a folder. */
export function printLink(folder: Folder, say: (line: string) => void): void {
  const { console } = readJson<{ readonly console?: string }>(folder.cluster) ?? {};
  if (console === undefined) throw notRunning(folder);
  say(signInLink(folder, console));
}
