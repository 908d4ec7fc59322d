import type { AuditEvent } from "../audit/audit-event.ts";
import type { Clock } from "../base/clock.ts";
import { StoreUnavailable } from "../base/errors.ts";
import type { KekStore } from "../ports/keys.ts";
import type { FindQuery, ObjectStore, StoredObject } from "../ports/objects.ts";
import { refused, updateRecord } from "../ports/update-record.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import type { Now } from "../record/registers.ts";
import { kekTerm } from "../system/index-terms.ts";
import { systemInstance } from "../system/partition.ts";
import {
  hasErasedWraps,
  type KekEntry,
  type KekWrap,
  kekRecord,
  readKekRecord,
  type WrappedKek,
  withKekWrap,
} from "../system/wrapped-kek.ts";

/** The region that writes system records, and its clock. */
export interface SystemWriter {
  readonly clock: Clock;
  readonly region: string;
}

interface FoundKek {
  readonly entry: KekEntry;
  readonly record: ManagedObject;
}

type RecordStore = Pick<ObjectStore, "read" | "find" | "commit">;

const pageMax = 256;
/** Most KEKs of a store: a faulty or compromised region must not fill this one's memory. */
const keksMax = 10_000;

/** Wrapped KEKs as system records of any object store, which regions share as they share objects. */
export class ObjectKekStore implements KekStore {
  readonly #store: RecordStore;
  readonly #writer: SystemWriter;

  constructor(store: RecordStore, writer: SystemWriter) {
    this.#store = store;
    this.#writer = writer;
  }

  /** See `KekStore.list`; oldest first. */
  async list(instance: string): Promise<readonly WrappedKek[]> {
    const found = await this.#find(kekTerm(instance));
    // Instances may share a term.
    return found.flatMap(({ entry }) => (entry.instance === instance ? entry.kek : []));
  }

  /** See `KekStore.read`. */
  async read(instance: string, kekId: string): Promise<WrappedKek | undefined> {
    const [found] = await this.#store.read(systemInstance, [kekId]);
    if (found === undefined || isDestroyed(found.object.facts)) return undefined;
    const entry = readKekRecord(found.object);
    return entry?.instance === instance ? entry.kek : undefined;
  }

  /** The KEKs of all instances, oldest first. */
  async all(): Promise<readonly KekEntry[]> {
    return (await this.#find(undefined)).map(({ entry }) => entry);
  }

  /** Their records, in the same order. */
  async records(): Promise<readonly ManagedObject[]> {
    return (await this.#find(undefined)).map(({ record }) => record);
  }

  /** See `KekStore.add`. */
  async add(
    instance: string,
    kek: WrappedKek,
    onlyIfNone: boolean,
    evidence?: readonly AuditEvent[],
  ): Promise<boolean> {
    if (onlyIfNone && (await this.list(instance)).length > 0) return false;
    const after = kekRecord({ instance, kek }, onlyIfNone, nowOf(this.#writer));
    const change = { kind: "create", after } as const;
    const options = evidence === undefined ? {} : { agreed: true };
    const outcome = await this.#store.commit(systemInstance, [change], evidence ?? [], options);
    if (outcome.kind === "committed") return true;
    if (outcome.kind === "nameTaken" || outcome.kind === "conflict") return false;
    throw refused(outcome);
  }

  /** See `KekStore.rewrap`. */
  async rewrap(
    instance: string,
    kekId: string,
    expected: Uint8Array,
    replacement: KekWrap,
  ): Promise<boolean> {
    const what = `key-encryption key ${kekId}`;
    const edit = (before: StoredObject | undefined) => {
      const entry = before && readKekRecord(before.object);
      if (before === undefined || entry?.instance !== instance) return undefined;
      // A node that had its bytes when it was erased must not bring it back.
      if (hasErasedWraps(before.object)) return undefined;
      const old = entry.kek.wraps.find(({ region }) => region === replacement.region);
      if (Buffer.compare(old?.blob ?? new Uint8Array(), expected) !== 0) return undefined;
      return withKekWrap(before.object, replacement, nowOf(this.#writer));
    };
    return (await updateRecord(this.#store, kekId, edit, { what })).outcome !== undefined;
  }

  async #find(term: string | undefined): Promise<readonly FoundKek[]> {
    const found: FoundKek[] = [];
    const query = { live: true, destroyed: false, limit: pageMax, ...(term && { term }) };
    for (let page: FindQuery | undefined = query; page !== undefined; ) {
      const { objects, next } = await this.#store.find(systemInstance, page);
      for (const { object: record } of objects) {
        const entry = readKekRecord(record);
        if (entry !== undefined) found.push({ entry, record });
      }
      if (found.length > keksMax) {
        throw new StoreUnavailable("corrupt", `the store holds more than ${keksMax} KEKs`);
      }
      page = next === undefined ? undefined : { ...query, after: next };
    }
    return found.toSorted(
      ({ entry: { kek: a } }, { entry: { kek: b } }) =>
        a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1),
    );
  }
}

/** The stamp for a write of system records. */
export function nowOf({ clock, region }: SystemWriter): Now {
  return { us: Math.floor(clock.wallMs() * 1_000), region };
}
