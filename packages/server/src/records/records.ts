import { ManagementError } from "@holdfast/admin";
import {
  type AuditEvent,
  type Clock,
  type CommitOutcome,
  changeRecord,
  type FieldChanges,
  type Ids,
  isCorrupt,
  type KindName,
  type ManagedObject,
  makeRecord,
  type NewRecord,
  type ObjectStore,
  readRecord,
  recordTag,
  StoreUnavailable,
  type SystemRecord,
  systemIdentifier,
  systemInstance,
  type Tag,
  TooManyUpdates,
  updateRecord,
  withDestroyed,
} from "@holdfast/engine";
import { beforeWriting } from "./dry-run.ts";
import type { Presence } from "./presence.ts";
import { refusalOf } from "./refusals.ts";
import type { SystemView } from "./system-view.ts";

/** By region, whether it has a change, which takes effect there within a second of `applied`. */
export type Applied = Readonly<Record<string, "applied" | "pending">>;

/** A record as it is after a write, its version, and which regions have that. */
export interface WrittenRecord<Kind extends KindName> {
  readonly record: SystemRecord<Kind>;
  readonly version: Tag;
  readonly regions: Applied;
}

/** How a record is written. */
export interface WriteOptions {
  /** Every region must take part: refused while one cannot be reached. */
  readonly agreed?: boolean;
  /** It says the same in another form: any change of the record, made before or after, in whichever region, counts more. */
  readonly sameMeaning?: boolean;
  /** The refusal where another record has this claim; `nameTaken` unless given. */
  readonly taken?: (claim: string) => ManagementError;
}

export interface RecordsOptions {
  readonly region: string;
  /** The other regions that are not retired. */
  readonly others: () => readonly string[];
  readonly store: Pick<ObjectStore, "read" | "commit" | "appendAudit">;
  readonly view: Pick<SystemView, "take">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly ids: Pick<Ids, "uuid">;
  /** Which regions have what: notified of each write, and asked where there is nothing to write. */
  readonly presence?: Pick<Presence, "note" | "ofOne">;
}

/** A time so early that a value gets the stamp right after that of the value it replaces; no region's name is before it. */
const atOnceAfter = { us: 0, region: "" };

/** System records as management writes them: each change with its evidence in one commit, and at once in this node's view. */
export class Records {
  readonly #options: RecordsOptions;

  constructor(options: RecordsOptions) {
    this.#options = options;
  }

  /** Makes a record; its identifier is a new one unless given. */
  async create<Kind extends KindName>(
    kind: Kind,
    values: NewRecord<Kind>,
    audit: readonly AuditEvent[],
    options: WriteOptions & { readonly id?: string } = {},
  ): Promise<WrittenRecord<Kind>> {
    const { id = this.#options.ids.uuid(), agreed, taken } = options;
    const after = makeRecord(kind, id, values, this.#now());
    beforeWriting();
    const outcome = await this.#options.store
      .commit(systemInstance, [{ kind: "create", after }], audit, agreed ? { agreed } : {})
      .catch((error: unknown) => {
        throw unavailable(error);
      });
    if (outcome.kind !== "committed") throw refusalOf(outcome, taken);
    return this.#written(kind, after, outcome);
  }

  /**
   * Changes a record's fields: `edit` sees what the store has and is called again when another change was written
   * first; `undefined` changes nothing. It may throw a `ManagementError`.
   */
  change<Kind extends KindName>(
    kind: Kind,
    id: string,
    edit: (record: SystemRecord<Kind>) => FieldChanges<NoInfer<Kind>> | undefined,
    audit: readonly AuditEvent[],
    options: WriteOptions & { readonly ifMatch?: string | undefined } = {},
  ): Promise<WrittenRecord<Kind>> {
    return this.#update(kind, id, audit, options, (object, record) => {
      const changes = edit(record);
      const now = options.sameMeaning ? atOnceAfter : this.#now();
      return changes === undefined ? object : changeRecord(kind, object, changes, now);
    });
  }

