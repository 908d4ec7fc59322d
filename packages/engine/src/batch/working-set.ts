import { type IdentifierReference, KmipError, type OperationName } from "@holdfast/kmip";
import type { AuditEvent } from "../audit/audit-event.ts";
import { StoreUnavailable } from "../base/errors.ts";
import type { Observer } from "../base/observe.ts";
import type { Locks } from "../concurrency/locks.ts";
import type { Pace } from "../concurrency/pace.ts";
import type {
  Change,
  CommitOptions,
  CommitOutcome,
  FindPage,
  FindQuery,
  ObjectStore,
  StoredObject,
} from "../ports/objects.ts";
import type { ChangeOptions, Decision, Objects } from "../ports/operation-context.ts";
import { type DatedNow, dueSurely, isDestroyed } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import { checkRecordSize, tooLargeTogether } from "../record/record-size.ts";
import { plannedDates } from "../record/registers.ts";
import type { BatchReferences } from "./batch-references.ts";
import type { ItemAudit } from "./item-audit.ts";
import { Overlay } from "./overlay.ts";

/** How often a change is decided at most while other writers are faster. */
const attemptsMax = 64;

/** No object has a longer identifier; a request may hold any text. */
const identifierLengthMax = 255;

/**
 * The result of a commit of staged changes: done; nothing to do; another writer was faster, so that the batch must be
 * decided again, which may have been the batch itself (`doubt`); or refused because of the item at a position.
 */
export type StagedOutcome =
  | "done"
  | "untouched"
  | "again"
  | "doubt"
  | { readonly position: number; readonly error: KmipError | StoreUnavailable };

type Conflict = Extract<CommitOutcome, { readonly kind: "conflict" }>;

/** What a working set needs from the engine. */
export interface WorkingSetOptions {
  readonly store: ObjectStore;
  readonly locks: Locks;
  readonly observe: Observer;
  readonly instance: string;
  readonly region: string;
  readonly pace: Pace;
  readonly references: BatchReferences;
  /** True for a batch with the Undo option: changes are staged and made by `commit`. */
  readonly staged: boolean;
}

/** The item that is being carried out. */
export interface CurrentItem extends DatedNow {
  readonly operation: OperationName;
  readonly audit: ItemAudit;
  /** Position in the batch, so that a name conflict found at the commit is reported at the right item. */
  readonly position: number;
}

/** One batch's objects (`Objects`): straight on the store, or on an overlay until `commit`. */
export class WorkingSet implements Objects {
  readonly #options: WorkingSetOptions;
  readonly #overlay: Overlay | undefined;
  /** The object whose lock this batch holds. */
  #held: string | undefined;
  #item: CurrentItem | undefined;

  constructor(options: WorkingSetOptions) {
    this.#options = options;
    this.#overlay = options.staged ? new Overlay() : undefined;
  }

  /** Sets the item of the batch that is carried out from now on. */
  begin(item: CurrentItem): void {
    this.#item = item;
  }

  resolve(reference: IdentifierReference | undefined): string {
    return this.#options.references.resolve(reference);
  }

  async load(reference: IdentifierReference | undefined): Promise<StoredObject> {
    return await this.#loadById(this.resolve(reference));
  }

  async create(object: ManagedObject): Promise<void> {
    const { audit, position } = this.#current();
    audit.target = object.uniqueIdentifier;
    checkRecordSize({ after: object });
    if (this.#overlay !== undefined) {
      this.#overlay.put(undefined, object, position, audit.stagedEvents());
      return;
    }
    const outcome = await this.#commit({ kind: "create", after: object });
    if (outcome.kind === "conflict") throw new Error("a new identifier exists already");
  }

  async change(
    reference: IdentifierReference | undefined,
    decide: Decision,
    options: ChangeOptions = {},
  ): Promise<ManagedObject> {
    const identifier = this.resolve(reference);
    const run = () => this.#decideAndWrite(identifier, decide);
    return options.locked === true ? this.#holding(identifier, run) : run();
  }

