import {
  type AuditEvent,
  type Change,
  type CommitOptions,
  type CommitOutcome,
  type FindPage,
  type FindQuery,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  type OwnStoredObject,
  type StoredObject,
  StoreUnavailable,
} from "@holdfast/engine";
import type { RegionalStore } from "./regional-store.ts";

/** A region's own store as the clients of another region use it: never through a third store, and without agreement. */
export class OwnForOthers implements ObjectStore {
  readonly #own: OwnStore;
  readonly #store: RegionalStore;
  readonly #requireServing: () => void;

  constructor(own: OwnStore, store: RegionalStore, requireServing: () => void) {
    this.#own = own;
    this.#store = store;
    this.#requireServing = requireServing;
  }

  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (StoredObject | undefined)[]> {
    this.#requireServing();
    return (await this.#own.read(instance, ids)).map(free);
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: CommitOptions = {},
  ): Promise<CommitOutcome> {
    this.#requireServing();
    if (options.agreed === true) {
      const message = "the region that asks must take part with its own store";
      throw new StoreUnavailable("noAgreement", message);
    }
    return await this.#store.commitOwn(instance, changes, audit);
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    try {
      this.#requireServing();
    } catch {
      return false;
    }
    return await this.#own.markServed(instance, before, after);
  }

  async find(instance: string, query: FindQuery): Promise<FindPage> {
    this.#requireServing();
    const page = await this.#own.find(instance, query);
    return { ...page, objects: page.objects.map((copy) => free(copy)) };
  }

  async appendAudit(
    instance: string,
    events: readonly AuditEvent[],
    strict: boolean,
  ): Promise<void> {
    this.#requireServing();
    await this.#own.appendAudit(instance, events, strict);
  }
}

/** A record that an agreed operation holds needs the other region, whose store is why this one is asked. */
function free<Copy extends OwnStoredObject | undefined>(copy: Copy): Copy {
  if (copy?.reserved === undefined) return copy;
  throw new StoreUnavailable("reserved", "an agreed operation holds the record");
}
