import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  type ObjectStore,
  type OwnStore,
  type StoredObject,
  StoreUnavailable,
} from "@holdfast/engine";
import { isFull } from "../join/full.ts";
import { joinKeepingSeals, storedOf } from "../join/join.ts";
import { type OwnCopy, readEach, unknownFormat } from "../join/read-each.ts";
import type { Peer, PushOutcome } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";

/** What the region that serves this one's clients said about records. */
export interface RemoteAnswer {
  readonly instance: string;
  readonly ids: readonly string[];
  readonly found: readonly (StoredObject | undefined)[];
}

/** What a node asked a store to write. */
interface Wanted {
  readonly instance: string;
  readonly changes: readonly Change[];
  readonly audit: readonly AuditEvent[];
}

/**
 * The outcome of a later try that was refused, where an earlier one may have been made in another store; undefined if that
 * one's push has made the changes here. A push brings no events, and the other store may lose them, so they are written
 * here too. Of a conflict, the caller decides again; throws `StoreUnavailable` otherwise.
 */
export async function refusedUnlessMade(
  store: Pick<ObjectStore, "read" | "commit">,
  { instance, changes, audit }: Wanted,
  refused: CommitOutcome,
): Promise<CommitOutcome | undefined> {
  const ids = changes.map(({ after }) => after.uniqueIdentifier);
  const found = await store.read(instance, ids);
  if (!areMade(changes, found)) return inDoubt(refused);
  const noted = await store.commit(instance, [], audit);
  return noted.kind === "committed" ? undefined : inDoubt(noted);
}

/**
 * The outcome of a commit in another region, which then has it. It may name that region alone: one of its nodes did not
 * answer, and another one found the change made; so nobody has said that a second region has it, too.
 */
export function madeThere(
  outcome: CommitOutcome,
  region: string,
  required: boolean,
): CommitOutcome {
  if (outcome.kind !== "committed") return outcome;
  if (!required || outcome.regions?.join() !== region) return { ...outcome, regions: [region] };
  const message = `region ${region} has the change, and whether another one has it is not known`;
  throw new StoreUnavailable("barrierShort", message);
}

/** Every try of a commit sends the same bytes, and no two commits make the same identifier. */
function areMade(
  changes: readonly Change[],
  found: readonly (StoredObject | undefined)[],
): boolean {
  const isMade = ({ kind, after }: Change, at: number): boolean => {
    const copy = found[at];
    return kind === "create" ? copy !== undefined : copy?.tag === storedOf(after).tag;
  };
  return changes.length > 0 && changes.every(isMade);
}

function inDoubt(refused: CommitOutcome): CommitOutcome {
  if (refused.kind === "conflict") return { ...refused, doubt: true };
  const message = `an earlier try of this change may have been made, and this one is refused: ${refused.kind}`;
  throw new StoreUnavailable("barrierShort", message);
}

/**
 * What the serving region does not have may be in the own store, which does not serve but may be
 * readable, or in a third region. It is joined into the serving store; "not found" needs a "not
 * found" of each.
 */
export async function settledThere(
  { instance, ids, found }: RemoteAnswer,
  serving: Peer,
  others: readonly Peer[],
  own: OwnStore,
): Promise<readonly (StoredObject | undefined)[]> {
  const missing = ids.filter((_, at) => found[at] === undefined);
  const answers = await Promise.all([
    answered(async () => await readEach(own, instance, missing)),
    ...others.map((peer) => answered(() => peer.fetch(instance, missing))),
  ]);
  const known = new Map<string, StoredObject>();
  for (const [at, id] of missing.entries()) {
    const stored = elsewhere(answers, at);
    if (stored !== undefined) known.set(id, await joinedThere(serving, stored));
  }
  return ids.map((id, at) => found[at] ?? known.get(id));
}

/**
 * Reads records in the region that serves this one's clients. Its store may be an older copy, put back in a cut, that has
 * not caught up either. So what the own store has beyond it is joined there first, if the own store can be read.
 */
export async function readThere(
  serving: Peer,
  instance: string,
  ids: readonly string[],
  own: OwnStore,
): Promise<readonly (StoredObject | undefined)[]> {
  const found = await serving.remote.read(instance, ids);
  if (own.state() === "none") return found;
  const copies = await answered(async () => await readEach(own, instance, ids));
  const more = found.flatMap((theirs, at) => {
    const ours = copies?.[at];
    return theirs && typeof ours === "object" && hasMore(ours, theirs) ? [ours.object] : [];
  });
  if (more.length === 0) return found;
  const outcomes = await serving.push(more);
  const failed = outcomes.find((outcome) => outcome !== "durable");
  if (failed !== undefined) throw notAccepted(serving, failed);
  return await serving.remote.read(instance, ids);
}

/** Whether a copy has something that another one lacks; false for copies that contradict each other. */
function hasMore(copy: StoredObject, than: StoredObject): boolean {
  if (copy.tag === than.tag) return false;
  const outcome = joinKeepingSeals(than.object, copy.object);
  return outcome.kind === "joined" && storedOf(outcome.object).tag !== than.tag;
}

function notAccepted({ region }: Peer, outcome: PushOutcome | undefined): StoreUnavailable {
  const message = `region ${region}, which serves, did not accept a record: ${outcome}`;
  return new StoreUnavailable("peerUnreachable", message);
}

type Answer = readonly OwnCopy[] | undefined;

async function answered(ask: () => Promise<readonly OwnCopy[]>): Promise<Answer> {
  try {
    return await ask();
  } catch (error) {
    failureIn(error);
    return undefined;
  }
}

/** A copy of any region; undefined where no region has one. */
function elsewhere(answers: readonly Answer[], at: number): StoredObject | undefined {
  if (answers.some((answer) => answer?.[at] === "unknown")) throw unknownFormat();
  for (const answer of answers) {
    const copy = answer?.[at];
    if (typeof copy === "object") return copy;
  }
  const sure = answers.every((answer) => answer !== undefined && answer[at] === undefined);
  if (sure) return undefined;
  const message = "another store, which may have this record, cannot be asked";
  throw new StoreUnavailable("peerUnreachable", message);
}

/** Joins a record into the serving store; where that has no room, the answer is still true. */
async function joinedThere(serving: Peer, stored: StoredObject): Promise<StoredObject> {
  let outcome: PushOutcome | undefined;
  try {
    [outcome] = await serving.push([stored.object]);
  } catch (error) {
    if (isFull(error)) return stored;
    throw error;
  }
  if (outcome === "durable") return storedOf(stored.object);
  throw notAccepted(serving, outcome);
}
