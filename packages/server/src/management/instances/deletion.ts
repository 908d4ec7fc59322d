import { ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type Fact,
  type Ids,
  isCorrupt,
  type KindName,
  type ObjectStore,
  type Removal,
  type recordKinds,
  type State,
  type StateCountStore,
  type StateCounts,
  StoreUnavailable,
  type SystemRecord,
  systemInstance,
  updateRecord,
  withoutKekWraps,
} from "@holdfast/engine";
import { stateText } from "@holdfast/kmip";
import type { ManagementAction } from "../../audit/actions.ts";
import { type Actor, managementEvents } from "../../audit/management-event.ts";
import type { PeerCommands } from "../../records/peer-commands.ts";
import { instanceRecordId, type Records } from "../../records/records.ts";
import { refusalOf } from "../../records/refusals.ts";
import type { SystemView } from "../../records/system-view.ts";
import {
  countRestorable,
  type Erased,
  type EraseOptions,
  eraseObjects,
  isUnproven,
} from "./erase-objects.ts";
import type { StatusFollower } from "./status-follower.ts";

export interface DeletionOptions {
  readonly region: string;
  readonly own: EraseOptions["own"] & Pick<StateCountStore, "counts">;
  readonly store: Pick<ObjectStore, "read" | "commit">;
  readonly view: Pick<SystemView, "of" | "refresh" | "take">;
  readonly records: Pick<Records, "change" | "destroy" | "leaveEvidence">;
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly statuses: Pick<StatusFollower, "follow">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly ids: Pick<Ids, "uuid">;
  /** Called with each step before it is taken; a test makes it fail there. */
  readonly step?: (step: DeletionStep) => void;
}

/** The steps of a deletion, in their order. */
export const deletionSteps = [
  "reserve",
  "hold",
  "recount",
  "decide",
  "certificates",
  "wraps",
  "fact",
  "statuses",
  "objects",
] as const;
/** A step of a deletion. */
export type DeletionStep = (typeof deletionSteps)[number];

/** By region, how many objects are in each state that has material; `Restorable` ones are destroyed, not for good yet. */
export type KeyCounts = Readonly<
  Record<string, Readonly<Partial<Record<State | "Restorable", number>>>>
>;

/** States of objects that have material, which becomes unreadable for ever with the deletion of the instance. */
const readableStates: readonly (State | "Restorable")[] = [
  "PreActive",
  "Active",
  "Deactivated",
  "Compromised",
  "Restorable",
];

/** How many system records were deleted, and how many were left since they do not prove themselves in any region. */
export type ErasedRecords = Pick<Erased, "done" | "unproven">;

/** Records that are deleted at the same time: each waits for both regions. */
const atOnce = 32;
type Kinds = typeof recordKinds;
/** Kinds of records that are deleted with their instance; of a KEK the wraps are removed. */
type Belonging = {
  [Kind in KindName]: Kinds[Kind] extends { belongsTo: "instance"; deletable: true } ? Kind : never;
}[KindName];

/** The audit action for the deletion of each. */
const belongings = {
  Certificate: "certificate.delete",
  User: "user.delete",
  Authority: "authority.delete",
} as const satisfies Record<Belonging, ManagementAction>;

/**
 * Deletes an instance in steps. A node may crash between any two of them: a leader then continues from the phase in the
 * record. Until `decided` the deletion may be dropped; from then on it must be finished.
 */
export class Deletion {
  readonly #options: DeletionOptions;

  constructor(options: DeletionOptions) {
    this.#options = options;
  }

  /**
   * Reserves the instance in every region, counts again, and decides. Rejects with a `ManagementError` where it is not
   * deleted, also where it is no longer the version `ifMatch`; the instance is then open again, unless that cannot be
   * written now.
   */
  async decide(
    entry: SystemRecord<"Instance">,
    force: boolean,
    actor: Actor,
    ifMatch?: string,
  ): Promise<void> {
    const removal = await this.#reserve(entry, force, actor, ifMatch);
    try {
      await this.#settle(entry.instance, removal, actor);
    } catch (error) {
      if (isKeysRemain(error)) throw error;
      const dropped = await this.drop(entry.instance, removal).then(
        () => true,
        () => false,
      );
      if (dropped || !(error instanceof ManagementError)) throw error;
      const detail = `${error.message}; ${entry.name} stays closed until a leader has dropped or finished its deletion`;
      throw new ManagementError(error.code, detail);
    }
  }

