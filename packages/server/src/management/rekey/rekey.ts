import { ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type FieldChanges,
  type InstanceKeyRing,
  isWithheldKek,
  KeyRingUnavailable,
  kekWrittenMs,
  newestFirst,
  type ObjectStore,
  type OwnStore,
  type RekeyState,
  RootOfTrustError,
  SealBroken,
  type SealCounts,
  StoreUnavailable,
  type SystemRecord,
  sealingKek,
  updateRecord,
  type WrappedKek,
  withheldKek,
  withoutKekWraps,
  wrappedKek,
} from "@holdfast/engine";
import type {
  Duty,
  DutyContext,
  DutyResult,
  Rekeying,
  Reseal,
  ResealProgress,
} from "@holdfast/regions";
import { type Actor, managementEvents } from "../../audit/management-event.ts";
import type { RootReadings } from "../../observe/metrics/metric-row.ts";
import type { Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import { authorityBinding } from "../authority/instance-authorities.ts";
import { kekOfText, resealText } from "../sealed-text.ts";
import { userBinding } from "../users/recorded-users.ts";

/** The KEKs of an instance by what they are for. */
export interface KekRoles {
  /** Undefined while no KEK is wrapped by every region. */
  readonly seals: WrappedKek | undefined;
  /** Made later, and not wrapped by every region yet. */
  readonly waiting: readonly WrappedKek[];
  /** Made earlier, and still wrapped: records may need them. */
  readonly older: readonly WrappedKek[];
  /** Made earlier, and removed: no record should need them. */
  readonly removed: readonly WrappedKek[];
}

export interface RekeyOptions {
  readonly region: string;
  readonly node: string;
  /** Regions that are not retired, this one included. */
  readonly required: () => readonly string[];
  readonly own: Pick<OwnStore, "quarantined">;
  readonly store: Pick<ObjectStore, "read" | "commit">;
  /** The replication id that a region's store has now. Rejects with `StoreUnavailable` if the region cannot be asked. */
  readonly storeOf: (region: string) => Promise<string>;
  readonly view: Pick<SystemView, "all" | "of" | "record" | "take">;
  readonly records: Pick<Records, "change">;
  readonly keyRing: Pick<InstanceKeyRing, "open" | "reseal" | "makeWithheld">;
  /** Instances that have had keys which can be restored, since this node leads. */
  readonly restorable: ReadonlySet<string>;
  readonly reseal: Pick<Reseal, "run" | "progressOf">;
  readonly clock: Pick<Clock, "wallMs" | "monotonicMs">;
  readonly requestId: () => string;
  /** How long nothing has needed an older KEK before it is removed; a day unless given. */
  readonly keepMs?: number;
}

const everyMs = 1_000;
/** Longer than a backup takes: one that has a record under an older KEK has that KEK too. */
const keepDefaultMs = 86_400_000;
/** How long progress is not written again, unless something begins or ends; and until a failed try is made again. */
const tellAgainMs = 10_000;

interface Known {
  readonly kek: string;
  /** What an earlier leader wrote; undefined once this one has met something that needed an older KEK. */
  earlierMs: number | undefined;
  /** When a password or an authority's key last needed one: wall clock. */
  textsMs: number;
}

/**
 * Carries out rekeys in the region's own store: records, passwords and authorities come under the KEK that seals now, that
 * KEK's record says how far it is, and a KEK that no region needs any more is removed.
 */
export class Rekey implements Duty {
  readonly name = "rekey";
  readonly everyMs = everyMs;
  readonly #options: RekeyOptions;
  /** By instance, what this leader knows of the time since when nothing needed an older KEK. */
  readonly #known = new Map<string, Known>();
  /** By name, a value and the monotonic time at which this leader first saw it. */
  readonly #seen = new Map<string, { readonly value: unknown; readonly atMs: number }>();
  #epoch: number | undefined;
  /** No KEK that withholds is made before this time of the monotonic clock: the last try failed. */
  #makeMs = Number.NEGATIVE_INFINITY;

  constructor(options: RekeyOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { view, reseal, required } = this.#options;
    await this.#makeWithheld(context);
    const wanted = rekeyings(view, required());
    if (wanted.size === 0) return { done: 0, left: 0 };
    if (this.#epoch !== context.epoch) {
      this.#known.clear();
      this.#seen.clear();
    }
    this.#epoch = context.epoch;
    let failure: unknown;
    const total = { done: 0, left: 0 };
    const note = ({ done, left }: DutyResult): void => {
      total.done += done;
      total.left += left;
    };
    note(
      await reseal.run(context).catch((error: unknown) => {
        if (!(error instanceof KeyRingUnavailable)) throw error;
        failure = error;
        return { done: 0, left: 1 };
      }),
    );
    const quarantined = await this.#options.own.quarantined();
    for (const [instance, rekeying] of wanted) {
      if (!context.active()) return total;
      if (rekeying.older.size === 0) continue;
      const texts = await this.#texts(instance, rekeying);
      note(texts);
      // An untold record may say that nothing needs an older KEK although something does.
      if (!(await this.#tell(instance, texts, quarantined))) continue;
      note({ done: await this.#removeUnneeded(instance, context), left: 0 });
    }
    if (failure !== undefined && total.done === 0) throw failure;
    return total;
  }

  /**
   * Makes the KEK for destroyed material where an instance needs one: its first, and another one after each rekey, since
   * who knew the KEK that is replaced may know this one too.
   */
  async #makeWithheld({ active }: DutyContext): Promise<void> {
    const { region, required, view, keyRing, clock } = this.#options;
    // One leader is enough.
    if (required().some((other) => other < region) || clock.monotonicMs() < this.#makeMs) return;
    for (const instance of instancesWithKeks(view)) {
      const afterMs = this.#lackingSince(instance);
      if (afterMs === undefined || !active()) continue;
      try {
        await keyRing.makeWithheld(instance, afterMs);
      } catch (error) {
        // A region may be out, or the root of trust closed: until then material stays under the KEK that seals.
        if (!isExpected(error)) throw error;
        this.#makeMs = clock.monotonicMs() + tellAgainMs;
        if (error instanceof StoreUnavailable) return;
      }
    }
  }

  /** When the KEK that seals was made, if an instance needs one that withholds and was made later. */
  #lackingSince(instance: string): number | undefined {
    const { required, view, restorable } = this.#options;
    const afterMs = rolesOf(view, instance, required()).seals?.createdMs;
    const { seals, waiting } = withheldOf(view, instance, required());
    if (afterMs === undefined || (!seals && !restorable.has(instance))) return undefined;
    const all = [...(seals ? [seals] : []), ...waiting];
    return all.some(({ createdMs }) => createdMs > afterMs) ? undefined : afterMs;
  }

  /**
   * Re-seals passwords of users and keys of authorities. Both regions write the same, as if right after the text that it
   * replaces: a password that was set or removed in the other region meanwhile counts more.
   */
  async #texts(instance: string, { kek, older }: Rekeying): Promise<DutyResult> {
    const { view, records, keyRing } = this.#options;
    const change = <Kind extends "User" | "Authority">(
      { type, id }: SystemRecord<Kind>,
      edit: (now: SystemRecord<Kind>) => FieldChanges<NoInfer<Kind>> | undefined,
    ) => records.change(type, id, edit, [], { sameMeaning: true });
    const users = [...view.of("User", instance).values()].map((user) => ({
      sealed: user.hash,
      binding: userBinding(instance, user.name),
      write: (before: string, hash: string) =>
        change(user, (now) => (now.hash === before ? { hash } : undefined)),
    }));
    const authorities = [...view.of("Authority", instance).values()].map((authority) => ({
      sealed: authority.key,
      binding: authorityBinding(instance, authority.id),
      write: (before: string, key: string) =>
        change(authority, (now) => (now.key === before ? { key } : undefined)),
    }));
    const result = { done: 0, left: 0 };
    for (const { sealed, binding, write } of [...users, ...authorities]) {
      if (sealed === undefined || !older.has(kekOfText(sealed) ?? "")) continue;
      try {
        await write(sealed, await resealText(keyRing, binding, sealed, kek));
        result.done += 1;
      } catch (error) {
        if (!isExpected(error)) throw error;
        result.left += 1;
      }
    }
    return result;
  }

  /** Writes into the KEK's record how far this region is: when that begins or ends, and from time to time. False if it cannot. */
  async #tell(instance: string, texts: DutyResult, quarantined: number): Promise<boolean> {
    const { region, reseal, view, records, clock } = this.#options;
    const progress = reseal.progressOf(instance);
    const record = progress && view.of("Kek", instance).get(progress.kek);
    if (record === undefined || progress === undefined) return false;
    const { kek, withheld, store, resealed, left: unsealed, reason } = progress;
    const told = record.rekey[region];
    const left = unsealed + texts.left + texts.done;
    const since = this.#since(instance, progress, texts, told);
    const sinceMs = left > 0 ? undefined : since;
    const state: RekeyState = {
      store,
      resealed: Math.max(resealed, told?.resealed ?? 0),
      left,
      quarantined,
      reason,
      atMs: clock.wallMs(),
      ...(sinceMs !== undefined && { sinceMs }),
      ...(withheld !== undefined && { withheld }),
    };
    if (told !== undefined && !isNews(told, state)) return true;
    return await orFalse(async () => {
      await records.change("Kek", kek, () => ({ rekey: { [region]: state } }), []);
      return true;
    });
  }

  /** What an earlier leader knew counts as long as this one meets nothing that needs an older KEK. */
  #since(
    instance: string,
    { kek, met, sinceMs }: ResealProgress,
    texts: DutyResult,
    told: RekeyState | undefined,
  ): number | undefined {
    let known = this.#known.get(instance);
    if (known?.kek !== kek) {
      known = { kek, earlierMs: told?.sinceMs, textsMs: 0 };
      this.#known.set(instance, known);
    }
    if (texts.done + texts.left > 0) known.textsMs = this.#options.clock.wallMs();
    if (met || known.textsMs > 0) known.earlierMs = undefined;
    if (sinceMs === undefined) return undefined;
    return known.earlierMs ?? Math.max(sinceMs, known.textsMs);
  }

  /** Removes, within the term, the wraps of older KEKs that no region has needed for long; returns how many KEKs lost them. */
  async #removeUnneeded(instance: string, { active }: DutyContext): Promise<number> {
    const { region, required, view, keepMs = keepDefaultMs } = this.#options;
    // One leader is enough; where that one is retired, its wraps keep the KEK anyway.
    if (required().some((other) => other < region)) return 0;
    const { seals, older: olderSealing } = rolesOf(view, instance, required());
    const withheld = withheldOf(view, instance, required());
    const older = [...olderSealing, ...withheld.older];
    const states = seals && view.of("Kek", instance).get(seals.id)?.rekey;
    if (seals === undefined || states === undefined) return 0;
    // Regions' clocks may differ: what counts is for how long this leader has seen the same.
    const quietMs = (one: string): number => {
      const { sinceMs, left = 1, quarantined = 1, withheld: under } = states[one] ?? {};
      // What a region said before it knew of the newest KEK that withholds says nothing of the one before that.
      if (sinceMs === undefined || under !== withheld.seals?.id) return -1;
      const ms = this.#sameMs(`${instance} ${one}`, `${seals.id} ${sinceMs}`);
      return left > 0 || quarantined > 0 ? -1 : ms;
    };
    let done = 0;
    for (const kek of older) {
      const record = view.record(kek.id);
      const writtenMs = record === undefined ? 0 : kekWrittenMs(record);
      const regions = new Set([...required(), ...kek.wraps.map((wrap) => wrap.region)]);
      const times = [...[...regions].map(quietMs), this.#sameMs(kek.id, writtenMs)];
      if (record === undefined || !times.every((ms) => ms >= keepMs)) continue;
      const sameStores = await this.#areSame([...regions].map((one) => [one, states[one]?.store]));
      if (sameStores && active() && (await this.#remove(instance, kek.id, writtenMs))) done += 1;
    }
    return done;
  }

  /** For how long this leader has seen a value under a name, by the monotonic clock. */
  #sameMs(name: string, value: unknown): number {
    const nowMs = this.#options.clock.monotonicMs();
    const seen = this.#seen.get(name);
    if (seen?.value === value) return nowMs - (seen?.atMs ?? nowMs);
    this.#seen.set(name, { value, atMs: nowMs });
    return 0;
  }

  /** Whether each region has the data that its leader looked at: a store that went back may have older records again. */
  async #areSame(
    stores: readonly (readonly [region: string, store: string | undefined])[],
  ): Promise<boolean> {
    return await orFalse(async () => {
      for (const [region, store] of stores) {
        if ((await this.#options.storeOf(region)) !== store) return false;
      }
      return true;
    });
  }

  /** Every region agrees. A backup that was restored meanwhile has written the wraps anew, which keeps them. */
  async #remove(instance: string, id: string, writtenMs: number): Promise<boolean> {
    const { store, view, clock, region, node, requestId } = this.#options;
    const now = { us: Math.floor(clock.wallMs() * 1_000), region };
    const actor: Actor = { principal: { name: node, id: node }, requestId: requestId() };
    const evidence = managementEvents(
      actor,
      "kek.delete",
      { id, instance },
      { timeMs: clock.wallMs() },
    );
    return await orFalse(async () => {
      const { record, outcome } = await updateRecord(
        store,
        id,
        (before) =>
          before === undefined || kekWrittenMs(before.object) !== writtenMs
            ? undefined
            : withoutKekWraps(before.object, now),
        { what: `key-encryption key ${id}`, evidence, commit: { agreed: true } },
      );
      if (record === undefined || outcome === undefined) return false;
      view.take([record]);
      return true;
    });
  }
}

/**
 * What each instance's records are to be re-sealed under; instances that never had an older KEK and withhold nothing are
 * left out. Removed KEKs stay in it: a store that went back to an earlier time may have records under them.
 */
export function rekeyings(
  view: Pick<SystemView, "all" | "of">,
  required: readonly string[],
): ReadonlyMap<string, Rekeying> {
  const wanted = new Map<string, Rekeying>();
  for (const instance of instancesWithKeks(view)) {
    if (view.of("Kek", instance).size < 2) continue;
    const { seals, older, removed } = rolesOf(view, instance, required);
    const withheld = withheldOf(view, instance, required);
    const all = [...older, ...removed, ...withheld.older, ...withheld.removed];
    if (seals === undefined || (all.length === 0 && withheld.seals === undefined)) continue;
    const ids = new Set(all.map(({ id }) => id));
    wanted.set(instance, { kek: seals.id, older: ids, withheld: withheld.seals?.id });
  }
  return wanted;
}

/** Instances that have KEKs and are not being deleted. */
function instancesWithKeks(view: Pick<SystemView, "all" | "of">): ReadonlySet<string> {
  const instances = new Set(view.all("Kek").map(({ instance }) => instance));
  for (const { instance, destroyed, status } of view.all("Instance")) {
    if (destroyed !== undefined || status === "Removing") instances.delete(instance);
  }
  return instances;
}

/** The KEKs of an instance that seal for clients, or did, as this node knows them. */
export function rolesOf(
  view: Pick<SystemView, "of">,
  instance: string,
  required: readonly string[],
): KekRoles {
  return rolesAmong(view, instance, (keks) => sealingKek(keks, required), false);
}

/** The same of the KEKs under which destroyed material is withheld. */
export function withheldOf(
  view: Pick<SystemView, "of">,
  instance: string,
  required: readonly string[],
): KekRoles {
  return rolesAmong(view, instance, (keks) => withheldKek(keks, required), true);
}

function rolesAmong(
  view: Pick<SystemView, "of">,
  instance: string,
  chosen: (keks: readonly WrappedKek[]) => WrappedKek | undefined,
  withheld: boolean,
): KekRoles {
  const all = [...view.of("Kek", instance).values()]
    .map((record) => wrappedKek(record).kek)
    .filter(({ id }) => isWithheldKek(id) === withheld);
  const keks = all.filter(({ wraps }) => wraps.length > 0);
  const removed = all.filter(({ wraps }) => wraps.length === 0);
  const seals = chosen(keks);
  if (seals === undefined) return { seals, waiting: keks, older: [], removed };
  const others = keks.filter(({ id }) => id !== seals.id);
  return {
    seals,
    waiting: others.filter((kek) => newestFirst(kek, seals) < 0),
    older: others.filter((kek) => newestFirst(kek, seals) > 0),
    removed: removed.filter((kek) => newestFirst(kek, seals) > 0),
  };
}

/** The KEK that seals for an instance, and how far each region's records are under it. */
export function rekeyOf(
  view: Pick<SystemView, "of">,
  instance: string,
  required: readonly string[],
): { readonly kek: string; readonly states: SystemRecord<"Kek">["rekey"] } {
  const { seals } = rolesOf(view, instance, required);
  const record = seals && view.of("Kek", instance).get(seals.id);
  return { kek: seals?.id ?? "", states: record?.rekey ?? {} };
}

/** How often the KEK that seals for an instance has sealed in all regions, as its record says. */
export function sealsUnder({ seals }: Pick<SystemRecord<"Kek">, "seals">): number {
  return Object.values(seals).reduce((sum: number, count) => sum + (count ?? 0), 0);
}

/** The readings of KEKs, from what this node has seen of their records. */
export function rekeyReadings({
  region,
  view,
  required,
}: {
  readonly region: string;
  readonly view: Pick<SystemView, "all" | "of">;
  readonly required: () => readonly string[];
}): Pick<RootReadings, "kekSeals" | "rekeyLeft"> {
  return {
    kekSeals: () =>
      view.all("Instance").reduce((most, { instance, destroyed }) => {
        if (destroyed !== undefined) return most;
        const { seals } = rolesOf(view, instance, required());
        const record = seals && view.of("Kek", instance).get(seals.id);
        return record === undefined ? most : Math.max(most, sealsUnder(record));
      }, 0),
    rekeyLeft: () =>
      view.all("Instance").reduce((sum, { instance, destroyed }) => {
        if (destroyed !== undefined) return sum;
        return sum + (rekeyOf(view, instance, required()).states[region]?.left ?? 0);
      }, 0),
  };
}

/**
 * Adds what this node has counted to the KEKs' records. What cannot be written now is counted again later. Rejects, after all
 * others are added, for a failure that is not expected.
 */
export async function addSeals(
  seals: SealCounts,
  records: Pick<Records, "change">,
  region: string,
): Promise<void> {
  const failures: unknown[] = [];
  for (const taken of seals.take()) {
    const { id, count } = taken;
    const add = ({ seals: before }: SystemRecord<"Kek">) => ({
      seals: { [region]: (before[region] ?? 0) + count },
    });
    await records.change("Kek", id, add, []).catch((error: unknown) => {
      seals.count(taken, count);
      if (!isExpected(error)) failures.push(error);
    });
  }
  if (failures.length > 0) throw failures[0];
}

function isNews(told: RekeyState, now: RekeyState): boolean {
  if (told.sinceMs !== now.sinceMs || told.store !== now.store) return true;
  if (told.withheld !== now.withheld) return true;
  if (told.reason !== now.reason || told.quarantined > 0 !== now.quarantined > 0) return true;
  const moved = told.resealed !== now.resealed || told.left !== now.left;
  return moved && now.atMs - told.atMs >= tellAgainMs;
}

/** False where work fails as expected, since a region may be out: it is tried again. */
async function orFalse(work: () => Promise<boolean>): Promise<boolean> {
  try {
    return await work();
  } catch (error) {
    if (isExpected(error)) return false;
    throw error;
  }
}

function isExpected(error: unknown): boolean {
  return (
    error instanceof ManagementError ||
    error instanceof KeyRingUnavailable ||
    error instanceof RootOfTrustError ||
    error instanceof SealBroken ||
    error instanceof StoreUnavailable
  );
}
