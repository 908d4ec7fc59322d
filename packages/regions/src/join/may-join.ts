import { type Change, type ManagedObject, type Observer, StoreUnavailable } from "@holdfast/engine";
import { joinKeepingSeals, storedOf } from "./join.ts";

/** What the own store has of a record: nothing, or a copy, which may be damaged. */
export type OwnBefore = ManagedObject | "damaged" | undefined;

/** What is taken in the place of a change; with a reason, which is reported, the change itself counts as unproven. */
export interface Instead {
  readonly instead: ManagedObject;
  readonly reason?: string;
}

/**
 * Decides whether this region takes a change that another one says it made: answers why not, or what it takes instead, else
 * undefined. What decides without waiting answers no promise, so that usual changes cost nothing. Rejects with
 * `StoreUnavailable` where nobody can tell.
 */
export type MayJoin = (
  before: OwnBefore,
  after: ManagedObject,
  from: string,
) => Promise<string | Instead | undefined> | undefined;

/** How changes of another region are judged. */
export interface Judging {
  /** Takes everything unless given. */
  readonly mayJoin?: MayJoin | undefined;
  readonly observe: Observer;
}

/** What this region makes of a change of another one. */
interface Judged {
  /** The change, or what is taken in its place; undefined if the own copy stays. */
  readonly taken: ManagedObject | undefined;
  /** Why the change is not taken as it is; such a change was reported. */
  readonly reason?: string;
}

/** Judges a change of another region; one that is not proven is reported. */
export async function judged(
  before: OwnBefore,
  after: ManagedObject,
  from: string,
  { mayJoin, observe }: Judging,
): Promise<Judged> {
  const answer = await mayJoin?.(before, after, from);
  if (answer === undefined) return { taken: after };
  const { instead, reason } =
    typeof answer === "string" ? { instead: undefined, reason: answer } : answer;
  if (reason === undefined) return { taken: instead };
  observe({ type: "unproven", region: from, record: after.uniqueIdentifier, reason });
  return { taken: instead, reason };
}

/**
 * The copies of another region whose join with the own copy may be taken; with `exactly`, without those that are taken in
 * another form.
 */
export async function provenCopies<Copy>(
  own: OwnBefore,
  copies: readonly Copy[],
  about: (copy: Copy) => { readonly object: ManagedObject; readonly from: string },
  judging: Judging | undefined,
  exactly = false,
): Promise<readonly Copy[]> {
  if (judging?.mayJoin === undefined) return copies;
  const proven: Copy[] = [];
  for (const copy of copies) {
    const { object, from } = about(copy);
    // What cannot be joined is not taken anyway.
    const both = own === undefined || own === "damaged" ? undefined : joinKeepingSeals(own, object);
    const after = both?.kind === "joined" ? both.object : object;
    const isSame = own === after || (own !== undefined && own !== "damaged" && isAlike(own, after));
    if (isSame || (await isProven(own, after, from, judging, exactly))) proven.push(copy);
  }
  return proven;
}

async function isProven(
  own: OwnBefore,
  after: ManagedObject,
  from: string,
  judging: Judging,
  exactly: boolean,
): Promise<boolean> {
  const { taken, reason } = await judged(own, after, from, judging);
  return reason === undefined && (!exactly || taken === after);
}

function isAlike(one: ManagedObject, other: ManagedObject): boolean {
  return storedOf(one).tag === storedOf(other).tag;
}

/**
 * What this region writes of what another one asks it to write: each change, or what is taken in its place, as in a merge.
 * Refused if one of them is not taken at all.
 */
export async function provenChanges(
  changes: readonly Change[],
  from: string,
  judging: Judging,
): Promise<readonly Change[]> {
  const proven: Change[] = [];
  for (const change of changes) {
    const { after } = change;
    const before = change.kind === "update" ? change.before.object : undefined;
    const { taken, reason = "" } = await judged(before, after, from, judging);
    if (taken === undefined) {
      const message = `nothing proves that the change of record ${after.uniqueIdentifier} by region ${from} was approved: ${reason}`;
      throw new StoreUnavailable("noAgreement", message);
    }
    proven.push(taken === after ? change : { ...change, after: taken });
  }
  return proven;
}