  /** Continues an abandoned deletion: finishes it, or drops it where keys remain. */
  async resume(instance: string, removal: Removal): Promise<void> {
    const actor = leaderFor(removal);
    if (removal.phase === "reserved") {
      try {
        await this.#settle(instance, removal, actor);
      } catch (error) {
        if (isKeysRemain(error)) return;
        throw error;
      }
    }
    await this.finish(instance, removal);
  }

  /** Everything after the decision, up to the fact: access, keys, and the mark that is kept for ever. */
  async finish(instance: string, removal: Removal): Promise<void> {
    const actor = leaderFor(removal);
    await this.#options.view.refresh().catch(() => undefined);
    this.#step("certificates");
    await this.eraseBelongings(instance, actor);
    this.#step("wraps");
    await this.eraseWraps(instance);
    await this.#forgetRoots(instance);
    this.#step("fact");
    await this.#mark(instance, removal, actor);
    this.#step("statuses");
    await this.#close(instance);
  }

  /** Puts the instance back as it was, unless the deletion is decided by now. */
  async drop(instance: string, removal: Removal): Promise<void> {
    await this.#options.records.change(
      "Instance",
      instanceRecordId(instance),
      ({ removal: now, removedFrom }) => {
        if (now?.id !== removal.id || now.phase !== "reserved") return undefined;
        return { status: removedFrom, removal: undefined, removedFrom: undefined };
      },
      [],
      { agreed: true },
    );
    const ask = this.#options.commands.others.map((other) => this.#follow(other, instance));
    await Promise.all([this.#options.statuses.follow(instance), ...ask]);
  }

  /** How many objects each region's own store has that are not destroyed, or can be restored. */
  async remaining(instance: string): Promise<KeyCounts> {
    const { region, commands } = this.#options;
    const count = async (of: string) => {
      const states =
        of === region
          ? await this.#counts(instance)
          : (await commands.ask(of, "countStates", { instance })).states;
      return [of, remainingIn(of, states)] as const;
    };
    // All together: a refusal that comes while nobody waits for it would end the process.
    return Object.fromEntries(await Promise.all([region, ...commands.others].map(count)));
  }

  /**
   * Deletes the records that give access to a deleted instance. Those that no region can prove give none: they are left.
   */
  async eraseBelongings(instance: string, actor: Actor): Promise<ErasedRecords> {
    const { view, records, store, clock } = this.#options;
    const kinds = Object.keys(belongings) as Belonging[];
    const found = kinds.flatMap((kind): SystemRecord<Belonging>[] => [
      ...view.of<Belonging>(kind, instance).values(),
    ]);
    let unproven = 0;
    for (let at = 0; at < found.length; at += atOnce) {
      const some = found.slice(at, at + atOnce).map(async (record) => {
        const { type, id } = record;
        const target = { id, name: type === "Certificate" ? record.name : "", instance };
        const events = managementEvents(actor, belongings[type], target, {
          timeMs: clock.wallMs(),
        });
        try {
          await records.destroy(type, id, events).catch(unlessGone);
        } catch (error) {
          if (!(await isUnproven(store, systemInstance, id))) throw error;
          unproven += 1;
        }
      });
      await Promise.all(some);
    }
    return { done: found.length - unproven, unproven };
  }

  /** Removes every region's wraps of the instance's KEKs. A KEK that no region can prove is used by none: it is left. */
  async eraseWraps(instance: string): Promise<ErasedRecords> {
    let [done, unproven] = [0, 0];
    for (const { id, wraps } of this.#options.view.of("Kek", instance).values()) {
      if (Object.keys(wraps).length === 0) continue;
      try {
        if (await this.#eraseWrap(id)) done += 1;
      } catch (error) {
        if (!isCorrupt(error)) throw error;
        unproven += 1;
      }
    }
    return { done, unproven };
  }

  /** Destroys the objects of a deleted instance in the own store. */
  async eraseObjects(
    instance: string,
    fact: Fact,
    limit: number,
    active: () => boolean,
  ): Promise<Erased> {
    this.#step("objects");
    const { own, store } = this.#options;
    return await eraseObjects(instance, fact, { own, store, active, limit });
  }

  /**
   * Leaves evidence that records of a deleted instance could not be proven. Rejects unless every region says that the
   * instance is deleted: one that cannot be reached may have a copy.
   */
  async noteUnproven(instance: string, unproven: number, actor: Actor): Promise<void> {
    const { records, clock } = this.#options;
    await this.#close(instance);
    const target = { id: instance, instance };
    const detail = { timeMs: clock.wallMs(), detail: { unproven } };
    await records.leaveEvidence(managementEvents(actor, "instance.delete", target, detail));
  }

  async #reserve(
    entry: SystemRecord<"Instance">,
    force: boolean,
    actor: Actor,
    ifMatch: string | undefined,
  ): Promise<Removal> {
    const { records, clock, ids } = this.#options;
    const { principal } = actor;
    const removal: Removal = {
      id: ids.uuid(),
      phase: "reserved",
      force,
      atMs: clock.wallMs(),
      by: principal.name,
      byId: principal.id,
    };
    this.#step("reserve");
    await records.change(
      "Instance",
      instanceRecordId(entry.instance),
      ({ status }) => {
        if (status === "Removing") {
          throw new ManagementError("wrongState", `${entry.name} is already being deleted`);
        }
        return { status: "Removing", removedFrom: status, removal } as const;
      },
      [],
      { agreed: true, ifMatch },
    );
    return removal;
  }

  /** From the reservation to the decision. */
  async #settle(instance: string, removal: Removal, actor: Actor): Promise<void> {
    this.#step("hold");
    await this.#close(instance);
    this.#step("recount");
    if (!removal.force) await this.#recount(instance, removal);
    this.#step("decide");
    await this.#decide(instance, removal, actor);
  }