  async markServed(stored: StoredObject): Promise<void> {
    const { object } = stored;
    const { store, instance, region } = this.#options;
    const staged = this.#overlay?.get(object.uniqueIdentifier) !== undefined;
    if (object.facts.served !== undefined || staged) return;
    const served = { time: this.#current().nowSeconds, region };
    await store.markServed(instance, stored, { ...object, facts: { ...object.facts, served } });
  }

  async heal(
    broken: StoredObject,
    opens: (object: ManagedObject) => Promise<boolean>,
  ): Promise<StoredObject | undefined> {
    const { store, instance } = this.#options;
    if (this.#overlay?.get(broken.object.uniqueIdentifier) !== undefined) return undefined;
    const healed = await store.heal?.(instance, broken, opens);
    return healed && this.#settled(healed);
  }

  async find(query: FindQuery): Promise<FindPage> {
    const { store, instance, pace } = this.#options;
    // A search may take long.
    pace.check();
    const overlay = this.#overlay?.isEmpty === false ? this.#overlay : undefined;
    const page = await store.find(instance, overlay?.widened(query) ?? query);
    const objects = await Promise.all(
      page.objects.map(async (stored) =>
        this.#settled(overlay?.get(stored.object.uniqueIdentifier) ?? stored),
      ),
    );
    return { ...page, objects: overlay?.laidOver(query, objects) ?? objects };
  }

  /** Makes all staged changes at once, together with their evidence and the batch's other `evidence`. */
  async commit(evidence: readonly AuditEvent[]): Promise<StagedOutcome> {
    const overlay = this.#overlay;
    if (overlay === undefined || overlay.isEmpty) return "untouched";
    const { store, instance } = this.#options;
    const events = [...overlay.evidence, ...evidence];
    const changes = overlay.changes();
    const error = tooLargeTogether(changes);
    if (error !== undefined) return { position: 0, error };
    const outcome = await store.commit(instance, changes, events, optionsFor(changes));
    if (outcome.kind === "committed") return "done";
    if (outcome.kind === "conflict") return outcome.doubt === true ? "doubt" : "again";
    const taken = outcome.kind === "nameTaken" ? outcome.uniqueIdentifier : "";
    return { position: overlay.positionOf(taken) ?? 0, error: refusalOf(outcome) };
  }

  /** Runs `body` with the object's lock; at once if this batch holds it already, or changes only an overlay. */
  #holding<Result>(identifier: string, body: () => Promise<Result>): Promise<Result> {
    if (this.#overlay !== undefined || this.#held === identifier) return body();
    const { locks, instance } = this.#options;
    return locks.withLock(`${instance}/${identifier}`, async () => {
      this.#held = identifier;
      try {
        return await body();
      } finally {
        this.#held = undefined;
      }
    });
  }

  #current(): CurrentItem {
    if (this.#item === undefined) throw new Error("no item of the batch has begun");
    return this.#item;
  }

  async #loadById(identifier: string): Promise<StoredObject> {
    this.#current().audit.target ??= identifier.slice(0, identifierLengthMax);
    const staged = this.#overlay?.get(identifier);
    return staged === undefined ? this.#settled(await this.#read(identifier)) : staged;
  }

  async #read(identifier: string): Promise<StoredObject> {
    const { store, instance } = this.#options;
    const possible = identifier.length > 0 && identifier.length <= identifierLengthMax;
    const [stored] = possible ? await store.read(instance, [identifier]) : [];
    if (stored !== undefined) return stored;
    throw new KmipError("objectNotFound", "no object has this Unique Identifier");
  }

