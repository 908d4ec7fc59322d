import {
  type AuditHead,
  type AuditHeads,
  type AuditLog,
  type AuditStanding,
  headsHash,
  MerkleRange,
  type NoteKey,
  readCheckpointNote,
  readHeads,
  readRange,
  readSigned,
  type SignedHeads,
  type SinkPoint,
  StoreUnavailable,
  signedAt,
  sizeOfHeads,
  treeTexts,
} from "@holdfast/engine";
import { keptLeaves, sameHash, type Witness, type WitnessAnswer } from "@holdfast/regions";
import { reasonOf } from "../../base/operator-error.ts";
import { type Findings, partitionName, rangeText } from "./findings.ts";

/** Whom to believe: the log's key and the witnesses, as the node's files name them. */
export interface LogTrust {
  readonly key: NoteKey;
  readonly witnesses: readonly Witness[];
  /** A checkpoint that somebody kept elsewhere. */
  readonly kept?: string | undefined;
}

/** What the log proves of the trail, by partition. */
export interface Stated {
  /** Points that the chain must have. */
  readonly points: ReadonlyMap<number, readonly SinkPoint[]>;
  /** Up to which number witnesses have cosigned, or the log has signed if there are none. */
  readonly witnessed: (partition: number) => number;
}

interface Evidence extends SignedHeads {
  /** The witness, and when it cosigned, in seconds since the epoch. */
  readonly by: readonly [name: string, seconds: number] | undefined;
}

const asksMax = 5;

/** Checks the log in the store against its key and its witnesses, and the trail's extent against the log. */
export class LogCheck {
  readonly notes: string[] = [];
  readonly #log: AuditLog;
  readonly #trust: LogTrust;
  readonly #findings: Pick<Findings, "add">;
  #begun: AuditHeads | undefined;

  constructor(log: AuditLog, trust: LogTrust, findings: Pick<Findings, "add">) {
    this.#log = log;
    this.#trust = trust;
    this.#findings = findings;
  }

  /** What the log states now: to be called before the standings are read, since a leader may add to it between. */
  async begin(): Promise<void> {
    const [text] = await this.#log.tree.texts([treeTexts.last]);
    try {
      this.#begun = text === undefined ? undefined : readHeads(readSigned(text).heads);
    } catch {
      // Reported by `run`.
    }
  }

  /** What the log proves; undefined if it is faulty, which findings tell. */
  run(standings: readonly AuditStanding[]): Promise<Stated | undefined> {
    return this.#orFinding(() => this.#run(standings));
  }

