import {
  type AuditHead,
  type AuditHeads,
  type AuditLog,
  type AuditStanding,
  type Checkpoint,
  type Clock,
  headsHash,
  isSignedBy,
  MerkleNodes,
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
  splitLines,
  treeOfHeads,
  treeTexts,
  type WitnessedHeads,
} from "@holdfast/engine";
import { keptLeaves, sameHash, type Witness, type WitnessAnswer } from "@holdfast/regions";
import { reasonOf } from "../../base/operator-error.ts";
import { type Findings, partitionName, rangeText, timeText } from "./findings.ts";
import { LeafHashes } from "./leaf-hashes.ts";

/** Whom to believe: the log's key and the witnesses, as the node's files name them. */
export interface LogTrust {
  readonly key: NoteKey;
  readonly witnesses: readonly Witness[];
  /** A checkpoint that somebody kept elsewhere. */
  readonly kept?: string | undefined;
  readonly clock: Pick<Clock, "wallMs">;
}

/** What the log proves of the trail, by partition. */
export interface Stated {
  /** Points that the chain must have. */
  readonly points: ReadonlyMap<number, readonly SinkPoint[]>;
  /** Up to which number witnesses have cosigned. */
  readonly witnessed: (partition: number) => number;
  /** The hash of an event's leaf, if the store keeps it. */
  readonly leaf: (partition: number, number: number) => Uint8Array | undefined;
  /** Up to which number retention may have removed entries, as the log states now. */
  readonly removed: (partition: number) => Promise<number>;
}

interface Evidence extends WitnessedHeads {
  /** The witness, and when it cosigned, in seconds since the epoch. */
  readonly by: readonly [name: string, seconds: number] | undefined;
}

/** What the store shows of the log at one moment. */
interface Shown {
  readonly last: Evidence;
  readonly baseText: string | undefined;
  readonly base: MerkleRange;
  readonly cosigned: readonly Evidence[];
}

const asksMax = 5;
const leavesPerTurn = 64;
/** A witness's signature of now is at most this far from this machine's clock. */
const answerMs = 300_000;

/** Checks the log in the store against its key and its witnesses, and the trail's extent against the log. */
export class LogCheck {
  readonly notes: string[] = [];
  readonly #log: AuditLog;
  readonly #trust: LogTrust;
  readonly #findings: Pick<Findings, "add">;
  readonly #turn: (() => Promise<void>) | undefined;
  /** What was signed and cosigned before the standings were read. */
  #before: readonly Evidence[] = [];

  /** `turn` is taken after each few leaves. */
  constructor(
    log: AuditLog,
    trust: LogTrust,
    findings: Pick<Findings, "add">,
    turn?: () => Promise<void>,
  ) {
    this.#log = log;
    this.#trust = trust;
    this.#findings = findings;
    this.#turn = turn;
  }

