import type { Stats } from "node:fs";
import { type FileHandle, link, open, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { RootOfTrustError } from "@holdfast/engine";

/** Bytes of a root key. */
export const rootKeyBytes = 32;

const fileFormat = 1;
const versionMax = 0xffff_ffff;
const fileBytesMax = 4 << 20;
const base64Key = /^[A-Za-z0-9+/]{43}=$/;

/** One version of the root key. */
export interface RootKeyVersion {
  /** Grows from version to version. */
  readonly version: number;
  /** When it was made, ISO 8601. */
  readonly created: string;
  readonly key: Uint8Array;
}

/** All versions in a file, oldest first, at least one; and what tells that the file was replaced since. */
export interface RootKeys {
  readonly versions: readonly RootKeyVersion[];
  readonly fingerprint: string;
}

/** Tells a replaced file from the one that was read. */
export async function fingerprintOf(file: string): Promise<string> {
  try {
    return fingerprint(await stat(file));
  } catch (error) {
    throw failureOf(file, error);
  }
}

/** Reads a root key file that nobody but its owner may read; whatever is wrong is a `RootOfTrustError`. */
export async function readRootKeys(file: string): Promise<RootKeys> {
  try {
    const handle = await open(file, "r");
    try {
      const stats = await handle.stat();
      check(file, stats);
      const bytes = await handle.readFile();
      const versions = parse(file, bytes);
      bytes.fill(0);
      return { versions, fingerprint: fingerprint(stats) };
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw failureOf(file, error);
  }
}

/** Makes a root key file, durable and whole or not at all; refuses to replace one. */
export async function createRootKeys(file: string, first: RootKeyVersion): Promise<void> {
  await throughDraft(file, async (draft, handle) => {
    await write(handle, [first]);
    // Unlike a rename, a link never replaces.
    await link(draft, file).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
      throw new RootOfTrustError("denied", `root key file ${file} is there already; it stays`);
    });
    await unlink(draft);
  });
}

/** Appends a version to a root key file, durable and whole or not at all, one caller at a time. */
export async function appendRootKey(
  file: string,
  next: (newest: RootKeyVersion) => RootKeyVersion,
): Promise<void> {
  await throughDraft(file, async (draft, handle) => {
    // Read only now that the draft is ours, so that no other rotation's version is lost.
    const { versions } = await readRootKeys(file);
    const newest = versions.at(-1);
    if (newest === undefined) throw unsound(file, "no version");
    await write(handle, [...versions, next(newest)]);
    await rename(draft, file);
    zeroKeys(versions);
  });
}

/** Overwrites keys that are no longer needed. */
export function zeroKeys(versions: readonly RootKeyVersion[]): void {
  for (const { key } of versions) key.fill(0);
}

/** Runs `body` with a new file beside `file` that only one caller can have; makes what became of it durable. */
async function throughDraft(
  file: string,
  body: (draft: string, handle: FileHandle) => Promise<void>,
): Promise<void> {
  const draft = `${file}.new`;
  const handle = await open(draft, "wx", 0o600).catch((error: unknown) => {
    if (codeOf(error) !== "EEXIST") throw failureOf(draft, error);
    const mend = "if none is under way, an interrupted one left it: remove it";
    throw new RootOfTrustError("unavailable", `another change of ${file} has ${draft}; ${mend}`);
  });
  try {
    await body(draft, handle);
  } catch (error) {
    await unlink(draft);
    throw failureOf(file, error);
  } finally {
    await handle.close();
  }
  const directory = await open(dirname(file), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function write(handle: FileHandle, versions: readonly RootKeyVersion[]): Promise<void> {
  const rows = versions.map(({ version, created, key }) => ({
    version,
    created,
    key: Buffer.from(key).toString("base64"),
  }));
  const bytes = Buffer.from(`${JSON.stringify({ format: fileFormat, versions: rows }, null, 2)}\n`);
  await handle.writeFile(bytes);
  await handle.sync();
  bytes.fill(0);
}

function fingerprint(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mode}:${stats.mtimeMs}`;
}

function check(file: string, stats: Stats): void {
  if (!stats.isFile()) throw unsound(file, "not a file");
  if (stats.size > fileBytesMax) throw unsound(file, `larger than ${fileBytesMax} bytes`);
  const mode = (stats.mode & 0o777).toString(8).padStart(4, "0");
  if ((stats.mode & 0o077) !== 0) {
    throw unsound(file, `mode ${mode} lets others read or change it; run: chmod 0600 ${file}`);
  }
}

function parse(file: string, bytes: Buffer): readonly RootKeyVersion[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString("utf8"));
  } catch {
    // Without the parser's own message, which quotes the text, and so keys.
    throw unsound(file, "not JSON");
  }
  const rows = field(parsed, "versions");
  if (field(parsed, "format") !== fileFormat || !Array.isArray(rows) || rows.length === 0) {
    throw unsound(file, `not a root key file of format ${fileFormat} with at least one version`);
  }
  let previous = 0;
  return rows.map((row: unknown, at) => {
    const parsedRow = parseRow(row);
    if (parsedRow === undefined || parsedRow.version <= previous) {
      throw unsound(file, `entry ${at + 1} of its versions is not right`);
    }
    previous = parsedRow.version;
    return parsedRow;
  });
}

function parseRow(row: unknown): RootKeyVersion | undefined {
  const [version, created, key] = ["version", "created", "key"].map((name) => field(row, name));
  if (typeof version !== "number" || !Number.isInteger(version) || version > versionMax) {
    return undefined;
  }
  if (typeof created !== "string" || typeof key !== "string" || !base64Key.test(key)) {
    return undefined;
  }
  return { version, created, key: Buffer.from(key, "base64") };
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

/** What no try again mends, but an operator does, without the keys in use being withdrawn: so not a refusal. */
function unsound(file: string, what: string): RootOfTrustError {
  return new RootOfTrustError("unavailable", `root key file ${file}: ${what}`);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function failureOf(file: string, error: unknown): RootOfTrustError {
  if (error instanceof RootOfTrustError) return error;
  const code = codeOf(error);
  const options = { cause: error };
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new RootOfTrustError("gone", `root key file ${file} is not there`, options);
  }
  if (code === "EACCES" || code === "EPERM") {
    return new RootOfTrustError("denied", `root key file ${file}: access is denied`, options);
  }
  return new RootOfTrustError(
    "unavailable",
    `root key file ${file}: ${String(code ?? "unknown error")}`,
    options,
  );
}
