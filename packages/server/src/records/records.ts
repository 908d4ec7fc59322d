import { ManagementError } from "@holdfast/admin";
import {
  type AuditEvent,
  type Clock,
  type CommitOutcome,
  type Document,
  documentRecord,
  type Ids,
  instanceRecord,
  type ManagedObject,
  type ObjectStore,
  readDocument,
  recordTag,
  StoreUnavailable,
  systemIdentifier,
  systemInstance,
  systemTypes,
  type Tag,
  TooManyUpdates,
  updateRecord,
  withDestroyed,
  withFields,
} from "@holdfast/engine";
import { beforeWriting } from "./dry-run.ts";
import type { Presence } from "./presence.ts";
import { refusalOf } from "./refusals.ts";
import type { SystemView } from "./system-view.ts";

/** By region, whether it has a change: there it takes effect within a second of `applied`. */
export type Applied = Readonly<Record<string, "applied" | "pending">>;

/** A document as it is after a write, its version, and which regions have that. */
export interface WrittenRecord {
  readonly document: Document;
  readonly version: Tag;
  readonly regions: Applied;
}

/** Audit events of a change, which are written with it; a function is asked with what the change makes of the document. */
export type Evidence = readonly AuditEvent[] | ((document: Document) => readonly AuditEvent[]);

/** How a document is written. */
export interface WriteOptions {
  /** Every region must take part: refused while one cannot be reached. */
  readonly agreed?: boolean;
  /** The refusal where another document has this claim; `nameTaken` unless given. */
  readonly taken?: (claim: string) => ManagementError;
}

/** Fields to set anew; `undefined` deletes one. */
export type FieldChanges = Readonly<Record<string, string | undefined>>;

export interface RecordsOptions {
  readonly region: string;
  /** The other regions that are not retired. */
  readonly others: () => readonly string[];
  readonly store: Pick<ObjectStore, "read" | "commit" | "appendAudit">;
  readonly view: Pick<SystemView, "take">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly ids: Pick<Ids, "uuid">;
  /** Which regions have what: told of each write, and asked where there is nothing to write. */
  readonly presence?: Pick<Presence, "note" | "ofOne">;
}

/** System records as management writes them: each change with its evidence in one commit, and at once in this node's view. */
export class Records {
  readonly #options: RecordsOptions;

  constructor(options: RecordsOptions) {
    this.#options = options;
  }

  /**
   * Makes a document; its identifier is a new one unless given, and an instance's is made from `fixed.instance`. What it
   * claims stands in `fields.claims`, a JSON list.
   */
  async create(
    type: number,
    fixed: Readonly<Record<string, string>>,
    fields: Readonly<Record<string, string>>,
    audit: Evidence,
    options: WriteOptions & { readonly id?: string } = {},
  ): Promise<WrittenRecord> {
    const id = options.id ?? this.#options.ids.uuid();
    const after = this.#made(type, id, fixed, fields);
    beforeWriting();
    const { agreed, taken } = options;
    const events = eventsOf(audit, after);
    const outcome = await this.#options.store
      .commit(systemInstance, [{ kind: "create", after }], events, agreed ? { agreed } : {})
      .catch((error: unknown) => {
        throw unavailable(error);
      });
    if (outcome.kind !== "committed") throw refusalOf(outcome, taken);
    return this.#written(after, outcome);
  }