  /** Nobody can create objects any more, so this count is final. */
  async #recount(instance: string, removal: Removal): Promise<void> {
    const remaining = await this.remaining(instance);
    if (!hasKeys(remaining)) return;
    await this.drop(instance, removal);
    throw keysRemain(remaining);
  }

  async #decide(instance: string, removal: Removal, actor: Actor): Promise<void> {
    const { records, clock } = this.#options;
    const events = managementEvents(
      actor,
      "instance.wipe",
      { id: instance, instance },
      { timeMs: clock.wallMs(), detail: { force: String(removal.force) } },
    );
    await records.change(
      "Instance",
      instanceRecordId(instance),
      ({ removal: now }) => {
        if (now?.id !== removal.id) {
          throw new ManagementError("conflict", "the deletion was dropped meanwhile: try again");
        }
        if (now.phase === "decided") return undefined;
        return { removal: { ...now, phase: "decided" as const } };
      },
      events,
      { agreed: true },
    );
  }

  /** The mark that is kept for ever must hold no credentials of key managers, not even sealed ones. */
  async #forgetRoots(instance: string): Promise<void> {
    await this.#options.records
      .change(
        "Instance",
        instanceRecordId(instance),
        ({ root, rootNext, rootLeft }) => {
          const none = [root, rootNext, rootLeft].every((each) => Object.keys(each).length === 0);
          if (none) return undefined;
          return { root: without(root), rootNext: without(rootNext), rootLeft: without(rootLeft) };
        },
        [],
      )
      .catch(unlessGone);
  }

  async #mark(instance: string, removal: Removal, actor: Actor): Promise<void> {
    const { records, clock } = this.#options;
    const check = ({ removal: now }: SystemRecord<"Instance">): void => {
      if (now?.id === removal.id && now.phase === "decided") return;
      throw new ManagementError("conflict", "it is not being deleted");
    };
    const audit = managementEvents(
      actor,
      "instance.delete",
      { id: instance, instance },
      { timeMs: clock.wallMs() },
    );
    const id = instanceRecordId(instance);
    await records.destroy("Instance", id, audit, { agreed: true, check }).catch(unlessGone);
  }

  /** Every region's store refuses changes from now on, as the record in it says. */
  async #close(instance: string): Promise<void> {
    const { statuses, commands } = this.#options;
    const others = commands.others.map((other) => this.#follow(other, instance));
    await Promise.all([statuses.follow(instance).catch(refused), ...others]);
  }

  async #follow(other: string, instance: string): Promise<void> {
    await this.#options.commands.ask(other, "followInstance", { instance });
  }

  #counts(instance: string) {
    return keyCounts(this.#options.own, instance).catch(refused);
  }

  async #eraseWrap(id: string): Promise<boolean> {
    const { store, view, clock, region } = this.#options;
    const now = () => ({ us: Math.floor(clock.wallMs() * 1_000), region });
    const { record, outcome } = await updateRecord(
      store,
      id,
      (before) => before && withoutKekWraps(before.object, now()),
      { what: `key-encryption key ${id}` },
    );
    if (outcome === undefined || record === undefined) return false;
    view.take([record]);
    return true;
  }

  #step(step: DeletionStep): void {
    this.#options.step?.(step);
  }
}

