import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { nodeHash } from "../audit/transparency/merkle-tree.ts";
import {
  type NoteKey,
  rawPublicKey,
  readCheckpointNote,
  signedAt,
  writeNoteKey,
} from "../audit/transparency/signed-note.ts";

/** The line with which a witness cosigns a checkpoint's text (C2SP tlog-cosignature). */
export function cosign(text: string, key: NoteKey, privateKey: KeyObject, seconds: number): string {
  const id = Buffer.from(writeNoteKey(key).split("+")[1] ?? "", "hex");
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(seconds));
  const signed = Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
  const bytes = Buffer.concat([id, time, sign(null, signed, privateKey)]);
  return `\u2014 ${key.name} ${bytes.toString("base64")}\n`;
}

/** Whether a proof shows that the tree of size `old` is the beginning of the other (RFC 9162, section 2.1.4.2). */
export function isConsistent(
  [old, size]: readonly [number, number],
  [before, after]: readonly [Uint8Array, Uint8Array],
  proof: readonly Uint8Array[],
): boolean {
  const isPower = Number.isInteger(Math.log2(old));
  const [first, ...rest] = isPower ? [before, ...proof] : proof;
  if (first === undefined) return false;
  let [at, last, one, other] = [old - 1, size - 1, first, first];
  while (at % 2 === 1) [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  for (const hash of rest) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      [one, other] = [nodeHash(hash, one), nodeHash(hash, other)];
      while (at % 2 === 0 && at !== 0) [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
    } else {
      other = nodeHash(other, hash);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  return last === 0 && Buffer.compare(one, before) === 0 && Buffer.compare(other, after) === 0;
}

interface Request {
  readonly old: number;
  readonly proof: readonly Uint8Array[];
  readonly note: string;
}

type Answer =
  | { readonly lines: string }
  | { readonly size: number }
  | { readonly disagrees: string };

/** A witness in memory, with the rules of C2SP tlog-witness. */
export class MemoryWitness {
  readonly name: string;
  readonly key: NoteKey;
  /** Only this key's checkpoints are cosigned. */
  logKey: NoteKey | undefined;
  readonly asked: Request[] = [];
  size = 0;
  /** Its clock. */
  seconds = (): number => Math.floor(Date.now() / 1000);
  /** It answers nothing. */
  isOut = false;
  /** It cosigns, and its answer is lost. */
  isDeaf = false;
  #root: Uint8Array = new Uint8Array();
  readonly #privateKey: KeyObject;

  constructor(name: string, logKey?: NoteKey) {
    const { privateKey } = generateKeyPairSync("ed25519");
    this.name = name;
    this.logKey = logKey;
    this.#privateKey = privateKey;
    const raw = rawPublicKey(privateKey) ?? new Uint8Array();
    this.key = { name: `witness.example/${name}`, kind: "cosignature", raw };
  }

  async add(request: Request): Promise<Answer> {
    this.asked.push(request);
    const { old, proof, note } = request;
    if (this.isOut) throw new Error("out");
    const read = readCheckpointNote(note);
    const key = this.logKey;
    if (read === undefined || key === undefined) throw new Error("answered 400");
    if (signedAt(read.text, read.lines, key) === undefined) throw new Error("answered 403");
    if (old > read.size || proof.length > 63) throw new Error("answered 400");
    if (old !== this.size) return { size: this.size };
    const roots = [this.#root, read.root] as const;
    const isSame = old === read.size && Buffer.compare(...roots) === 0 && proof.length === 0;
    const isGrown = old < read.size && old > 0 && isConsistent([old, read.size], roots, proof);
    if (!isSame && !isGrown && (old > 0 || proof.length > 0)) return { disagrees: "differs" };
    this.size = read.size;
    this.#root = read.root;
    if (this.isDeaf) throw new Error("closed");
    return { lines: cosign(read.text, this.key, this.#privateKey, this.seconds()) };
  }
}