  /** Leaves evidence of an act that changes no record; durable when it resolves. */
  async leaveEvidence(audit: readonly AuditEvent[]): Promise<void> {
    beforeWriting();
    await this.#options.store.appendAudit(systemInstance, audit, true).catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  /** Deletes a record for ever, for all regions; `check` sees what the store has, and may throw a `ManagementError`. */
  destroy<Kind extends KindName>(
    kind: Kind,
    id: string,
    audit: readonly AuditEvent[],
    options: WriteOptions & {
      readonly ifMatch?: string | undefined;
      readonly check?: (record: SystemRecord<Kind>) => void;
      /** Changes that go with it: a deleted record stays, and should hold nothing large. */
      readonly leaving?: FieldChanges<NoInfer<Kind>>;
    } = {},
  ): Promise<WrittenRecord<Kind>> {
    return this.#update(kind, id, audit, options, (object, record) => {
      options.check?.(record);
      const { leaving } = options;
      const left =
        leaving === undefined ? object : changeRecord(kind, object, leaving, this.#now());
      return withDestroyed(left, this.#now());
    });
  }

  /**
   * Deletes for ever a record that need not be valid for its kind; if the store has none, writes `deleted` in its place.
   * False if the store holds it in a damaged form; then nothing is changed.
   */
  async destroyUnread(deleted: ManagedObject, evidence: readonly AuditEvent[]): Promise<boolean> {
    const { store, view } = this.#options;
    try {
      const { record } = await updateRecord(
        store,
        deleted.uniqueIdentifier,
        (before) => {
          beforeWriting();
          return before === undefined ? deleted : withDestroyed(before.object, this.#now());
        },
        { what: "the record", evidence, refused: (outcome) => refusalOf(outcome) },
      );
      view.take([record]);
      return true;
    } catch (error) {
      if (isCorrupt(error)) return false;
      throw unavailable(error);
    }
  }

  async #update<Kind extends KindName>(
    kind: Kind,
    id: string,
    evidence: readonly AuditEvent[],
    options: WriteOptions & { readonly ifMatch?: string | undefined },
    edit: (object: ManagedObject, record: SystemRecord<Kind>) => ManagedObject,
  ): Promise<WrittenRecord<Kind>> {
    const { agreed, taken, ifMatch } = options;
    const { record, outcome } = await updateRecord(
      this.#options.store,
      id,
      (before) => {
        const found = before && readRecord(kind, before.object);
        if (before === undefined || found === undefined || found.destroyed !== undefined) {
          throw new ManagementError("notFound", "record not found, or deleted");
        }
        if (ifMatch !== undefined && ifMatch !== before.tag) {
          throw new ManagementError(
            "preconditionFailed",
            "it has changed since it was read: read it again",
          );
        }
        const after = edit(before.object, found);
        beforeWriting();
        return after;
      },
      {
        what: `the record of type ${kind}`,
        evidence,
        commit: agreed ? { agreed } : {},
        refused: (outcome) => refusalOf(outcome, taken),
      },
    ).catch((error: unknown) => {
      throw unavailable(error);
    });
    if (outcome === undefined) return await this.#unchanged(kind, record);
    return this.#written(kind, record, outcome);
  }

  #written<Kind extends KindName>(
    kind: Kind,
    after: ManagedObject,
    outcome: Extract<CommitOutcome, { readonly kind: "committed" }>,
  ): WrittenRecord<Kind> {
    const { view, region, others } = this.#options;
    view.take([after]);
    const had = outcome.regions ?? [region];
    const regions = Object.fromEntries(
      [region, ...others()].map((name) => [
        name,
        had.includes(name) ? ("applied" as const) : ("pending" as const),
      ]),
    );
    this.#options.presence?.note(after, regions);
    return { record: valid(kind, after), version: versionOf(after), regions };
  }

  async #unchanged<Kind extends KindName>(
    kind: Kind,
    object: ManagedObject,
  ): Promise<WrittenRecord<Kind>> {
    const { view, presence, region } = this.#options;
    view.take([object]);
    const regions = (await presence?.ofOne(object.uniqueIdentifier)) ?? { [region]: "applied" };
    return { record: valid(kind, object), version: versionOf(object), regions };
  }

  #now() {
    return { us: Math.floor(this.#options.clock.wallMs() * 1_000), region: this.#options.region };
  }
}

/** The identifier of an instance's record. */
export function instanceRecordId(instance: string): string {
  return systemIdentifier("Instance", instance);
}

/** The version of a record: its ETag. */
export function versionOf(record: ManagedObject): Tag {
  return recordTag(record);
}

function valid<Kind extends KindName>(kind: Kind, object: ManagedObject): SystemRecord<Kind> {
  const record = readRecord(kind, object);
  if (record === undefined) throw new TypeError(`a record of type ${kind} is not valid`);
  return record;
}

function unavailable(error: unknown): unknown {
  if (error instanceof TooManyUpdates) {
    return new ManagementError("conflict", `${error.message}: try again`);
  }
  return error instanceof StoreUnavailable ? refusalOf(error) : error;
}
