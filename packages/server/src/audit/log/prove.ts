import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import {
  type AuditLog,
  decodeAudit,
  eventLeaf,
  isSignedBy,
  leafHash,
  MerkleNodes,
  MerkleRange,
  readCheckpointNote,
  readHeads,
  readRange,
  readSigned,
  rootFromInclusion,
  type SignedHeads,
  signedAt,
  sizeOfHeads,
  trailCount,
  treeTexts,
} from "@holdfast/engine";
import { keptLeaves, sameHash } from "@holdfast/regions";
import { OperatorError, reasonOf } from "../../base/operator-error.ts";
import { timeText } from "../verify/findings.ts";
import type { LogTrust } from "../verify/verify-log.ts";

/** The proof that an event is in the log (C2SP tlog-proof), and the leaf that it is about. */
export interface EventProof {
  /** Partition, number and entry. */
  readonly leaf: Uint8Array;
  /** The text that others verify. */
  readonly proof: string;
  /** What it says, for people. */
  readonly lines: readonly string[];
}

/** Proves an event, by its identifier; rejects with an `OperatorError` that says why it cannot. */
export async function proveEvent(
  log: AuditLog,
  trust: LogTrust,
  event: string,
): Promise<EventProof> {
  if (trust.witnesses.length === 0) {
    throw new OperatorError(
      "audit prove: audit.log.witnesses names no witness, and only what one has cosigned can be proven",
    );
  }
  const { partition, number } = placeOf(log, event);
  const range = { from: { after: number - 1 }, limit: 1, covered: false };
  const [entry] = await log.entries(partition, range);
  if (entry?.number !== number) {
    throw new OperatorError(`audit prove: the store does not have event ${event}, or not any more`);
  }
  const cosigned = await cosignedHeads(log, trust);
  const size = cosigned[0] === undefined ? 0 : sizeOfHeads(cosigned[0]);
  const found = await pathOf(log, partition, number, size);
  if (found === undefined) {
    const reached = cosigned[0] && readHeads(cosigned[0].heads)?.heads.get(partition)?.number;
    throw withoutLeaf(event, (reached ?? 0) >= number);
  }
  const note = withAllLines(cosigned);
  const { root, text, lines } = readCheckpointNote(note) ?? malformed();
  const leaf = eventLeaf(partition, number, entry.bytes);
  const shown = rootFromInclusion(found.index, size, leafHash(leaf), found.path);
  if (shown === undefined || !sameHash(shown, root)) {
    throw new OperatorError(
      `audit prove: event ${event} in the store is not the one that was cosigned: run \`holdfast audit verify\``,
    );
  }
  const hashes = found.path.map((hash) => Buffer.from(hash).toString("base64"));
  const head = ["c2sp.org/tlog-proof@v1", `index ${found.index}`, ...hashes, ""];
  const events = decodeAudit(entry.bytes).events.map((each) => JSON.stringify(each));
  const times = trust.witnesses.flatMap(({ name, key }) => {
    const seconds = signedAt(text, lines, key);
    return seconds === undefined ? [] : [`cosigned by ${name} at ${timeText(seconds)}`];
  });
  const where = `leaf ${found.index} of ${size} in ${trust.key.name}`;
  return { leaf, proof: `${head.join("\n")}\n${note}`, lines: [...events, where, ...times] };
}

/** Writes the leaf into a new file and the proof beside it, or neither; returns the name of the second one. */
export function writeProof({ leaf, proof }: EventProof, out: string): string {
  const beside = `${out}.tlog-proof`;
  const made: string[] = [];
  try {
    for (const [name, content] of [
      [out, leaf],
      [beside, proof],
    ] as const) {
      const file = openSync(name, "wx", 0o600);
      made.push(name);
      try {
        writeFileSync(file, content);
      } finally {
        closeSync(file);
      }
    }
  } catch (error) {
    for (const name of made) rmSync(name);
    throw new OperatorError(`--out ${out}: ${reasonOf(error)}`);
  }
  return beside;
}

/** Why an event cannot be proven whose leaf is not in the store. */
function withoutLeaf(event: string, isCosigned: boolean): OperatorError {
  return isCosigned
    ? new OperatorError(
        `audit prove: the store does not keep the leaf of event ${event} any more: nothing can prove it now`,
      )
    : new OperatorError(
        `audit prove: no witness has cosigned event ${event} yet: try again in ten seconds`,
        "again",
      );
}

function placeOf(log: AuditLog, event: string): { partition: number; number: number } {
  const parts = /^(.{1,64})-(\d{1,3})-(\d{1,15})-[po]$/.exec(event);
  const [, store, partition, number] = parts ?? [];
  if (parts === null || Number(partition) >= trailCount) {
    throw new OperatorError(
      `audit prove: ${event.slice(0, 200)} is not the id of an event, such as STORE-17-4711-o`,
    );
  }
  if (store !== log.storeId) {
    throw new OperatorError(
      `audit prove: event ${event} is of another store: use the configuration of a node of its region`,
    );
  }
  return { partition: Number(partition), number: Number(number) };
}

/** The newest cosigned checkpoint, with equal ones of other witnesses. */
async function cosignedHeads(
  log: AuditLog,
  { key, witnesses }: LogTrust,
): Promise<readonly SignedHeads[]> {
  const texts = await log.tree.texts(witnesses.map(({ name }) => treeTexts.witness(name)));
  const signed = texts.flatMap((text, at) => {
    const heads = text === undefined ? undefined : readSigned(text);
    const witness = witnesses[at];
    const note = heads && readCheckpointNote(heads.note);
    if (heads === undefined || note === undefined || witness === undefined) return [];
    return isSignedBy(note, key) && isSignedBy(note, witness.key) ? [heads] : [];
  });
  const newest = Math.max(0, ...signed.map(sizeOfHeads));
  return signed.filter((heads) => sizeOfHeads(heads) === newest);
}

function withAllLines(cosigned: readonly SignedHeads[]): string {
  const notes = cosigned.map(({ note }) => readCheckpointNote(note) ?? malformed());
  const lines = new Set(notes.flatMap(({ text, lines }) => (text === notes[0]?.text ? lines : [])));
  return `${notes[0]?.text}\n${[...lines].join("")}`;
}

/** An event's leaf in the tree of this size, and its path; undefined if it is not there. */
async function pathOf(
  { tree }: AuditLog,
  partition: number,
  number: number,
  size: number,
): Promise<{ readonly index: number; readonly path: readonly Uint8Array[] } | undefined> {
  const [baseText] = await tree.texts([treeTexts.base]);
  const before = baseText === undefined ? MerkleRange.empty() : readRange(baseText);
  let after: MerkleRange | undefined;
  for await (const { first, leaves } of keptLeaves(tree, before.end)) {
    for (const leaf of leaves.slice(0, size - first)) {
      if (after !== undefined) after.append(leaf.hash);
      else if (leaf.partition !== partition || leaf.number !== number) before.append(leaf.hash);
      else after = MerkleRange.empty(before.end + 1);
    }
    if (first + leaves.length >= size) break;
  }
  if (after?.end !== size) return undefined;
  const nodes = new MerkleNodes();
  nodes.add(before);
  nodes.add(after);
  return { index: before.end, path: nodes.inclusion(before.end, size) };
}

function malformed(): never {
  throw new OperatorError("audit prove: the store's checkpoint is malformed: run audit verify");
}