  /**
   * Changes a document's fields: `edit` sees what the store has and is asked again when another change was faster;
   * `undefined` changes nothing. It may throw a `ManagementError`.
   */
  change(
    type: number,
    id: string,
    edit: (document: Document) => FieldChanges | undefined,
    audit: Evidence,
    options: WriteOptions & { readonly ifMatch?: string | undefined } = {},
  ): Promise<WrittenRecord> {
    return this.#update(type, id, audit, options, (record, document) => {
      const fields = edit(document);
      return fields === undefined ? record : withFields(record, fields, this.#now());
    });
  }

  /** Evidence of what changes no document; durable when it resolves. */
  async leaveEvidence(audit: readonly AuditEvent[]): Promise<void> {
    beforeWriting();
    await this.#options.store.appendAudit(systemInstance, audit, true).catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  /** Deletes a document for ever, for all regions; `check` sees what the store has, and may throw a `ManagementError`. */
  destroy(
    type: number,
    id: string,
    audit: Evidence,
    options: WriteOptions & {
      readonly ifMatch?: string | undefined;
      readonly check?: (document: Document) => void;
    } = {},
  ): Promise<WrittenRecord> {
    return this.#update(type, id, audit, options, (record, document) => {
      options.check?.(document);
      return withDestroyed(record, this.#now());
    });
  }

  async #update(
    type: number,
    id: string,
    audit: Evidence,
    options: WriteOptions & { readonly ifMatch?: string | undefined },
    edit: (record: ManagedObject, document: Document) => ManagedObject,
  ): Promise<WrittenRecord> {
    const { agreed, taken, ifMatch } = options;
    const { record, outcome } = await updateRecord(
      this.#options.store,
      id,
      (before) => {
        const document = before && readDocument(before.object);
        if (before === undefined || document?.type !== type || document.destroyed !== undefined) {
          throw new ManagementError("notFound", "there is no such record, or it was deleted");
        }
        if (ifMatch !== undefined && ifMatch !== before.tag) {
          throw new ManagementError("preconditionFailed", "it has changed: read it again");
        }
        const after = edit(before.object, document);
        beforeWriting();
        return after;
      },
      {
        what: "the record",
        evidence: (after) => eventsOf(audit, after),
        commit: agreed ? { agreed } : {},
        refused: (outcome) => refusalOf(outcome, taken),
      },
    ).catch((error: unknown) => {
      throw unavailable(error);
    });
    return outcome === undefined ? await this.#unchanged(record) : this.#written(record, outcome);
  }

  #made(
    type: number,
    id: string,
    fixed: Readonly<Record<string, string>>,
    fields: Readonly<Record<string, string>>,
  ): ManagedObject {
    const { instance } = fixed;
    if (type !== systemTypes.Instance || instance === undefined) {
      return documentRecord({ type, id, fixed, fields }, this.#now());
    }
    const { name = "", ...others } = fields;
    return withFields(instanceRecord({ instance, name }, this.#now()), others, this.#now());
  }

  #written(
    after: ManagedObject,
    outcome: Extract<CommitOutcome, { readonly kind: "committed" }>,
  ): WrittenRecord {
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
    return { document: documentOf(after), version: versionOf(after), regions };
  }

  async #unchanged(record: ManagedObject): Promise<WrittenRecord> {
    const { view, presence, region } = this.#options;
    view.take([record]);
    const regions = (await presence?.ofOne(record.uniqueIdentifier)) ?? { [region]: "applied" };
    return { document: documentOf(record), version: versionOf(record), regions };
  }

  #now() {
    return { us: Math.floor(this.#options.clock.wallMs() * 1_000), region: this.#options.region };
  }
}

/** The identifier of an instance's record. */
export function instanceRecordId(instance: string): string {
  return systemIdentifier(systemTypes.Instance, instance);
}

/** The version of a record: its ETag. */
export function versionOf(record: ManagedObject): Tag {
  return recordTag(record);
}

function documentOf(record: ManagedObject): Document {
  const document = readDocument(record);
  if (document === undefined) throw new TypeError("a document that does not read");
  return document;
}

function eventsOf(audit: Evidence, after: ManagedObject): readonly AuditEvent[] {
  return typeof audit === "function" ? audit(documentOf(after)) : audit;
}

function unavailable(error: unknown): unknown {
  if (error instanceof TooManyUpdates) {
    return new ManagementError("conflict", `${error.message}: try again`);
  }
  return error instanceof StoreUnavailable ? refusalOf(error) : error;
}