  /** Asks the witnesses: to be called before the standings are read, which must have all that was stated before. */
  async begin(): Promise<void> {
    await this.#orFinding(async () => {
      const [text] = await this.#log.tree.texts([treeTexts.last]);
      const last = this.#evidence(text, undefined);
      if (last === undefined) return;
      this.#before = [last, ...(await this.#askAll(last))];
    });
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
    const leaves = new LeafHashes();
    const shown = this.#before.length === 0 ? undefined : await this.#checkTree(leaves);
    if (shown === undefined) return undefined;
    const { last, cosigned } = shown;
    const newest = cosigned.toSorted((one, other) => sizeOfHeads(other) - sizeOfHeads(one))[0];
    const lastHeads = headsOf(last);
    const witnessed = newest && headsOf(newest);
    if (lastHeads.storeId !== this.#log.storeId) {
      this.#findings.add(`log: is of store ${lastHeads.storeId}, not of this one`);
    }
    const before = this.#before.map(headsOf);
    const cosignedHeads = witnessed === undefined ? [] : [witnessed];
    this.#checkExtent(standings, lastHeads, before);
    this.#tell(last, newest);
    return {
      // Of two for one number the later counts: what was cosigned.
      points: pointsOf([lastHeads, ...before, ...cosignedHeads]),
      witnessed: (partition) => witnessed?.heads.get(partition)?.number ?? 0,
      leaf: (partition, number) => leaves.get(partition, number),
      removed: (partition) => this.#removed(partition),
    };
  }

  async #removed(partition: number): Promise<number> {
    const [text] = await this.#log.tree.texts([treeTexts.last]);
    const last = this.#evidence(text, undefined);
    return (last && headsOf(last).heads.get(partition)?.removed) ?? 0;
  }

  async #show(): Promise<Shown | undefined> {
    const { witnesses } = this.#trust;
    const names = witnesses.map(({ name }) => treeTexts.witness(name));
    // All at once: a leader may make steps and remove leaves meanwhile.
    const { last: lastName, base: baseName } = treeTexts;
    const [lastText, baseText, ...texts] = await this.#log.tree.texts([
      ...[lastName, baseName],
      ...names,
    ]);
    const last = this.#evidence(lastText, undefined);
    if (last === undefined) return undefined;
    const base = baseText === undefined ? MerkleRange.empty() : readRange(baseText);
    const now = texts.map((text, at) => this.#evidence(text, witnesses[at]));
    const cosigned = witnesses.flatMap(({ name }, at) => {
      const asked = this.#before.find(({ by }) => by?.[0] === name);
      const each = largest(now[at], asked);
      return each === undefined ? [] : [each];
    });
    return { last, baseText, base, cosigned };
  }

  /** A checkpoint in the store with its heads; undefined if there is none, or it is not signed as it should be. */
  #evidence(text: string | undefined, witness: Witness | undefined): Evidence | undefined {
    const { key } = this.#trust;
    if (text === undefined) {
      // A witness may not have cosigned anything yet.
      if (witness === undefined) {
        this.#findings.add(
          `log ${key.name}: not in the store: no leader has begun it, or somebody removed it`,
        );
      }
      return undefined;
    }
    const signed = readSigned(text);
    const note = readCheckpointNote(signed.note);
    if (note?.origin !== key.name) {
      // A witness may not have cosigned the log of a new key yet.
      if (witness === undefined) this.#findings.add(`log: is ${note?.origin}, not ${key.name}`);
      return undefined;
    }
    const isOwn = isSignedBy(note, key);
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
    let had: number | undefined;
    for (let asks = 1; ; asks += 1) {
      const known = await this.#knownOf(witness, had);
      const old = known === undefined ? 0 : sizeOfHeads(known);
      const note = this.#ownNote(known ?? last);
      let answer: WitnessAnswer;
      try {
        answer = await witness.add({ old, proof: [], note }, AbortSignal.timeout(10_000));
      } catch (error) {
        this.#tellOut(name, known, reasonOf(error));
        return known;
      }
      if ("lines" in answer) {
        return this.#answered(witness, known, note, answer.lines);
      }
      const says =
        "size" in answer
          ? `has cosigned ${answer.size} leaves, and the store knows of ${old}: the end of the trail was removed, or put back`
          : answer.disagrees;
      // A leader may have made another step, or not have got an answer.
      if ("size" in answer && asks < asksMax) {
        had = answer.size;
        continue;
      }
      this.#findings.add(`log: witness ${name} ${says}`);
      return known;
    }
  }

  /** What the store shows of a witness: what it cosigned last or, if that has the size it names, what it was asked for. */
  async #knownOf(witness: Witness, had: number | undefined): Promise<Evidence | undefined> {
    const { name } = witness;
    const names = [treeTexts.witness(name), treeTexts.asked(name)];
    const [text, askedText] = await this.#log.tree.texts(names);
    const known = this.#evidence(text, witness);
    if (had === undefined || askedText === undefined) return known;
    const asked = this.#evidence(askedText, undefined);
    return asked !== undefined && sizeOfHeads(asked) === had ? asked : known;
  }

  #tellOut(name: string, known: Evidence | undefined, reason: string): void {
    const says = `log: witness ${name} cannot be asked`;
    if (known === undefined) {
      this.#findings.add(`${says}, and the store shows nothing that it cosigned: ${reason}`);
    } else {
      const more = "so it may have cosigned more than the store shows";
      this.notes.push(`${says}, ${more}: ${reason}`);
    }
  }

  /** What the store shows of a witness that answered; a finding tells if it did not sign this checkpoint just now. */
  #answered(
    { name, key }: Witness,
    known: Evidence | undefined,
    note: string,
    lines: string,
  ): Evidence | undefined {
    const { text = "" } = readCheckpointNote(note) ?? {};
    const times = (splitLines(lines) ?? []).map((line) => signedAt(text, [line], key));
    const seconds = times.find((each) => each !== undefined);
    if (seconds === undefined) {
      this.#findings.add(`log: witness ${name} answers without a signature by its configured key`);
      return known;
    }
    if (Math.abs(seconds * 1000 - this.#trust.clock.wallMs()) > answerMs) {
      this.#findings.add(
        `log: witness ${name} answers with a signature of ${timeText(seconds)}: somebody repeats an old one, or a clock is wrong`,
      );
    }
    return known && { ...known, by: known.by ?? [name, seconds] };
  }

  /** The checkpoint with the log's own signature only. */
  #ownNote({ note }: SignedHeads): string {
    const { text = "", lines = [] } = readCheckpointNote(note) ?? {};
    const own = lines.find((line) => isSignedBy({ text, lines: [line] }, this.#trust.key));
    return `${text}\n${own ?? ""}`;
  }

  /** Whether the store's log has all that was signed, cosigned and kept, and its leaves lead there. */
  async #checkTree(hashes: LeafHashes): Promise<Shown | undefined> {
    for (let tries = 1; ; tries += 1) {
      const shown = await this.#show();
      if (shown === undefined) return undefined;
      const size = sizeOfHeads(shown.last);
      const { begin, end } = shown.base;
      if (begin !== 0 || end >= size) {
        this.#findings.add("log: the range of its removed leaves is not one: changed");
        return shown;
      }
      const reached = await this.#checkLeaves(shown, hashes);
      if (reached === size) return shown;
      // A leader may have removed leaves meanwhile.
      const [baseText] = await this.#log.tree.texts([treeTexts.base]);
      if (baseText !== shown.baseText && tries < asksMax) continue;
      this.#findings.add(`log: leaf ${reached} and those after it are missing in the store`);
      return shown;
    }
  }

  /** Whether the leaves up to the last step lead to all checkpoints; returns how far they go. */
  async #checkLeaves(shown: Shown, hashes: LeafHashes): Promise<number> {
    const size = sizeOfHeads(shown.last);
    const range = shown.base.copy();
    const wanted = this.#wanted(shown);
    this.#compareRoot(range, wanted);
    for await (const { leaves } of keptLeaves(this.#log.tree, range.end)) {
      for (const leaf of leaves.slice(0, size - range.end)) {
        range.append(leaf.hash);
        hashes.add(leaf);
        if (range.end % leavesPerTurn === 0) await this.#turn?.();
        this.#compareRoot(range, wanted);
      }
      if (range.end === size) break;
    }
    return range.end;
  }

  /** Root by size, of all checkpoints that the leaves in the store must lead to. */
  #wanted(shown: Shown): ReadonlyMap<number, Uint8Array> {
    const { last, base, cosigned } = shown;
    const size = sizeOfHeads(last);
    const wanted = new Map<number, Uint8Array>();
    const want = (each: Checkpoint, who: string): void => {
      const other = wanted.get(each.size);
      if (other !== undefined && !sameHash(other, each.root)) {
        this.#findings.add(`log: ${who} is another one than the store's`);
      }
      wanted.set(each.size, each.root);
    };
    want(checkpointOf(last), "the last step");
    for (const each of [...cosigned, ...this.#before]) {
      const who = each.by === undefined ? "its key signed" : `witness ${each.by[0]} cosigned`;
      if (sizeOfHeads(each) > size) {
        this.#findings.add(
          `log: ${who} ${sizeOfHeads(each)} leaves, and the store's log has ${size}: the end of the trail was removed, or put back`,
        );
      } else if (sizeOfHeads(each) >= base.end) {
        want(checkpointOf(each), `what ${who}`);
      } else if (cosigned.includes(each) && !leadsTo(each, base)) {
        this.#findings.add(
          `log: what ${who} (${sizeOfHeads(each)} leaves) is not the beginning of the leaves that the store says were removed: changed`,
        );
      }
    }
    const kept = this.#kept(shown);
    if (kept !== undefined) want(kept, "the given checkpoint");
    return wanted;
  }

  #compareRoot(range: MerkleRange, wanted: ReadonlyMap<number, Uint8Array>): void {
    const root = wanted.get(range.end);
    if (root === undefined || sameHash(root, range.root())) return;
    this.#findings.add(
      `log: the first ${range.end} leaves in the store are not those that were signed`,
    );
  }

  /** The given checkpoint, if there is one that can be compared with leaves. */
  #kept({ last, base, cosigned }: Shown): Checkpoint | undefined {
    const { kept, key, witnesses } = this.#trust;
    if (kept === undefined) return undefined;
    const note = readCheckpointNote(kept.slice(Math.max(0, kept.indexOf(`${key.name}\n`))));
    if (note === undefined || !isSignedBy(note, key)) {
      this.#findings.add("log: the given checkpoint is not signed by the log's key");
      return undefined;
    }
    if (note.size > sizeOfHeads(last)) {
      this.#findings.add(
        `log: the given checkpoint has ${note.size} leaves, and the store's log ${sizeOfHeads(last)}: the end of the trail was removed, or put back`,
      );
      return undefined;
    }
    if (note.size >= base.end) return note;
    const says = `log: the given checkpoint (${note.size} leaves) cannot be compared, since older leaves were folded`;
    const both = witnesses.find(({ name, key: theirs }) => {
      const later = cosigned.find(({ by }) => by?.[0] === name);
      const isLater = later !== undefined && sizeOfHeads(later) >= note.size;
      return isLater && isSignedBy(note, theirs);
    });
    if (both === undefined) this.#findings.add(`${says}: give one of at least ${base.end} leaves`);
    else
      this.notes.push(`${says}; witness ${both.name} cosigned it, and that the log grew from it`);
    return undefined;
  }

  /** Finds what is missing at the beginning and at the end of each partition, by what was stated after and before. */
  #checkExtent(
    standings: readonly AuditStanding[],
    { heads: after }: AuditHeads,
    before: readonly AuditHeads[],
  ): void {
    for (const [partition, { base, dropped, last }] of standings.entries()) {
      const name = partitionName(partition);
      const { removed } = after.get(partition) ?? nothing;
      const { number, hash } = before
        .map(({ heads }) => heads.get(partition) ?? nothing)
        .reduce((one, other) => (other.number > one.number ? other : one));
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
    const time = timeText(seconds);
    this.notes.push(
      `log ${key.name}: ${size} leaves; witness ${name} cosigned ${sizeOfHeads(newest)} at ${time}`,
    );
  }
}

/** Whether a cosigned tree grew to these removed leaves, by what the store keeps of those since. */
function leadsTo(cosigned: Evidence, base: MerkleRange): boolean {
  const { since } = cosigned;
  if (since?.begin !== sizeOfHeads(cosigned) || since.end !== base.end) return false;
  const nodes = new MerkleNodes();
  nodes.add(treeOfHeads(cosigned));
  nodes.add(since);
  return sameHash(nodes.root(base.end), base.root());
}

function largest(now: Evidence | undefined, asked: Evidence | undefined): Evidence | undefined {
  if (now === undefined || asked === undefined) return now ?? asked;
  return sizeOfHeads(asked) > sizeOfHeads(now) ? asked : now;
}

function checkpointOf({ note }: SignedHeads): Checkpoint {
  return readCheckpointNote(note) ?? malformed();
}

function headsOf({ heads }: SignedHeads): AuditHeads {
  return readHeads(heads) ?? malformed();
}

function malformed(): never {
  throw new StoreUnavailable("corrupt", "the audit log's state in the store is malformed");
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
