import {
  compareRegisters,
  hasErasedWraps,
  isSameItem,
  isWithheldKek,
  type KekEntry,
  type KekWrap,
  kekRegistersOf,
  type ManagedObject,
  newestFirst,
  type Register,
  readKekRecord,
  readRecord,
  stampAfter,
  type WrapProof,
} from "@holdfast/engine";
import { type Instead, joinAll, type MayJoin, type OwnBefore } from "@holdfast/regions";
import type { SystemView } from "../records/system-view.ts";

/** What only a node can find out about KEKs. */
export interface KekChecks {
  /** Looks at a wrap of this region. Rejects while nobody can tell. */
  readonly prove: (kek: KekEntry, wrap: KekWrap) => Promise<WrapProof>;
  /** The own store's copies of KEKs' records, and the replication id that it has now. Rejects if it cannot be read. */
  readonly stored: (
    ids: readonly string[],
  ) => Promise<{ readonly store: string; readonly records: readonly ManagedObject[] }>;
}

export interface KekRuleOptions {
  readonly region: string;
  readonly view: Pick<SystemView, "believed" | "of" | "refresh">;
  readonly wallMs: () => number;
  /** Whether the own store was ever level with the other region's: an empty one is filled with all that it has. */
  readonly isFilled: () => Promise<boolean>;
  /** Whether an instance is deleted, or its deletion is decided. */
  readonly isDeleted: (instance: string) => boolean;
  readonly checks: KekChecks;
}

/** Of a wrap: it is taken, or the own one stays; `unknown` may be decided otherwise later, `refused` refuses all. */
type Verdict = "taken" | "kept" | "unknown" | "refused";

const changed = "only this region changes its own wrap of a key-encryption key";
const removed =
  "it takes away this region's wrap, but its instance is not deleted, and this region has not said that nothing needs the key";
/** By so much a new KEK may come after the others, or after this node's clock. The next one must have a later time. */
const aheadMs = 86_400_000;
/** Most KEKs of an instance that another region's are added to: all are read before one is opened, and none is ever deleted. */
const keksMax = 2_000;

/**
 * What this region takes of another one's KEKs. Its own wrap of a KEK, and what it says of its own records under it, only
 * this region writes: a wrap that comes back from the other region's store is taken if it opens to the KEK. The own wrap
 * goes only with the deletion of its instance, or once this region has said that nothing of it needs the KEK.
 */
export class KekRule {
  readonly #options: KekRuleOptions;

  constructor(options: KekRuleOptions) {
    this.#options = options;
  }

  /** See `MayJoin`. */
  mayJoin(before: OwnBefore, given: ManagedObject): ReturnType<MayJoin> {
    const { region, view } = this.#options;
    const isOwn = typeof before === "object";
    const known = isOwn ? before : view.believed(given.uniqueIdentifier);
    const after = isOwn || known === undefined ? given : joinedWith(known, given);
    const entry = readKekRecord(after);
    // Nobody reads what is not valid.
    if (entry === undefined) return undefined;
    const isNew = known === undefined && before === undefined;
    const fault = manyFault(after) ?? (isNew ? this.#newFault(entry) : undefined);
    const own = known && kekRegistersOf(known, region);
    const theirs = kekRegistersOf(after, region);
    if (fault === undefined && isSame(own?.wrap, theirs.wrap) && isSame(own?.rekey, theirs.rekey)) {
      return undefined;
    }
    return this.#decide(known, after, entry, fault);
  }

  /** Why a KEK that this region does not know is not taken. */
  #newFault({ instance, kek }: KekEntry): string | undefined {
    const { view, wallMs } = this.#options;
    const known = view.of("Kek", instance);
    if (known.size >= keksMax) return `its instance has ${keksMax} key-encryption keys already`;
    const times = [...known.values()].map(({ createdMs }) => createdMs);
    const lastMs = Math.max(wallMs(), ...times) + aheadMs;
    return kek.createdMs > lastMs ? "it says that it was made long after now" : undefined;
  }

