import { type IdentifierReference, KmipError, type OperationName } from "@holdfast/kmip";
import type { ChangeOptions, Decision, Objects } from "./context.ts";
import type { FindPage, FindQuery } from "./find.ts";
import type { ItemAudit } from "./item-audit.ts";
import { due } from "./lifecycle.ts";
import type { Observer } from "./observe.ts";
import type {
  AuditEvent,
  Change,
  CommitOutcome,
  Locks,
  ObjectStore,
  StoredObject,
} from "./ports.ts";
import type { ManagedObject } from "./record.ts";
import { plannedDates } from "./registers.ts";

/** How often a change is decided anew where another writer was faster. */
const attemptsMax = 64;

/**
 * What became of staged changes: done; nothing to do; another writer was faster, so that the batch must be decided
 * anew; or refused because of the item at a position.
 */
export type StagedOutcome =
  | "done"
  | "untouched"
  | "again"
  | { readonly position: number; readonly error: KmipError };

/** What a working set needs of the engine. */
export interface WorkingSetOptions {
  readonly store: ObjectStore;
  readonly locks: Locks;
  readonly observe: Observer;
  readonly instance: string;
  readonly region: string;
  /** True for a batch with the Undo option: changes are staged and made by `commit`. */
  readonly staged: boolean;
}

/** The item that is being carried out. */
export interface CurrentItem {
  readonly operation: OperationName;
  readonly nowSeconds: number;
  readonly audit: ItemAudit;
  /** Position in the batch, by which a name found taken at the end is told to the right item. */
  readonly position: number;
}

interface Staged {
  /** The stored object that was changed; none where the batch made it. */
  readonly before: StoredObject | undefined;
  readonly object: ManagedObject;
  readonly position: number;
}

/** One batch's objects (`Objects`): straight on the store, or on an overlay until `commit`. */
export class WorkingSet implements Objects {
  readonly #options: WorkingSetOptions;
  readonly #staged: Map<string, Staged> | undefined;
  readonly #audit: AuditEvent[] = [];
  readonly #produced: { readonly operation: OperationName; readonly uniqueIdentifier: string }[] =
    [];
  #placeholder: string | undefined;
  /** The object whose lock this batch holds. */
  #held: string | undefined;
  #item: CurrentItem | undefined;

  constructor(options: WorkingSetOptions) {
    this.#options = options;
    this.#staged = options.staged ? new Map() : undefined;
  }

  /** The ID Placeholder (KMIP 2.1, 6.1). */
  get value(): string | undefined {
    return this.#placeholder;
  }

  set(uniqueIdentifier: string | undefined): void {
    this.#placeholder = uniqueIdentifier;
  }

  /** Says which item of the batch is carried out from now on. */
  begin(item: CurrentItem): void {
    this.#item = item;
  }

  /** Notes an identifier that an item's answer holds, for later references (KMIP 2.1, 4.58). */
  produced(operation: OperationName, uniqueIdentifier: string): void {
    this.#produced.push({ operation, uniqueIdentifier });
  }

  resolve(reference: IdentifierReference | undefined): string {
    const identifier = this.#referenced(reference);
    if (identifier === undefined) {
      throw new KmipError("objectNotFound", "the request refers to no object");
    }
    return identifier;
  }

