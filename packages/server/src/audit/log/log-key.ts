import { createPrivateKey, generateKeyPairSync, hash, type KeyObject } from "node:crypto";
import { appendFileSync, writeFileSync } from "node:fs";
import {
  isSignedBy,
  type NoteKey,
  rawPublicKey,
  readCheckpointNote,
  signCheckpoint,
  writeNoteKey,
} from "@holdfast/engine";
import type { AuditSigner } from "@holdfast/regions";
import { readText } from "../../base/certificates.ts";
import { codeOf, OperatorError, reasonOf } from "../../base/operator-error.ts";

const setting = "audit.log.keyFile";
/** Of so many keys the newest count: the others' logs were replaced long ago. */
const keysMax = 64;

/** Where the key of a region's audit log is, and the first part of the log's name. */
export interface LogSettings {
  readonly keyFile: string;
  readonly name: string;
}

/** The key of a region's audit log. */
export interface LogKey {
  readonly signer: AuditSigner;
  /** Its public half. */
  readonly key: NoteKey;
}

/**
 * Reads the key file: PEM (PKCS #8) of Ed25519 keys, of which the last one signs. An `OperatorError` says what is wrong
 * with it, and no secret.
 */
export function readLogKey({ keyFile, name }: LogSettings): LogKey {
  const text = readText(keyFile, setting);
  const blocks = text.match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/g) ?? [];
  const keys = blocks.slice(-keysMax).map((block) => keyOf(block, name, keyFile));
  const last = keys.at(-1);
  if (last === undefined) {
    throw new OperatorError(
      `${setting}: ${keyFile}: has no key: make one with \`holdfast audit-key init\``,
    );
  }
  const { privateKey, key } = last;
  const former = keys.slice(0, -1).map((each) => each.key.name);
  const signer: AuditSigner = {
    origin: key.name,
    former,
    sign: (size, root) => signCheckpoint({ origin: key.name, size, root }, privateKey),
    isSigned: (note) => {
      const read = readCheckpointNote(note);
      return read !== undefined && isSignedBy(read, key);
    },
  };
  return { signer, key };
}

function keyOf(
  block: string,
  name: string,
  keyFile: string,
): { readonly privateKey: KeyObject; readonly key: NoteKey } {
  try {
    const privateKey = createPrivateKey(block);
    const raw = rawPublicKey(privateKey);
    if (raw === undefined) throw new Error("it is not an Ed25519 key");
    // A new key is a new log: two trees never have the same name.
    const origin = `${name}/${hash("sha256", raw)}`;
    return { privateKey, key: { name: origin, kind: "log", raw } };
  } catch (error) {
    throw new OperatorError(`${setting}: ${keyFile}: a key cannot be read: ${reasonOf(error)}`);
  }
}

/** Makes the key file, mode 0600; refuses to replace one. */
export function initLogKey({ keyFile }: LogSettings): void {
  try {
    writeFileSync(keyFile, newKey(), { flag: "wx", mode: 0o600, flush: true });
  } catch (error) {
    const says = codeOf(error) === "EEXIST" ? "exists already; it is kept" : reasonOf(error);
    throw new OperatorError(`${setting}: ${keyFile}: ${says}`);
  }
}

/** Adds a key to the file, which signs from now on. */
export function rotateLogKey(settings: LogSettings): void {
  readLogKey(settings);
  try {
    appendFileSync(settings.keyFile, newKey(), { flush: true });
  } catch (error) {
    throw new OperatorError(`${setting}: ${settings.keyFile}: ${reasonOf(error)}`);
  }
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync("ed25519");
  return String(privateKey.export({ format: "pem", type: "pkcs8" }));
}

/** What others need to know of the log, one line each: its name, and its key in the forms that witnesses read. */
export function describeLogKey({ key }: Pick<LogKey, "key">): readonly string[] {
  const kind = "ssh-ed25519";
  const parts = [Buffer.from(kind), Buffer.from(key.raw)].flatMap((bytes) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  });
  return [
    `origin: ${key.name}`,
    `verifier key: ${writeNoteKey(key)}`,
    `OpenSSH: ${kind} ${Buffer.concat(parts).toString("base64")}`,
  ];
}