  async #decide(
    known: ManagedObject | undefined,
    after: ManagedObject,
    entry: KekEntry,
    fault: string | undefined,
  ): Promise<string | Instead | undefined> {
    const { region, isFilled } = this.#options;
    if (!(await isFilled())) return undefined;
    if (fault !== undefined) return fault;
    const own = known && kekRegistersOf(known, region);
    const theirs = kekRegistersOf(after, region);
    const wrapped = isSame(own?.wrap, theirs.wrap)
      ? after
      : await this.#wrapped(entry, after, theirs.wrap, own?.wrap);
    if (wrapped === undefined) return removed;
    let taken = wrapped;
    if (!isSame(own?.rekey, theirs.rekey)) {
      taken = this.#withOwn(taken, own?.rekey, theirs.rekey, true);
    }
    if (taken === after) return undefined;
    return { instead: taken, ...(wrapped !== after && { reason: changed }) };
  }

  /** What is taken of a record with another wrap of this region; undefined if nothing is. */
  async #wrapped(
    entry: KekEntry,
    after: ManagedObject,
    theirs: Register | undefined,
    own: Register | undefined,
  ): Promise<ManagedObject | undefined> {
    const verdict = await this.#verdict(entry, after, theirs, own);
    if (verdict === "refused") return undefined;
    if (verdict === "taken") return after;
    // A KEK that this region has not wrapped gets its first wrap here, if another region has wrapped it.
    const isOpen = verdict === "unknown" || isWrappedElsewhere(entry, this.#options.region);
    if (own === undefined && isOpen) return without(after, theirs);
    return this.#withOwn(after, own, theirs, verdict === "kept");
  }

  async #verdict(
    entry: KekEntry,
    after: ManagedObject,
    theirs: Register | undefined,
    own: Register | undefined,
  ): Promise<Verdict> {
    const { region, view, isDeleted } = this.#options;
    const { instance, kek } = entry;
    const wrap = kek.wraps.find((one) => one.region === region);
    if (wrap !== undefined) {
      const proof = await this.#proof(entry, wrap);
      if (proof === "opens") return "taken";
      // A root of trust that this node has not seen yet may have replaced the one that it knows.
      return proof === undefined || (proof === "strange" && own !== undefined) ? "unknown" : "kept";
    }
    if (theirs?.value !== undefined) return "kept";
    if (isDeleted(instance)) return "taken";
    await view.refresh();
    if (isDeleted(instance)) return "taken";
    if (!hasErasedWraps(after)) return "kept";
    return (await this.#needsNoMore(entry)) ? "taken" : "refused";
  }

  /** Undefined while it cannot be told. */
  async #proof(entry: KekEntry, wrap: KekWrap): Promise<WrapProof | undefined> {
    const { checks, view } = this.#options;
    try {
      const proof = await checks.prove(entry, wrap);
      if (proof !== "strange") return proof;
      await view.refresh();
      return await checks.prove(entry, wrap);
    } catch {
      return undefined;
    }
  }

  /** Whether this region's leader has said, of the data that its store has now, that nothing needs a KEK any more. */
  async #needsNoMore({ instance, kek }: KekEntry): Promise<boolean> {
    const { region, view, checks } = this.#options;
    const all = [...view.of("Kek", instance).values()];
    const told = all.filter(({ rekey }) => rekey[region] !== undefined).map(({ id }) => id);
    if (told.length === 0) return false;
    const { store, records } = await checks.stored(told);
    const [newest] = records
      .flatMap((record) => readRecord("Kek", record) ?? [])
      .filter(({ rekey }) => rekey[region] !== undefined)
      .toSorted(newestFirst);
    const state = newest?.rekey[region];
    if (state === undefined || state.store !== store || state.sinceMs === undefined) return false;
    if (state.left > 0 || state.quarantined > 0) return false;
    const last = isWithheldKek(kek.id) ? all.find(({ id }) => id === state.withheld) : newest;
    return last !== undefined && newestFirst(last, kek) < 0;
  }

  /** A record with this region's register in the place of the other region's; `stamped` as written after that. */
  #withOwn(
    record: ManagedObject,
    own: Register | undefined,
    theirs: Register | undefined,
    stamped: boolean,
  ): ManagedObject {
    const { region, wallMs } = this.#options;
    const base = own ?? theirs;
    if (base === undefined) return record;
    const { registers } = without(record, theirs);
    const later = theirs && stampAfter(theirs, { us: Math.floor(wallMs() * 1_000), region });
    const stamp =
      stamped && later !== undefined && Number.isSafeInteger(later.us) ? later : base.stamp;
    const written: Register = { ...base, value: own?.value, stamp };
    return { ...record, registers: [...registers, written].toSorted(compareRegisters) };
  }
}

/** Why a record is not taken that has several values of one field: what reads the field would take the last of them. */
function manyFault({ registers }: ManagedObject): string | undefined {
  const isOnly = registers.every(({ index, origin }) => index === 0 && origin === "");
  return isOnly ? undefined : "a field of it has several values";
}

function joinedWith(known: ManagedObject, given: ManagedObject): ManagedObject {
  const both = joinAll([known, given]);
  return both?.kind === "joined" ? both.object : given;
}

function isSame(one: Register | undefined, other: Register | undefined): boolean {
  return isSameItem(one?.value, other?.value);
}

function isWrappedElsewhere({ kek }: KekEntry, own: string): boolean {
  return kek.wraps.some(({ region }) => region !== own);
}

function without(record: ManagedObject, register: Register | undefined): ManagedObject {
  const registers = record.registers.filter((one) => one !== register);
  return { ...record, registers };
}
