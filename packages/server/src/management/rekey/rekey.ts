import { ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type InstanceKeyRing,
  KeyRingUnavailable,
  kekWrittenMs,
  newestFirst,
  type ObjectStore,
  type OwnStore,
  type RekeyState,
  SealBroken,
  type SealCounts,
  StoreUnavailable,
  type SystemRecord,
  sealingKek,
  updateRecord,
  type WrappedKek,
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
import { instanceRecordId, type Records } from "../../records/records.ts";
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
}

export interface RekeyOptions {
  readonly region: string;
  readonly node: string;
  /** Regions that are not retired, this one included. */
  readonly required: () => readonly string[];
  readonly own: Pick<OwnStore, "quarantined">;
  readonly store: Pick<ObjectStore, "read" | "commit">;
  readonly view: Pick<SystemView, "all" | "of" | "get" | "refresh" | "take">;
  readonly records: Pick<Records, "change">;
  readonly keyRing: Pick<InstanceKeyRing, "open" | "reseal" | "newerSeal">;
  readonly reseal: Pick<Reseal, "run" | "progressOf">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly requestId: () => string;
  /** How long nothing has needed an older KEK before it is removed; a day unless given. */
  readonly keepMs?: number;
}

const everyMs = 1_000;
/** Longer than a backup takes: one that has a record under an older KEK has that KEK too. */
const keepDefaultMs = 86_400_000;
/** How long progress is not written again, unless something begins or ends. */
const tellAgainMs = 10_000;

/**
 * Carries out rekeys in the region's own store: records, passwords and authorities come under the KEK that seals now, the
 * instance's record says how far it is, and a KEK that no region needs any more is removed.
 */
export class Rekey implements Duty {
  readonly name = "rekey";
  readonly everyMs = everyMs;
  readonly #options: RekeyOptions;
  /** By instance: since when an earlier leader knew that nothing is left, and under which KEK. */
  readonly #earlier = new Map<string, Pick<RekeyState, "kek" | "sinceMs">>();