  #referenced(reference: IdentifierReference | undefined): string | undefined {
    if (typeof reference === "string") return reference;
    if (reference === undefined) return this.#placeholder;
    if ("position" in reference) return this.#produced.at(reference.position)?.uniqueIdentifier;
    if (reference.special === "IDPlaceholder") return this.#placeholder;
    return this.#produced.findLast(({ operation }) => operation === reference.special)
      ?.uniqueIdentifier;
  }

  async load(reference: IdentifierReference | undefined): Promise<StoredObject> {
    return this.#loadById(this.resolve(reference));
  }

  async create(object: ManagedObject): Promise<void> {
    const item = this.#current();
    item.audit.target = object.uniqueIdentifier;
    if (this.#staged !== undefined) {
      this.#stage(object.uniqueIdentifier, undefined, object);
      return;
    }
    const outcome = await this.#commit([{ kind: "create", after: object }]);
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
    if (object.facts.served !== undefined || this.#staged?.has(object.uniqueIdentifier)) return;
    const served = { time: this.#current().nowSeconds, region };
    await store.markServed(instance, stored, { ...object, facts: { ...object.facts, served } });
  }

  async find(query: FindQuery): Promise<FindPage> {
    const { store, instance } = this.#options;
    const staged = this.#staged;
    const page = await store.find(
      instance,
      // Staged changes may have made an object match that the store would not walk to.
      staged === undefined || staged.size === 0
        ? query
        : { limit: query.limit, live: true, destroyed: true, ...cursorOf(query) },
    );
    const objects = await Promise.all(
      page.objects.map(async (stored) => this.#settled(this.#overlaid(stored))),
    );
    if (staged === undefined || staged.size === 0) return { ...page, objects };
    const made = query.after === undefined ? this.#made() : [];
    const wanted = [...made, ...objects].filter(({ object }) =>
      object.facts.destroyed === undefined ? query.live : query.destroyed,
    );
    return { ...page, objects: wanted };
  }

  /** Makes all staged changes at once, together with their evidence and what else there is of it. */
  async commit(evidence: readonly AuditEvent[]): Promise<StagedOutcome> {
    const staged = [...(this.#staged?.values() ?? [])];
    if (staged.length === 0) return "untouched";
    const changes = staged.map(
      ({ before, object }): Change =>
        before === undefined
          ? { kind: "create", after: object }
          : { kind: "update", before, after: object },
    );
    const { store, instance } = this.#options;
    const outcome = await store.commit(instance, changes, [...this.#audit, ...evidence]);
    if (outcome.kind === "committed") return "done";
    if (outcome.kind === "conflict") return "again";
    const taken = outcome.kind === "nameTaken" ? outcome.uniqueIdentifier : undefined;
    const position = staged.find(({ object }) => object.uniqueIdentifier === taken)?.position;
    return { position: position ?? staged[0]?.position ?? 0, error: refusalOf(outcome) };
  }

  /** Runs `body` with the object's lock; at once where this batch holds it, or changes an overlay only. */
  #holding<Result>(identifier: string, body: () => Promise<Result>): Promise<Result> {
    if (this.#staged !== undefined || this.#held === identifier) return body();
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

  /** Objects that the batch made, newest first. */
  #made(): readonly StoredObject[] {
    return [...(this.#staged?.values() ?? [])]
      .filter(({ before }) => before === undefined)
      .map(({ object }) => ({ object, tag: "" }))
      .reverse();
  }

  #overlaid(stored: StoredObject): StoredObject {
    const staged = this.#staged?.get(stored.object.uniqueIdentifier);
    return staged === undefined ? stored : { object: staged.object, tag: "" };
  }

  async #loadById(identifier: string): Promise<StoredObject> {
    this.#current().audit.target ??= identifier;
    const staged = this.#staged?.get(identifier);
    if (staged !== undefined) return { object: staged.object, tag: "" };
    const { store, instance } = this.#options;
    const [stored] = await store.read(instance, [identifier]);
    if (stored === undefined) throw notFound();
    return this.#settled(stored);
  }

  /**
   * The object with the facts that its planned dates have made true; whoever sees them first writes them, durably,
   * before anything is answered (design section 4).
   */
  #settled(stored: StoredObject): StoredObject | Promise<StoredObject> {
    const facts = this.#dueFacts(stored.object);
    return facts === stored.object.facts ? stored : this.#settle(stored);
  }

  #dueFacts({ facts, registers }: ManagedObject): ManagedObject["facts"] {
    return due(facts, plannedDates(registers), this.#current().nowSeconds, this.#options.region);
  }

  async #settle(stored: StoredObject): Promise<StoredObject> {
    const { uniqueIdentifier } = stored.object;
    if (this.#staged !== undefined) {
      const facts = this.#dueFacts(stored.object);
      this.#audit.push(...this.#current().audit.dateEvents(stored.object, facts));
      this.#overlay(uniqueIdentifier, stored, this.#touched({ ...stored.object, facts }));
      return this.#overlaid(stored);
    }
    const { store, instance } = this.#options;
    return this.#holding(uniqueIdentifier, async () => {
      for (let attempt = 0; attempt < attemptsMax; attempt++) {
        const [before] = await store.read(instance, [uniqueIdentifier]);
        if (before === undefined) throw notFound();
        const facts = this.#dueFacts(before.object);
        if (facts === before.object.facts) return before;
        const after = this.#touched({ ...before.object, facts });
        const evidence = this.#current().audit.dateEvents(before.object, facts);
        const outcome = await store.commit(instance, [{ kind: "update", before, after }], evidence);
        if (outcome.kind === "instanceClosed") throw refusalOf(outcome);
      }
      throw busy();
    });
  }

  async #decideAndWrite(identifier: string, decide: Decision): Promise<ManagedObject> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const before = await this.#loadById(identifier);
      const decided = decide(before.object);
      if (decided === before.object) return decided;
      const after = this.#touched(decided);
      if (this.#staged !== undefined) {
        this.#stage(identifier, this.#staged.get(identifier)?.before ?? before, after);
        return after;
      }
      const outcome = await this.#commit([{ kind: "update", before, after }]);
      if (outcome.kind === "committed") return after;
      this.#options.observe({ type: "casConflict", operation: this.#current().operation });
    }
    throw busy();
  }

  /** Last Change Date never goes back (KMIP 2.1, 4.29). */
  #touched(object: ManagedObject): ManagedObject {
    return { ...object, lastChange: Math.max(object.lastChange, this.#current().nowSeconds) };
  }

  #stage(identifier: string, before: StoredObject | undefined, object: ManagedObject): void {
    this.#overlay(identifier, before, object);
    this.#audit.push(...this.#current().audit.stagedEvents());
  }

  #overlay(identifier: string, before: StoredObject | undefined, object: ManagedObject): void {
    const { position } = this.#current();
    const known = this.#staged?.get(identifier);
    this.#staged?.set(identifier, {
      before: known === undefined ? before : known.before,
      object,
      position,
    });
  }

  /** Refusals other than a conflict are thrown. */
  async #commit(changes: readonly Change[]): Promise<CommitOutcome> {
    const { store, instance } = this.#options;
    const { audit } = this.#current();
    const outcome = await store.commit(instance, changes, audit.changeEvents());
    if (outcome.kind === "committed") audit.written = true;
    else if (outcome.kind !== "conflict") throw refusalOf(outcome);
    return outcome;
  }
}

function cursorOf({ after }: FindQuery): Pick<FindQuery, "after"> {
  return after === undefined ? {} : { after };
}

function notFound(): KmipError {
  return new KmipError("objectNotFound", "no object has this Unique Identifier");
}

function busy(): KmipError {
  return new KmipError("generalFailure", "cannot tell: others change this object; try again");
}

function refusalOf(outcome: CommitOutcome): KmipError {
  return outcome.kind === "nameTaken"
    ? new KmipError("nonUniqueName", "another object has this Name")
    : new KmipError("permissionDenied", "the instance is not open for changes");
}