/** An instance's objects by State, and how many of the destroyed ones can be restored; undefined as for `counts`. */
export async function keyCounts(
  own: DeletionOptions["own"],
  instance: string,
): Promise<(StateCounts & { readonly Restorable: number }) | undefined> {
  const states = await own.counts(instance);
  return states && { ...states, Restorable: await countRestorable(own, instance) };
}

function isKeysRemain(error: unknown): boolean {
  return error instanceof ManagementError && error.code === "keysRemain";
}

function remainingIn(
  region: string,
  states: Readonly<Record<string, number>> | undefined,
): KeyCounts[string] {
  if (states !== undefined) {
    const counts = readableStates.map((state) => [state, states[state] ?? 0] as const);
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }
  const detail = `region ${region} is still counting its keys: nothing was deleted; try again in a moment, or delete with force=true and name=NAME`;
  throw new ManagementError("storeUnavailable", detail);
}

/** Whether a store surely has no object of an instance that can still be read. */
export async function isEmptyIn(own: DeletionOptions["own"], instance: string): Promise<boolean> {
  const states = await keyCounts(own, instance);
  return states !== undefined && readableStates.every((state) => (states[state] ?? 0) === 0);
}

/** The changes that remove every entry of a keyed field. */
function without(field: Readonly<Record<string, unknown>>): Readonly<Record<string, undefined>> {
  return Object.fromEntries(Object.keys(field).map((key) => [key, undefined]));
}

/** Who a leader acts for. */
function leaderFor({ by, byId, id }: Removal): Actor {
  return { principal: { name: by, id: byId }, requestId: id };
}

/** Another node has deleted it already. */
function unlessGone(error: unknown): void {
  if (error instanceof ManagementError && error.code === "notFound") return;
  throw error;
}

function refused(error: unknown): never {
  throw error instanceof StoreUnavailable ? refusalOf(error) : error;
}

/** The refusal that says how many keys would become unreadable, in which state and where. */
export function keysRemain(remaining: KeyCounts): ManagementError {
  const regions = Object.entries(remaining).toSorted(([one], [other]) => (one < other ? -1 : 1));
  const told = regions.map(([region, states]) => {
    const counts = Object.entries(states).map(([state, count]) => `${count} ${toldState(state)}`);
    return `${counts.length === 0 ? "none" : counts.join(", ")} in region ${region}`;
  });
  // Both regions have a copy of each key.
  const most = readableStates.map((state) => {
    const counts = regions.map(([, states]) => states[state] ?? 0);
    return [state, Math.max(0, ...counts)] as const;
  });
  const states = Object.fromEntries(most.filter(([, count]) => count > 0));
  const detail = `keys that are not destroyed exist: ${told.join("; ")}; what is encrypted under them could never be decrypted again. Nothing was deleted: destroy them first, or delete with force=true and name=NAME`;
  return new ManagementError("keysRemain", detail, { states });
}

function toldState(state: string): string {
  return state === "Restorable" ? "that can still be restored" : stateText(state);
}

/** Whether any region has objects that are not destroyed, or not for good. */
export function hasKeys(remaining: KeyCounts): boolean {
  return Object.values(remaining).some((states) => Object.keys(states).length > 0);
}
