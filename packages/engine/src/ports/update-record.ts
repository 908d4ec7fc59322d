import type { AuditEvent } from "../audit/audit-event.ts";
import { StoreUnavailable } from "../base/errors.ts";
import type { ManagedObject } from "../record/record.ts";
import { systemInstance } from "../system/partition.ts";
import type { Change, CommitOptions, CommitOutcome, ObjectStore, StoredObject } from "./objects.ts";

/** Other writers changed a record at every try. */
export class TooManyUpdates extends StoreUnavailable {
  constructor(what: string) {
    super("timeout", `too many concurrent updates of ${what}`);
  }
}

/** How a record is updated. */
export interface UpdateOptions {
  /** What the record is, for the message that there were too many updates of it. */
  readonly what: string;
  /** Written with the change. */
  readonly evidence?: readonly AuditEvent[];
  readonly commit?: CommitOptions;
  /** The error for an outcome that is not a conflict; `refused` unless given. */
  readonly refused?: (outcome: CommitOutcome) => Error;
}

/** A record after an update, and the store's outcome, which is undefined if nothing was written. */
export interface Updated<After extends ManagedObject | undefined> {
  readonly record: After;
  readonly outcome: Extract<CommitOutcome, { readonly kind: "committed" }> | undefined;
}

const triesMax = 16;

/**
 * The compare-and-set loop for system records. `edit` gets the stored record and returns the new one; it runs again
 * when another change was faster. Nothing is written if it returns undefined or the record that it got.
 */
export async function updateRecord<After extends ManagedObject | undefined>(
  store: Pick<ObjectStore, "read" | "commit">,
  id: string,
  edit: (before: StoredObject | undefined) => After,
  { what, evidence = [], commit = {}, refused: refusal = refused }: UpdateOptions,
): Promise<Updated<After>> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const [before] = await store.read(systemInstance, [id]);
    const after = edit(before);
    if (after === undefined || after === before?.object) {
      return { record: after, outcome: undefined };
    }
    const change: Change =
      before === undefined ? { kind: "create", after } : { kind: "update", before, after };
    const outcome = await store.commit(systemInstance, [change], evidence, commit);
    if (outcome.kind === "committed") return { record: after, outcome };
    if (outcome.kind !== "conflict") throw refusal(outcome);
  }
  throw new TooManyUpdates(what);
}

/** Why a system record was not written. */
export function refused(outcome: CommitOutcome): StoreUnavailable {
  const failure = outcome.kind === "reserved" ? "reserved" : "corrupt";
  return new StoreUnavailable(failure, `a system record was refused: ${outcome.kind}`);
}
