import {
  type Change,
  type ChangePage,
  type CommitOutcome,
  type FindPage,
  type FindQuery,
  indexTerms,
  type ManagedObject,
  type OwnStore,
  recordTag,
  type StoredObject,
  sysPartition,
} from "@holdfast/engine";

/** What a key ring needs of the store whose records name its keys and roots of trust. */
export type SystemStore = Pick<
  OwnStore,
  "state" | "position" | "changes" | "read" | "find" | "commit"
>;

const replicationId = "archive";

/** An archive's system records as a store in memory; a write, such as a re-wrapped KEK, is lost. */
export class ArchivedSystem implements SystemStore {
  readonly #records = new Map<string, StoredObject>();
  /** How often a record was written: the change number of the store. */
  #number = 0;

  /** Of several copies of a record the last counts. */
  constructor(objects: Iterable<ManagedObject>) {
    for (const object of objects) this.#put(object);
  }

  state(): "full" {
    return "full";
  }

  async position() {
    const numbers: number[] = [];
    numbers[sysPartition] = this.#number;
    return { replicationId, numbers };
  }

  async changes(): Promise<ChangePage> {
    const objects = [...this.#records.values()].map(({ object }) => object);
    return {
      replicationId,
      objects,
      damaged: [],
      unknown: [],
      upTo: this.#number,
      last: this.#number,
    };
  }

  async read(_instance: string, ids: readonly string[]) {
    return ids.map((id) => this.#records.get(id));
  }

  /** Finds records in the order of the archive. */
  async find(_instance: string, query: FindQuery): Promise<FindPage> {
    const { after = "0", destroyed, limit, live, term } = query;
    const found = [...this.#records.values()].filter(
      ({ object }) =>
        (object.facts.destroyed === undefined ? live : destroyed) &&
        (term === undefined || indexTerms(object).some((one) => one.term === term)),
    );
    const end = Number(after) + limit;
    return {
      objects: found.slice(Number(after), end),
      ...(end < found.length && { next: String(end) }),
    };
  }

  async commit(_instance: string, changes: readonly Change[]): Promise<CommitOutcome> {
    for (const { after, ...change } of changes) {
      const { uniqueIdentifier } = after;
      const expected = change.kind === "update" ? change.before.tag : undefined;
      if (this.#records.get(uniqueIdentifier)?.tag !== expected) {
        return { kind: "conflict", uniqueIdentifier };
      }
    }
    for (const { after } of changes) this.#put(after);
    return { kind: "committed" };
  }

  #put(object: ManagedObject): void {
    this.#records.set(object.uniqueIdentifier, { object, tag: recordTag(object) });
    this.#number += 1;
  }
}
