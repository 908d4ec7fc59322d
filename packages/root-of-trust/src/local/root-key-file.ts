import type { Stats } from "node:fs";
import { type FileHandle, link, open, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { type Ids, RootOfTrustError } from "@holdfast/engine";
import type { SecretSource } from "../kind.ts";
import {
  canDerive,
  decryptVersions,
  type Encryption,
  encryptVersions,
  isApproved,
  isEncrypted,
} from "./key-file-passphrase.ts";

/** Length of a root key. */
export const rootKeyBytes = 32;

const fileFormat = 1;
const versionMax = 0xffff_ffff;
const fileBytesMax = 4 << 20;
const base64Key = /^[A-Za-z0-9+/]{43}=$/;

/** A file of key versions. */
export interface KeyFile extends Encryption {
  readonly path: string;
  /** Its name in error messages; `root key file` by default. */
  readonly what?: string;
  /** The passphrase that encrypts it; without it, it is written unencrypted, and an encrypted file cannot be read. */
  readonly passphrase?: SecretSource;
  /** The passphrase for the next write, if it changes. */
  readonly newPassphrase?: SecretSource;
}

/** One version of the root key. */
export interface RootKeyVersion {
  /** Increases with each version. */
  readonly version: number;
  /** When it was created, ISO 8601. */
  readonly created: string;
  readonly key: Uint8Array;
}

/** All versions in a file, oldest first, at least one; and a fingerprint that changes when the file is replaced. */
export interface RootKeys {
  readonly versions: readonly RootKeyVersion[];
  readonly fingerprint: string;
  /** Whether it is encrypted in the way that nodes in FIPS mode can read. */
  readonly approved: boolean;
}

/** A fingerprint that tells a replaced file from the one that was read. */
export async function fingerprintOf(file: KeyFile): Promise<string> {
  try {
    return fingerprint(await stat(file.path));
  } catch (error) {
    throw failureOf(file, error);
  }
}

/** Reads a root key file that only its owner may read; every failure is a `RootOfTrustError`. */
export async function readRootKeys(of: string | KeyFile): Promise<RootKeys> {
  const file = typeof of === "string" ? { path: of } : of;
  try {
    const handle = await open(file.path, "r");
    try {
      const stats = await handle.stat();
      check(file, stats);
      const bytes = await handle.readFile();
      const parsed = await parse(file, bytes).finally(() => bytes.fill(0));
      return { ...parsed, fingerprint: fingerprint(stats) };
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw failureOf(file, error);
  }
}

/** Creates a root key file, durably and atomically; refuses to replace an existing file. */
export async function createRootKeys(
  file: KeyFile,
  first: RootKeyVersion,
  ids: Ids,
): Promise<void> {
  await throughDraft(file, async (draft, handle) => {
    await write(file, handle, [first], ids);
    // Unlike a rename, a link never replaces a file.
    await link(draft, file.path).catch((error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
      throw new RootOfTrustError("denied", `${nameOf(file)} exists already; it is kept`);
    });
    await unlink(draft);
  });
}

/**
 * Appends a version to a root key file, durably and atomically, one caller at a time. Nodes in FIPS mode can still read a
 * file that they could read before, also if this process is not in FIPS mode.
 */
export async function appendRootKey(
  file: KeyFile,
  next: (newest: RootKeyVersion) => RootKeyVersion,
  ids: Ids,
): Promise<void> {
  await throughDraft(file, async (draft, handle) => {
    // Read only while this caller owns the draft, so that no other rotation's version is lost.
    const { versions, approved } = await readRootKeys(file);
    const newest = versions.at(-1);
    if (newest === undefined) throw unsound(file, "no version");
    await write(approved ? { ...file, approved } : file, handle, [...versions, next(newest)], ids);
    await rename(draft, file.path);
    zeroKeys(versions);
  });
}

/** Overwrites keys that are no longer needed. */
export function zeroKeys(versions: readonly RootKeyVersion[]): void {
  for (const { key } of versions) key.fill(0);
}

/** Runs `body` with a new file next to `file` that only one caller can own; makes the result durable. */
async function throughDraft(
  file: KeyFile,
  body: (draft: string, handle: FileHandle) => Promise<void>,
): Promise<void> {
  const draft = `${file.path}.new`;
  const handle = await open(draft, "wx", 0o600).catch((error: unknown) => {
    if (codeOf(error) !== "EEXIST") throw failureOf({ ...file, path: draft }, error);
    const mend = "if none is under way, an interrupted one left it: remove it";
    throw new RootOfTrustError(
      "unavailable",
      `another change of ${file.path} has ${draft}; ${mend}`,
    );
  });
  try {
    await body(draft, handle);
  } catch (error) {
    await unlink(draft);
    throw failureOf(file, error);
  } finally {
    await handle.close();
  }
  const directory = await open(dirname(file.path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function write(
  file: KeyFile,
  handle: FileHandle,
  versions: readonly RootKeyVersion[],
  ids: Ids,
): Promise<void> {
  const rows = versions.map(({ version, created, key }) => ({
    version,
    created,
    key: Buffer.from(key).toString("base64"),
  }));
  const plain = { format: fileFormat, versions: rows };
  const { passphrase, newPassphrase = passphrase } = file;
  const content =
    newPassphrase === undefined
      ? plain
      : await encryptVersions(plain, await textOf(file, newPassphrase), ids, file);
  const bytes = Buffer.from(`${JSON.stringify(content, null, 2)}\n`);
  await handle.writeFile(bytes);
  await handle.sync();
  bytes.fill(0);
}

function fingerprint(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mode}:${stats.mtimeMs}`;
}

function check(file: KeyFile, stats: Stats): void {
  if (!stats.isFile()) throw unsound(file, "not a file");
  if (stats.size > fileBytesMax) throw unsound(file, `larger than ${fileBytesMax} bytes`);
  const mode = (stats.mode & 0o777).toString(8).padStart(4, "0");
  if ((stats.mode & 0o077) !== 0) {
    throw unsound(file, `mode ${mode} lets others read or change it; run: chmod 0600 ${file.path}`);
  }
}

async function parse(
  file: KeyFile,
  bytes: Buffer,
): Promise<Pick<RootKeys, "versions" | "approved">> {
  let parsed = parseJson(bytes);
  let approved = false;
  if (parsed === undefined) throw unsound(file, "not JSON");
  if (isEncrypted(parsed)) {
    if (!canDerive(parsed)) {
      throw new RootOfTrustError(
        "denied",
        `${nameOf(file)}: its key comes from the passphrase by scrypt, which FIPS mode refuses: set \`fips: off\`, run \`holdfast root rotate --for-fips\`, then set \`fips: required\` again`,
      );
    }
    approved = isApproved(parsed);
    const plain = await decryptVersions(parsed, await passphraseOf(file));
    if (plain === undefined) {
      throw new RootOfTrustError(
        "denied",
        `${nameOf(file)}: the passphrase is not the one that it is encrypted under, or the file was altered`,
      );
    }
    parsed = parseJson(plain);
    plain.fill(0);
  }
  return { versions: versionsOf(file, parsed), approved };
}

/** Drops the parser's own message, which quotes the text, and so keys. */
function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

async function passphraseOf(file: KeyFile): Promise<string> {
  const { passphrase } = file;
  if (passphrase === undefined) {
    throw unsound(file, "encrypted under a passphrase, and none is given");
  }
  return await textOf(file, passphrase);
}

async function textOf(file: KeyFile, source: SecretSource): Promise<string> {
  const text = await source().catch((error: unknown) => {
    const why = error instanceof Error ? error.message : "cannot be read";
    throw unsound(file, `its passphrase: ${why}`);
  });
  if (text === "") throw unsound(file, "its passphrase is empty");
  return text;
}

function versionsOf(file: KeyFile, parsed: unknown): readonly RootKeyVersion[] {
  const rows = field(parsed, "versions");
  if (field(parsed, "format") !== fileFormat || !Array.isArray(rows) || rows.length === 0) {
    throw unsound(file, `not a key file of format ${fileFormat} with at least one version`);
  }
  let previous = 0;
  return rows.map((row: unknown, at) => {
    const parsedRow = parseRow(row);
    if (parsedRow === undefined || parsedRow.version <= previous) {
      throw unsound(file, `entry ${at + 1} of its versions is invalid`);
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

/** A failure that only an operator can resolve. It closes no open keys, so it is not a refusal. */
function unsound(file: KeyFile, what: string): RootOfTrustError {
  return new RootOfTrustError("unavailable", `${nameOf(file)}: ${what}`);
}

/** The name of a key file in errors. */
export function nameOf({ path, what = "root key file" }: KeyFile): string {
  return `${what} ${path}`;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function failureOf(file: KeyFile, error: unknown): RootOfTrustError {
  if (error instanceof RootOfTrustError) return error;
  const code = codeOf(error);
  const options = { cause: error };
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new RootOfTrustError("gone", `${nameOf(file)} does not exist`, options);
  }
  if (code === "EACCES" || code === "EPERM") {
    return new RootOfTrustError("denied", `${nameOf(file)}: access is denied`, options);
  }
  return new RootOfTrustError(
    "unavailable",
    `${nameOf(file)}: ${String(code ?? "unknown error")}`,
    options,
  );
}