  async #orFinding<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || error.failure !== "corrupt") throw error;
      this.#findings.add(`log: ${error.message}`);
      return undefined;
    }
  }

  async #run(standings: readonly AuditStanding[]): Promise<Stated | undefined> {
    const { key } = this.#trust;
    const last = await this.#signed(treeTexts.last, undefined);
    if (last === undefined) {
      this.#findings.add(
        `log ${key.name}: not in the store: no leader has begun it, or somebody removed it`,
      );
      return undefined;
    }
    const cosigned = await this.#askAll(last);
    await this.#checkLeaves([last, ...cosigned]);
    const newest = cosigned.toSorted((one, other) => sizeOfHeads(other) - sizeOfHeads(one))[0];
    const [lastHeads, heads] = [last, newest ?? last].map((each) => readHeads(each.heads));
    if (heads === undefined || lastHeads === undefined) return undefined;
    if (lastHeads.storeId !== this.#log.storeId) {
      this.#findings.add(`log: is of store ${lastHeads.storeId}, not of this one`);
    }
    this.#checkExtent(standings, lastHeads, this.#begun ?? lastHeads);
    this.#tell(last, newest);
    return {
      points: pointsOf([heads, lastHeads]),
      witnessed: (partition) => heads.heads.get(partition)?.number ?? 0,
    };
  }

  /** A checkpoint in the store with its heads; undefined if there is none, or it is not signed as it should be. */
  async #signed(name: string, witness: Witness | undefined): Promise<Evidence | undefined> {
    const [text] = await this.#log.tree.texts([name]);
    if (text === undefined) return undefined;
    const signed = readSigned(text);
    const note = readCheckpointNote(signed.note);
    const { key } = this.#trust;
    if (note?.origin !== key.name) {
      // A witness may not have cosigned the log of a new key yet.
      if (witness === undefined) this.#findings.add(`log: is ${note?.origin}, not ${key.name}`);
      return undefined;
    }
    const isOwn = signedAt(note.text, note.lines, key) !== undefined;
    const seconds = witness && signedAt(note.text, note.lines, witness.key);
    if (!isOwn || (witness !== undefined && seconds === undefined)) {
      const who = witness === undefined ? "the log's key" : `witness ${witness.name}`;
      this.#findings.add(`log: a checkpoint in the store is not signed by ${who}`);
      return undefined;
    }
    const by = witness && ([witness.name, seconds ?? 0] as const);
    return { ...signed, by };
  }

  /** What each witness cosigned last, by the store and by its own word. */
  async #askAll(last: Evidence): Promise<readonly Evidence[]> {
    const all = await Promise.all(this.#trust.witnesses.map((witness) => this.#ask(witness, last)));
    return all.flatMap((each) => (each === undefined ? [] : [each]));
  }

  async #ask(witness: Witness, last: Evidence): Promise<Evidence | undefined> {
    const { name } = witness;
    for (let asks = 1; ; asks += 1) {
      const known = await this.#signed(treeTexts.witness(name), witness);
      const old = known === undefined ? 0 : sizeOfHeads(known);
      const note = this.#ownNote(known ?? last);
      let answer: WitnessAnswer;
      try {
        answer = await witness.add({ old, proof: [], note }, AbortSignal.timeout(10_000));
      } catch (error) {
        this.notes.push(
          `log: witness ${name} cannot be asked, so it may have cosigned more than the store shows: ${reasonOf(error)}`,
        );
        return known;
      }
      if ("lines" in answer) return known;
      const says =
        "size" in answer
          ? `has cosigned ${answer.size} leaves, and the store knows of ${old}: the end of the trail was removed, or put back`
          : answer.disagrees;
      // A leader may have made another step.
      if ("size" in answer && asks < asksMax) continue;
      this.#findings.add(`log: witness ${name} ${says}`);
      return known;
    }
  }

  /** The checkpoint with the log's own signature only. */
  #ownNote({ note }: SignedHeads): string {
    const { text = "", lines = [] } = readCheckpointNote(note) ?? {};
    const own = lines.find((line) => signedAt(text, [line], this.#trust.key) !== undefined);
    return `${text}\n${own ?? ""}`;
  }

  /** Whether the stored leaves lead to all these checkpoints. */
  async #checkLeaves(signed: readonly SignedHeads[]): Promise<void> {
    const { tree } = this.#log;
    const wanted = new Map<number, Uint8Array>();
    for (const { note } of signed) {
      const { size = 0, root = new Uint8Array() } = readCheckpointNote(note) ?? {};
      wanted.set(size, root);
    }
    this.#addKept(wanted, signed[0]);
    const most = Math.max(...wanted.keys());
    const [baseText] = await tree.texts([treeTexts.base]);
    const range = baseText === undefined ? MerkleRange.empty() : readRange(baseText);
    this.#compareRoot(range, wanted);
    for await (const { leaves } of keptLeaves(tree, range.end)) {
      for (const { hash } of leaves) {
        range.append(hash);
        this.#compareRoot(range, wanted);
      }
      if (range.end >= most) return;
    }
    if (range.end < most) {
      this.#findings.add(`log: leaf ${range.end} and those after it are missing in the store`);
    }
  }

  #compareRoot(range: MerkleRange, wanted: ReadonlyMap<number, Uint8Array>): void {
    const root = wanted.get(range.end);
    if (root === undefined || sameHash(root, range.root())) return;
    this.#findings.add(
      `log: the first ${range.end} leaves in the store are not those that were signed`,
    );
  }

  #addKept(wanted: Map<number, Uint8Array>, last: SignedHeads | undefined): void {
    const { kept, key } = this.#trust;
    if (kept === undefined) return;
    const note = readCheckpointNote(kept.slice(Math.max(0, kept.indexOf(`${key.name}\n`))));
    if (note === undefined || signedAt(note.text, note.lines, key) === undefined) {
      this.#findings.add("log: the given checkpoint is not signed by the log's key");
    } else if (last !== undefined && note.size > sizeOfHeads(last)) {
      this.#findings.add(
        `log: the given checkpoint has ${note.size} leaves, and the store's log ${sizeOfHeads(last)}: the end of the trail was removed, or put back`,
      );
    } else {
      const other = wanted.get(note.size);
      if (other !== undefined && !sameHash(other, note.root)) {
        this.#findings.add("log: the given checkpoint is another one than the store's");
      }
      wanted.set(note.size, note.root);
    }
  }

  /** Finds what is missing at the beginning and at the end of each partition, by what was stated after and before. */
  #checkExtent(
    standings: readonly AuditStanding[],
    { heads: after }: AuditHeads,
    { heads: before }: AuditHeads,
  ): void {
    for (const [partition, { base, dropped, last }] of standings.entries()) {
      const name = partitionName(partition);
      const { removed } = after.get(partition) ?? nothing;
      const { number, hash } = before.get(partition) ?? nothing;
      const begin = Math.max(base.number, dropped);
      if (begin > removed) {
        const range = rangeText(removed + 1, begin);
        this.#findings.add(
          `${name}: entry ${range}: gone, and the log states no removal: removed, or given up at the hard bound`,
        );
      }
      if (last < number) {
        const range = rangeText(last + 1, number);
        this.#findings.add(`${name}: entry ${range}: in the log, and not in the store: removed`);
      }
      if (base.number === number && number > 0 && !sameHash(base.hash, hash)) {
        this.#findings.add(`${name}: its beginning is not what the log states: changed`);
      }
    }
  }

  #tell(last: Evidence, newest: Evidence | undefined): void {
    const { key } = this.#trust;
    const size = sizeOfHeads(last);
    if (newest === undefined) {
      this.notes.push(`log ${key.name}: ${size} leaves; no witness has cosigned any of them`);
      return;
    }
    const [name, seconds] = newest.by ?? ["", 0];
    const time = new Date(seconds * 1000).toISOString();
    this.notes.push(
      `log ${key.name}: ${size} leaves; witness ${name} cosigned ${sizeOfHeads(newest)} at ${time}`,
    );
  }
}

const nothing: AuditHead = { removed: 0, number: 0, hash: headsHash("") };

function pointsOf(all: readonly AuditHeads[]): ReadonlyMap<number, readonly SinkPoint[]> {
  const points = new Map<number, SinkPoint[]>();
  for (const { heads } of all) {
    for (const [partition, { number, hash }] of heads) {
      points.set(partition, [...(points.get(partition) ?? []), { number, hash }]);
    }
  }
  return points;
}
