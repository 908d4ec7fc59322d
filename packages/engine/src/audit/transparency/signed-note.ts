import { createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";

/*
 * Signed notes, checkpoints and cosignatures with Ed25519: C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0 and
 * tlog-cosignature v1.0.1.
 */

/** Signature types of C2SP signed-note. */
const types = { log: 0x01, cosignature: 0x04 } as const;

/** A public key with its name: a verifier key ("vkey") of C2SP signed-note. */
export interface NoteKey {
  readonly name: string;
  /** `log` signs a text, `cosignature` a text with a time. */
  readonly kind: keyof typeof types;
  /** 32 bytes, Ed25519. */
  readonly raw: Uint8Array;
}

const derPrefix = Buffer.from("302a300506032b6570032100", "hex");
const nameForm = /^[^\s+\p{Cc}]{1,255}$/u;
const noteBytesMax = 16_384;
const signaturesMax = 64;

/** Whether a text can name a key or a log. */
export function isNoteName(name: string): boolean {
  return nameForm.test(name);
}

/** The 32 bytes of an Ed25519 key; undefined for another kind of key. */
export function rawPublicKey(key: KeyObject): Uint8Array | undefined {
  if (key.asymmetricKeyType !== "ed25519") return undefined;
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ format: "der", type: "spki" }).subarray(derPrefix.length);
}

function keyId({ name, kind, raw }: NoteKey): Buffer {
  const bytes = Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(types[kind]), raw]);
  return hash("sha256", bytes, "buffer").subarray(0, 4);
}

/** The key as text: name, identifier in hexadecimal, type and key in base64, separated by `+`. */
export function writeNoteKey(key: NoteKey): string {
  const bytes = Buffer.concat([Buffer.of(types[key.kind]), key.raw]);
  return `${key.name}+${keyId(key).toString("hex")}+${bytes.toString("base64")}`;
}

/** Undefined if the text is not an Ed25519 verifier key. */
export function readNoteKey(text: string): NoteKey | undefined {
  // Base64 may contain more of the separators.
  const [, name = "", id, encoded = ""] = /^([^+]*)\+([0-9a-f]{8})\+(.{44})$/s.exec(text) ?? [];
  const bytes = strictBase64(encoded);
  const kind = (["log", "cosignature"] as const).find((each) => types[each] === bytes?.[0]);
  if (bytes?.length !== 33 || kind === undefined || !isNoteName(name)) return undefined;
  const key = { name, kind, raw: bytes.subarray(1) };
  return keyId(key).toString("hex") === id ? key : undefined;
}

/** What a log states: that its tree has this size and root. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}

/** A checkpoint's text, without signatures. */
function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** A checkpoint signed by its log, whose key has the name of the origin. */
export function signCheckpoint(checkpoint: Checkpoint, key: KeyObject): string {
  const raw = rawPublicKey(key);
  if (raw === undefined) throw new TypeError("a log's key must be an Ed25519 key");
  const text = checkpointText(checkpoint);
  const name = checkpoint.origin;
  const line = signatureLine({ name, kind: "log", raw }, sign(null, Buffer.from(text), key));
  return `${text}\n${line}`;
}

function signatureLine(key: NoteKey, signature: Uint8Array): string {
  const bytes = Buffer.concat([keyId(key), signature]);
  return `\u2014 ${key.name} ${bytes.toString("base64")}\n`;
}

/** A note with a checkpoint: its text and the lines of its signatures. */
interface CheckpointNote extends Checkpoint {
  readonly text: string;
  /** With their LF. */
  readonly lines: readonly string[];
}

/** Reads a checkpoint with signatures, and verifies none; undefined if it is malformed or has extension lines. */
export function readCheckpointNote(note: string): CheckpointNote | undefined {
  if (note.length > noteBytesMax) return undefined;
  const at = note.lastIndexOf("\n\n");
  const text = note.slice(0, at + 1);
  const lines = splitLines(note.slice(at + 2));
  const form = /^([^\n]+)\n(0|[1-9]\d{0,14})\n([A-Za-z0-9+/]{43}=)\n$/;
  const [, origin = "", size, root = ""] = form.exec(text) ?? [];
  const bytes = strictBase64(root);
  if (bytes === undefined || lines === undefined || !isNoteName(origin)) return undefined;
  if (lines.length === 0 || lines.length > signaturesMax) return undefined;
  return { origin, size: Number(size), root: bytes, text, lines };
}

/** Signature lines as a witness answers them; undefined if one is malformed. */
export function splitLines(text: string): readonly string[] | undefined {
  if (text.length > noteBytesMax) return undefined;
  const lines = text.match(/[^\n]*\n/g) ?? [];
  if (lines.join("") !== text) return undefined;
  return lines.every((line) => readLine(line) !== undefined) ? lines : undefined;
}

function readLine(line: string): { name: string; id: Buffer; signature: Buffer } | undefined {
  const [, name = "", encoded = ""] = /^\u2014 (\S+) (\S+)\n$/.exec(line) ?? [];
  const bytes = strictBase64(encoded);
  if (bytes === undefined || bytes.length < 5 || !isNoteName(name)) return undefined;
  return { name, id: bytes.subarray(0, 4), signature: bytes.subarray(4) };
}

/**
 * Seconds since the epoch at which a key cosigned the text, or 0 for a log's signature. Undefined if no line is of this
 * key, or if one is, and is wrong.
 */
export function signedAt(text: string, lines: readonly string[], key: NoteKey): number | undefined {
  const id = keyId(key);
  const own = lines.map(readLine).filter((line) => line?.name === key.name && line.id.equals(id));
  const times = own.map((line) => timeOf(text, line?.signature ?? Buffer.of(), key));
  return times.includes(undefined) ? undefined : times[0];
}

/** Whether a key signed or cosigned a note. */
export function isSignedBy(
  { text, lines }: { readonly text: string; readonly lines: readonly string[] },
  key: NoteKey,
): boolean {
  return signedAt(text, lines, key) !== undefined;
}

function timeOf(text: string, signature: Buffer, { kind, raw }: NoteKey): number | undefined {
  const publicKey = createPublicKey({
    key: Buffer.concat([derPrefix, raw]),
    format: "der",
    type: "spki",
  });
  if (kind === "log") return verify(null, Buffer.from(text), publicKey, signature) ? 0 : undefined;
  if (signature.length !== 72) return undefined;
  const time = signature.readBigUInt64BE();
  const signed = Buffer.from(`cosignature/v1\ntime ${time}\n${text}`);
  return verify(null, signed, publicKey, signature.subarray(8)) ? Number(time) : undefined;
}

/** Undefined unless the text is the one standard form of some bytes. */
export function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
