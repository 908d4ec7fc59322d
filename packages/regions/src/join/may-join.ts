import { type ManagedObject, type Observer, StoreUnavailable } from "@holdfast/engine";
import { joinKeepingSeals, storedOf } from "./join.ts";

/** What the own store has of a record: nothing, or a copy, which may be damaged. */
export type OwnBefore = ManagedObject | "damaged" | undefined;

/**
 * Decides whether this region takes a change that another one says it made: answers why not, else undefined. What decides
 * without waiting answers no promise, so that usual changes cost nothing. Rejects with `StoreUnavailable` where nobody can
 * tell.
 */
export type MayJoin = (
  before: OwnBefore,
  after: ManagedObject,
  from: string,
) => Promise<string | undefined> | undefined;

/** How changes of another region are judged. */
export interface Judging {
  /** Takes everything unless given. */
  readonly mayJoin?: MayJoin | undefined;
  readonly observe: Observer;
}

/** Whether a change of another region is not taken; then it is reported. */
export async function isUnproven(
  before: OwnBefore,
  after: ManagedObject,
  from: string,
  { mayJoin, observe }: Judging,
): Promise<boolean> {
  const reason = await mayJoin?.(before, after, from);
  if (reason === undefined) return false;
  observe({ type: "unproven", region: from, record: after.uniqueIdentifier, reason });
  return true;
}

/** The copies of another region whose join with the own copy may be taken. */
export async function provenCopies<Copy>(
  own: OwnBefore,
  copies: readonly Copy[],
  about: (copy: Copy) => { readonly object: ManagedObject; readonly from: string },
  judging: Judging | undefined,
): Promise<readonly Copy[]> {
  if (judging?.mayJoin === undefined) return copies;
  const proven: Copy[] = [];
  for (const copy of copies) {
    const { object, from } = about(copy);
    // What cannot be joined is not taken anyway.
    const both = own === undefined || own === "damaged" ? undefined : joinKeepingSeals(own, object);
    const after = both?.kind === "joined" ? both.object : object;
    const isSame = own === after || (own !== undefined && own !== "damaged" && isAlike(own, after));
    if (isSame || !(await isUnproven(own, after, from, judging))) proven.push(copy);
  }
  return proven;
}

function isAlike(one: ManagedObject, other: ManagedObject): boolean {
  return storedOf(one).tag === storedOf(other).tag;
}

/** Refuses what another region asks this one to write, if one of the changes is not taken. */
export async function requireProven(
  changes: readonly {
    readonly before?: { readonly object: ManagedObject };
    readonly after: ManagedObject;
  }[],
  from: string,
  judging: Judging,
): Promise<void> {
  for (const { before, after } of changes) {
    if (!(await isUnproven(before?.object, after, from, judging))) continue;
    const message = `nothing proves that the change of record ${after.uniqueIdentifier} by region ${from} was approved`;
    throw new StoreUnavailable("noAgreement", message);
  }
}