  constructor(options: RekeyOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const { view, reseal, required } = this.#options;
    const wanted = rekeyings(view, required());
    if (wanted.size === 0) return { done: 0, left: 0 };
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
      const texts = await this.#texts(instance, rekeying);
      note(texts);
      await this.#tell(instance, texts, quarantined);
      note({ done: await this.#removeUnneeded(instance), left: 0 });
    }
    if (failure !== undefined && total.done === 0) throw failure;
    return total;
  }

  /**
   * Re-seals passwords of users and keys of authorities. Both regions write the same, as if right after the text that it
   * replaces: a password that was set or removed in the other region meanwhile counts more.
   */
  async #texts(instance: string, { kek, older }: Rekeying): Promise<DutyResult> {
    const { view, records, keyRing } = this.#options;
    const users = [...view.of("User", instance).values()].map((user) => ({
      sealed: user.hash,
      binding: userBinding(instance, user.name),
      write: (before: string, hash: string) =>
        records.change(
          "User",
          user.id,
          ({ hash: now }) => (now === before ? { hash } : undefined),
          [],
          {
            sameMeaning: true,
          },
        ),
    }));
    const authorities = [...view.of("Authority", instance).values()].map(({ id, key: sealed }) => ({
      sealed,
      binding: authorityBinding(instance, id),
      write: (before: string, key: string) =>
        records.change(
          "Authority",
          id,
          ({ key: now }) => (now === before ? { key } : undefined),
          [],
          {
            sameMeaning: true,
          },
        ),
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

  /** Writes into the instance's record how far this region is: when that begins or ends, and from time to time. */
  async #tell(instance: string, texts: DutyResult, quarantined: number): Promise<void> {
    const { region, reseal, view, records, clock } = this.#options;
    const id = instanceRecordId(instance);
    const record = view.get("Instance", id);
    const progress = reseal.progressOf(instance);
    if (record === undefined || progress === undefined) return;
    const told = record.rekey[region];
    const same = told?.kek === progress.kek ? told : undefined;
    const left = progress.left + texts.left + texts.done;
    const atMs = clock.wallMs();
    const since = this.#since(instance, progress, same);
    const sinceMs = left > 0 ? undefined : since;
    const state: RekeyState = {
      kek: progress.kek,
      resealed: Math.max(progress.resealed, same?.resealed ?? 0),
      left,
      quarantined,
      reason: progress.reason,
      atMs,
      ...(sinceMs !== undefined && { sinceMs }),
    };
    if (same !== undefined && !isNews(same, state)) return;
    await records
      .change("Instance", id, () => ({ rekey: { [region]: state } }), [])
      .catch((error: unknown) => {
        if (!isExpected(error)) throw error;
      });
  }

  /** Where this leader found nothing to do, what an earlier one knew still counts. */
  #since(
    instance: string,
    { kek, resealed, sinceMs }: ResealProgress,
    told: RekeyState | undefined,
  ): number | undefined {
    if (this.#earlier.get(instance)?.kek !== kek) {
      this.#earlier.set(instance, { kek, sinceMs: told?.sinceMs });
    }
    const earlier = this.#earlier.get(instance)?.sinceMs;
    return resealed === 0 && sinceMs !== undefined ? (earlier ?? sinceMs) : sinceMs;
  }

  /** Removes the wraps of older KEKs that no region has needed for long; returns how many KEKs lost them. */
  async #removeUnneeded(instance: string): Promise<number> {
    const { region, required, view, clock, keepMs = keepDefaultMs } = this.#options;
    // One leader is enough; where that one is retired, its wraps keep the KEK anyway.
    if (required().some((other) => other < region)) return 0;
    const { seals, older } = rolesOf(view, instance, required());
    const record = view.get("Instance", instanceRecordId(instance));
    if (seals === undefined || record === undefined || record.status === "Removing") return 0;
    const untilMs = clock.wallMs() - keepMs;
    let done = 0;
    for (const kek of older) {
      const regions = new Set([...required(), ...kek.wraps.map((wrap) => wrap.region)]);
      const isUnneeded = [...regions].every((one) => {
        const state = record.rekey[one];
        if (state?.kek !== seals.id || state.left > 0 || state.quarantined > 0) return false;
        return state.sinceMs !== undefined && state.sinceMs <= untilMs;
      });
      if (isUnneeded && (await this.#remove(instance, kek.id, untilMs))) done += 1;
    }
    return done;
  }

  /** Every region agrees. A backup that was restored meanwhile has written the wraps anew, which keeps them. */
  async #remove(instance: string, id: string, untilMs: number): Promise<boolean> {
    const { store, view, clock, region, node, requestId } = this.#options;
    const now = { us: Math.floor(clock.wallMs() * 1_000), region };
    const actor: Actor = { principal: { name: node, id: node }, requestId: requestId() };
    const evidence = managementEvents(
      actor,
      "kek.delete",
      { id, instance },
      { timeMs: clock.wallMs() },
    );
    try {
      const { record, outcome } = await updateRecord(
        store,
        id,
        (before) =>
          before === undefined || kekWrittenMs(before.object) > untilMs
            ? undefined
            : withoutKekWraps(before.object, now),
        { what: `key-encryption key ${id}`, evidence, commit: { agreed: true } },
      );
      if (record === undefined || outcome === undefined) return false;
      view.take([record]);
      return true;
    } catch (error) {
      // It is tried again: a region may be out.
      if (isExpected(error)) return false;
      throw error;
    }
  }
}

/** What each instance's records are to be re-sealed under; instances without an older KEK are left out. */
export function rekeyings(
  view: Pick<SystemView, "all" | "of">,
  required: readonly string[],
): ReadonlyMap<string, Rekeying> {
  const wanted = new Map<string, Rekeying>();
  for (const { instance, destroyed, status } of view.all("Instance")) {
    if (destroyed !== undefined || status === "Removing") continue;
    if (view.of("Kek", instance).size < 2) continue;
    const { seals, older } = rolesOf(view, instance, required);
    if (seals === undefined || older.length === 0) continue;
    wanted.set(instance, { kek: seals.id, older: new Set(older.map(({ id }) => id)) });
  }
  return wanted;
}

/** The KEKs of an instance as this node knows them; removed ones are left out. */
export function rolesOf(
  view: Pick<SystemView, "of">,
  instance: string,
  required: readonly string[],
): KekRoles {
  const keks = [...view.of("Kek", instance).values()]
    .map((record) => wrappedKek(record).kek)
    .filter(({ wraps }) => wraps.length > 0);
  const seals = sealingKek(keks, required);
  if (seals === undefined) return { seals, waiting: keks, older: [] };
  const others = keks.filter(({ id }) => id !== seals.id);
  return {
    seals,
    waiting: others.filter((kek) => newestFirst(kek, seals) < 0),
    older: others.filter((kek) => newestFirst(kek, seals) > 0),
  };
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
      view.all("Instance").reduce((sum, { rekey, destroyed }) => {
        return destroyed === undefined ? sum + (rekey[region]?.left ?? 0) : sum;
      }, 0),
  };
}

/** Adds what this node has counted to the KEKs' records; what cannot be written now is counted again later. */
export async function addSeals(
  seals: SealCounts,
  records: Pick<Records, "change">,
  region: string,
): Promise<void> {
  for (const taken of seals.take()) {
    const { id, count } = taken;
    const add = ({ seals: before }: SystemRecord<"Kek">) => ({
      seals: { [region]: (before[region] ?? 0) + count },
    });
    await records.change("Kek", id, add, []).catch((error: unknown) => {
      seals.count(taken, count);
      if (!isExpected(error)) throw error;
    });
  }
}

function isNews(told: RekeyState, now: RekeyState): boolean {
  if ((told.sinceMs === undefined) !== (now.sinceMs === undefined)) return true;
  if (told.reason !== now.reason || told.quarantined > 0 !== now.quarantined > 0) return true;
  const moved = told.resealed !== now.resealed || told.left !== now.left;
  return moved && now.atMs - told.atMs >= tellAgainMs;
}

function isExpected(error: unknown): boolean {
  return (
    error instanceof ManagementError ||
    error instanceof KeyRingUnavailable ||
    error instanceof SealBroken ||
    error instanceof StoreUnavailable
  );
}
