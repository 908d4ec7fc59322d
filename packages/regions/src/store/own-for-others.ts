import {
  type AuditEvent,
  type Change,
  type CommitOptions,
  type CommitOutcome,
  type FindPage,
  type FindQuery,
  fromRegion,
  isCorrupt,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  type OwnStoredObject,
  type StoredObject,
  StoreUnavailable,
} from "@holdfast/engine";
import { readEach } from "../join/read-each.ts";
import { setAside } from "./read-repair.ts";
import type { RegionalStore } from "./regional-store.ts";
import { searched } from "./search.ts";
import { refuseUnknown } from "./while-doubted.ts";

/** The rules for requests of another region; a refusal is `StoreUnavailable`. */
export interface RulesForOthers {
  /** Requires that the own store serves, with writes. */
  readonly requireServing: () => void;
  /**
   * Requires that the changes take nothing back, and were approved where that is needed; answers them as this region writes
   * them.
   */
  readonly judged: (instance: string, changes: readonly Change[]) => Promise<readonly Change[]>;
  /** The events as the trail keeps them: they say which region sent them. */
  readonly marked: (events: readonly AuditEvent[]) => readonly AuditEvent[];
}

/** Events of another region, whatever they say about themselves. */
export function sentBy(region: string, events: readonly AuditEvent[]): readonly AuditEvent[] {
  return events.map((event) => ({ ...event, detail: { ...event.detail, [fromRegion]: region } }));
}

/** A region's own store as the clients of another region use it: never through a third store, and without agreement. */
export class OwnForOthers implements ObjectStore {
  readonly #own: OwnStore;
  readonly #store: RegionalStore;
  readonly #rules: RulesForOthers;

  constructor(own: OwnStore, store: RegionalStore, rules: RulesForOthers) {
    this.#own = own;
    this.#store = store;
    this.#rules = rules;
  }

  async read(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (StoredObject | undefined)[]> {
    this.#rules.requireServing();
    try {
      const copies = await this.#own.read(instance, ids);
      refuseUnknown(this.#own, instance, ids);
      return copies.map(free);
    } catch (error) {
      if (isCorrupt(error)) await this.#setDamagedAside(instance, ids);
      throw error;
    }
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: CommitOptions = {},
  ): Promise<CommitOutcome> {
    this.#rules.requireServing();
    if (options.agreed === true) {
      const message = "the region that asks must take part with its own store";
      throw new StoreUnavailable("noAgreement", message);
    }
    const judged = await this.#rules.judged(instance, changes);
    return await this.#store.commitOwn(instance, judged, this.#rules.marked(audit));
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    try {
      this.#rules.requireServing();
      await this.#rules.judged(instance, [{ kind: "update", before, after }]);
    } catch {
      return false;
    }
    return await this.#own.markServed(instance, before, after);
  }

  async find(instance: string, query: FindQuery): Promise<FindPage> {
    this.#rules.requireServing();
    // A held record is answered as it is here: it must not hide the others.
    const page = await searched(this.#own, instance, query, async (ids) => {
      await setAside(this.#own, instance, ids);
      return ids;
    });
    refuseUnknown(this.#own, instance);
    return page;
  }

  /** The other region cannot be asked for its copies: it asks because its own store cannot be used. */
  async #setDamagedAside(instance: string, ids: readonly string[]): Promise<void> {
    const copies = await readEach(this.#own, instance, ids);
    await setAside(
      this.#own,
      instance,
      ids.filter((_, at) => copies[at] === "damaged"),
    );
  }

  async appendAudit(
    instance: string,
    events: readonly AuditEvent[],
    strict: boolean,
  ): Promise<void> {
    this.#rules.requireServing();
    await this.#own.appendAudit(instance, this.#rules.marked(events), strict);
  }
}

/**
 * Refuses a record that an agreed operation holds: it needs the other region, whose own store
 * cannot be used.
 */
function free<Copy extends OwnStoredObject | undefined>(copy: Copy): Copy {
  if (copy?.reserved === undefined) return copy;
  throw new StoreUnavailable("reserved", "an agreed operation holds the record");
}
