import {
  isCorrupt,
  type ManagedObject,
  type Observer,
  type OwnStore,
  type OwnStoredObject,
  Semaphore,
  type StoredObject,
  StoreUnavailable,
  singleFlight,
  type Timers,
} from "@holdfast/engine";
import { isFull } from "../join/full.ts";
import { joinAll, storedOf } from "../join/join.ts";
import { type MayJoin, provenCopies } from "../join/may-join.ts";
import { type MergeOptions, mergeInto } from "../join/merge.ts";
import { type OwnCopy, readEach, unknownFormat } from "../join/read-each.ts";
import type { Peer } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";

export interface ReadRepairOptions {
  readonly own: OwnStore;
  /** The other regions whose "not found" is needed. */
  readonly others: readonly Peer[];
  readonly timers: Timers;
  readonly observe: Observer;
  /** Decides what this region takes from another; everything unless given. */
  readonly mayJoin?: MayJoin | undefined;
}

/** What the own store said about records. */
export interface OwnAnswer {
  readonly instance: string;
  readonly ids: readonly string[];
  readonly copies: readonly OwnCopy[];
}

/** What the other regions have of a record. */
interface Elsewhere {
  readonly instance: string;
  readonly id: string;
  readonly copies: readonly ManagedObject[];
  readonly from: string;
  /** A region that could not be asked, or that cannot answer. */
  readonly unasked: string | undefined;
}

/** A region's answer; none where it cannot be asked, or has a record that does not decode. */
interface RegionAnswer {
  readonly region: string;
  readonly copies: readonly (OwnStoredObject | undefined)[] | undefined;
  readonly damaged?: boolean;
}

/** Records that are asked for one by one, or repaired for searches, at the same time. */
const aloneAtOnce = 16;

/** Whether the own store alone cannot decide what a record is. */
export function isOpen(copy: OwnCopy): boolean {
  if (copy === undefined || copy === "damaged") return true;
  return copy !== "unknown" && copy.reserved !== undefined;
}

/**
 * Answers what the own store alone cannot decide, from the copies of the other regions: a record
 * that the own store lacks is taken from any of them, and "not found" needs a "not found" of each,
 * and then another one of the own store; one that an agreed operation holds is the join of all
 * copies; one that does not decode is repaired; one of an unknown format fails the read. With
 * `through`, the others are asked for every record, as far as they can be. What is found is joined
 * into the own store where that can be written.
 */
export async function readRepair(
  answer: OwnAnswer,
  through: boolean,
  options: ReadRepairOptions,
): Promise<readonly (StoredObject | undefined)[]> {
  const { instance, ids, copies } = answer;
  const wanted = ids.filter((_, at) => through || isOpen(copies[at]));
  const elsewhere = await askAll(instance, wanted, options.others);
  const isNowhere = (id: string, at: number): boolean => {
    const found = elsewhere.get(id);
    return copies[at] === undefined && found?.copies.length === 0 && found.unasked === undefined;
  };
  const missing = options.others.length === 0 ? [] : ids.filter(isNowhere);
  // Not all regions say no at one moment: a record may have come here meanwhile, and be lost where it came from.
  const since = await readEach(options.own, instance, missing);
  return await Promise.all(
    ids.map(async (id, at) => {
      const copy = copies[at] ?? since[missing.indexOf(id)];
      const found = elsewhere.get(id);
      return found === undefined ? intact(copy) : await settle(copy, found, options);
    }),
  );
}

/** Repairs what searches meet: some records at a time, and no record twice at once. */
export class SearchRepairs {
  readonly #turns = new Semaphore(aloneAtOnce);
  /** Instance and record → why it still does not decode, if so. */
  readonly #underWay = new Map<string, Promise<"full" | "corrupt" | undefined>>();