  /**
   * The object with the facts that its planned dates have made true; the first reader writes them, durably,
   * before anything is answered.
   */
  #settled(stored: StoredObject): StoredObject | Promise<StoredObject> {
    const facts = this.#dueFacts(stored.object);
    return facts === stored.object.facts ? stored : this.#settle(stored);
  }

  #dueFacts({ facts, registers }: ManagedObject): ManagedObject["facts"] {
    const item = this.#current();
    // What Get returns does not depend on dates: a wrong clock must not keep a machine from its key.
    if (item.doubt !== undefined && item.operation === "Get") return facts;
    return dueSurely(facts, plannedDates(registers), item, this.#options.region);
  }

  #settle(stored: StoredObject): Promise<StoredObject> {
    const { uniqueIdentifier } = stored.object;
    const overlay = this.#overlay;
    return this.#holding(uniqueIdentifier, async () => {
      if (overlay !== undefined) {
        const { after, evidence } = this.#dated(stored);
        overlay.put(stored, after, this.#current().position, evidence);
        return { object: after, tag: "" };
      }
      for (let attempt = 0; attempt < attemptsMax; attempt++) {
        const before = await this.#read(uniqueIdentifier);
        const { after, evidence } = this.#dated(before);
        if (after === before.object) return before;
        const { store, instance } = this.#options;
        const outcome = await store.commit(instance, [{ kind: "update", before, after }], evidence);
        if (outcome.kind !== "committed" && outcome.kind !== "conflict") throw refusalOf(outcome);
      }
      throw busy();
    });
  }

  /** The object after the transitions that its dates caused, and their evidence; the same object if no date has come. */
  #dated({ object }: StoredObject) {
    const facts = this.#dueFacts(object);
    if (facts === object.facts) return { after: object, evidence: [] };
    const evidence = this.#current().audit.dateEvents(object, facts);
    return { after: this.#touched({ ...object, facts }), evidence };
  }

  async #decideAndWrite(identifier: string, decide: Decision): Promise<ManagedObject> {
    let doubt = false;
    try {
      for (let attempt = 0; attempt < attemptsMax; attempt++) {
        const made = await this.#tryToWrite(identifier, decide);
        if (!("kind" in made)) return made;
        doubt ||= made.doubt === true;
      }
    } catch (error) {
      throw doubt && error instanceof KmipError ? maybeMade(error) : error;
    }
    throw doubt ? maybeMade(busy()) : busy();
  }

  /** The object as it is afterwards, or the conflict with another writer. */
  async #tryToWrite(identifier: string, decide: Decision): Promise<ManagedObject | Conflict> {
    const { audit, operation, position } = this.#current();
    const before = await this.#loadById(identifier);
    const decided = decide(before.object);
    if (decided === before.object) return decided;
    const after = this.#touched(decided);
    checkRecordSize({ before, after });
    if (this.#overlay !== undefined) {
      this.#overlay.put(before, after, position, audit.stagedEvents());
      return after;
    }
    const outcome = await this.#commit({ kind: "update", before, after });
    if (outcome.kind === "committed") return after;
    this.#options.observe({ type: "casConflict", operation });
    return outcome;
  }

  /** Last Change Date never goes back (KMIP 2.1, 4.29). */
  #touched(object: ManagedObject): ManagedObject {
    return { ...object, lastChange: Math.max(object.lastChange, this.#current().nowSeconds) };
  }

  /** Refusals other than a conflict are thrown. */
  async #commit(change: Change): Promise<Conflict | Extract<CommitOutcome, { kind: "committed" }>> {
    const { store, instance } = this.#options;
    const { audit } = this.#current();
    const changes = [change];
    const events = audit.changeEvents();
    const outcome = await store.commit(instance, changes, events, optionsFor(changes));
    if (outcome.kind !== "committed" && outcome.kind !== "conflict") throw refusalOf(outcome);
    if (outcome.kind === "committed") audit.written = true;
    return outcome;
  }
}

/** Instead of a refusal that an earlier try of the same change may have caused. */
export function maybeMade(cause?: KmipError): StoreUnavailable {
  const message = "an earlier try of this change may have been made";
  return new StoreUnavailable("barrierShort", message, { cause });
}

function busy(): KmipError {
  return new KmipError(
    "generalFailure",
    "cannot tell: too many concurrent changes of this object; try again",
  );
}

/** Every region must agree to the destruction of a key, so that it is never decided on incomplete knowledge. */
function optionsFor(changes: readonly Change[]): CommitOptions {
  const agreed = changes.some(
    ({ after, ...change }) =>
      isDestroyed(after.facts) && "before" in change && !isDestroyed(change.before.object.facts),
  );
  return { agreed };
}

function refusalOf(outcome: CommitOutcome): KmipError | StoreUnavailable {
  if (outcome.kind === "reserved" || outcome.kind === "reservationLost") {
    return new StoreUnavailable("reserved", "an agreed operation holds the record");
  }
  return outcome.kind === "nameTaken"
    ? new KmipError("nonUniqueName", "another object has this Name")
    : new KmipError("permissionDenied", "the instance is not open for changes");
}