  /**
   * Repairs records of the own store that do not decode, from the copies of the other regions; what
   * no copy can replace is set aside. Returns the identifiers of those that still do not decode, also since the store is too
   * full to be repaired.
   */
  async repairEach(
    instance: string,
    ids: readonly string[],
    options: ReadRepairOptions,
  ): Promise<readonly string[]> {
    const elsewhere = await askAll(instance, ids, options.others);
    const tried = await Promise.all(
      [...elsewhere].map(async ([id, found]) => ({ id, left: await this.#repair(found, options) })),
    );
    const unwritten = tried.filter(({ left }) => left === "full").length;
    if (unwritten > 0) {
      const message = `${unwritten} records of a search do not decode, and the store is too full to repair them`;
      options.observe({ type: "warning", message });
    }
    return tried.flatMap(({ id, left }) => (left === undefined ? [] : [id]));
  }

  #repair(found: Elsewhere, options: ReadRepairOptions): Promise<"full" | "corrupt" | undefined> {
    const { instance, id } = found;
    const repair = async () => {
      try {
        await settle("damaged", found, options);
        return undefined;
      } catch (error) {
        if (isFull(error)) return "full";
        if (isCorrupt(error)) return "corrupt";
        throw error;
      }
    };
    return singleFlight(this.#underWay, `${instance} ${id}`, () =>
      this.#turns.run(repair, { owner: instance }),
    );
  }
}

/**
 * Puts the bytes of records that do not decode into quarantine, which reports them; they also stay
 * where they are. With `only`, no other region has the records: an older state may count again. Where that cannot be written now, the next reader does it.
 */
export async function setAside(
  own: Pick<OwnStore, "quarantine">,
  instance: string,
  ids: readonly string[],
  options: { readonly only?: boolean } = {},
): Promise<void> {
  const reason = "it does not prove itself or does not decode, and no copy can take its place";
  await Promise.all(
    ids.map(async (id) => {
      try {
        await own.quarantine(instance, id, reason, options);
      } catch (error) {
        failureIn(error);
      }
    }),
  );
}

async function askAll(
  instance: string,
  ids: readonly string[],
  others: readonly Peer[],
): Promise<ReadonlyMap<string, Elsewhere>> {
  const answers = await Promise.all(others.map((peer) => ask(peer, instance, ids)));
  if (ids.length > 1 && answers.some(({ damaged }) => damaged)) {
    return await askEach(instance, ids, others);
  }
  const unasked = answers.find(({ copies }) => copies === undefined)?.region;
  const found = ids.map((id, at) => {
    const having = answers.filter(({ copies }) => copies?.[at] !== undefined);
    const copies = having.flatMap((answer) => answer.copies?.[at]?.object ?? []);
    return [id, { instance, id, copies, from: having[0]?.region ?? "", unasked }] as const;
  });
  return new Map(found);
}

/** The same one by one: a record that is damaged in another region, too, must not hide the others. */
async function askEach(
  instance: string,
  ids: readonly string[],
  others: readonly Peer[],
): Promise<ReadonlyMap<string, Elsewhere>> {
  const found = new Map<string, Elsewhere>();
  for (let at = 0; at < ids.length; at += aloneAtOnce) {
    const some = ids.slice(at, at + aloneAtOnce);
    const each = await Promise.all(some.map((id) => askAll(instance, [id], others)));
    for (const one of each) for (const [id, elsewhere] of one) found.set(id, elsewhere);
  }
  return found;
}

async function ask(peer: Peer, instance: string, ids: readonly string[]): Promise<RegionAnswer> {
  const { region } = peer;
  try {
    return { region, copies: await peer.fetch(instance, ids) };
  } catch (error) {
    failureIn(error);
    return { region, copies: undefined, damaged: isCorrupt(error) };
  }
}

async function settle(
  copy: OwnCopy,
  found: Elsewhere,
  options: ReadRepairOptions,
): Promise<StoredObject | undefined> {
  if (copy === "unknown") throw unknownFormat();
  const { unasked } = found;
  const copies = await proven(copy, found, options);
  if (copy === undefined || copy === "damaged") {
    if (copies.length === 0) {
      if (copy === "damaged") await leave(found, options);
      return absent(copy, unasked);
    }
    const stored = joined(copies);
    return copy === undefined
      ? await taken(stored, found.from, options)
      : await repaired(stored, found.from, options);
  }
  if (copy.reserved !== undefined) {
    if (unasked === undefined) return joined([copy.object, ...copies]);
    const message = `an agreed operation holds the record, and region ${unasked} cannot be asked`;
    throw new StoreUnavailable("reserved", message);
  }
  const both = joinAll([copy.object, ...copies]);
  if (both?.kind !== "joined") return copy;
  const stored = storedOf(both.object);
  return stored.tag === copy.tag ? copy : await taken(stored, found.from, options);
}

/** Sets a record aside that no other copy can replace. */
async function leave(
  { instance, id, copies, unasked }: Elsewhere,
  { own, others }: ReadRepairOptions,
): Promise<void> {
  const isNowhere = unasked === undefined && copies.length === 0;
  await setAside(own, instance, [id], { only: isNowhere && others.length > 0 });
}

/** The other regions' copies that this one may take. */
function proven(
  copy: Exclude<OwnCopy, "unknown">,
  { copies, from }: Elsewhere,
  options: ReadRepairOptions,
): Promise<readonly ManagedObject[]> {
  const own = copy === undefined || copy === "damaged" ? copy : copy.object;
  return provenCopies(own, copies, (object) => ({ object, from }), options);
}

/** The answer for a record that no region that could be asked has. */
function absent(copy: "damaged" | undefined, unasked: string | undefined): undefined {
  if (copy === "damaged") {
    throw new StoreUnavailable("corrupt", "a record does not decode, and no region has a copy");
  }
  if (unasked === undefined) return undefined;
  const message = `region ${unasked}, which may have this record, cannot be asked`;
  throw new StoreUnavailable("peerUnreachable", message);
}

function joined(copies: readonly ManagedObject[]): StoredObject {
  const outcome = joinAll(copies);
  if (outcome?.kind === "joined") return storedOf(outcome.object);
  const message = `copies of a record differ in their immutable parts: ${outcome?.reason}`;
  throw new StoreUnavailable("corrupt", message);
}

/**
 * Joins what was found into the own store; where that cannot be written now, the answer is still
 * true.
 */
async function taken(
  stored: StoredObject,
  from: string,
  { own, timers, observe, mayJoin }: ReadRepairOptions,
): Promise<StoredObject> {
  const merging: MergeOptions = { from, timers, observe, mayJoin };
  try {
    const [merged] = await mergeInto(own, [stored.object], merging);
    return merged?.stored ?? stored;
  } catch (error) {
    failureIn(error);
    return stored;
  }
}

/**
 * Puts a copy in the place of the damaged own one. Only that shows that it is not an older state.
 */
async function repaired(
  stored: StoredObject,
  from: string,
  { own, timers, observe, mayJoin }: ReadRepairOptions,
): Promise<StoredObject> {
  const [merged] = await mergeInto(own, [stored.object], { from, timers, observe, mayJoin });
  if (merged?.stored !== undefined) return merged.stored;
  const message = `a record does not decode, and region ${from}'s copy lacks its last known state`;
  throw new StoreUnavailable("corrupt", message);
}

/** A copy that can be read, or none; throws for one that cannot. */
function intact(copy: OwnCopy): OwnStoredObject | undefined {
  if (copy === "unknown") throw unknownFormat();
  if (copy !== "damaged") return copy;
  throw new StoreUnavailable("corrupt", "a record does not decode");
}
