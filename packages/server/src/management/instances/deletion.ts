import { ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type Fact,
  type Ids,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  readDocument,
  readKekRecord,
  type State,
  type StateCounts,
  StoreUnavailable,
  systemTypes,
  updateRecord,
  withoutKekWraps,
} from "@holdfast/engine";
import { stateText } from "@holdfast/kmip";
import { type Actor, managementEvents } from "../../audit/management-event.ts";
import type { PeerCommands } from "../../records/peer-commands.ts";
import { instanceRecordId, type Records } from "../../records/records.ts";
import { refusalOf } from "../../records/refusals.ts";
import type { SystemView } from "../../records/system-view.ts";
import { type Erased, type EraseOptions, eraseObjects } from "./erase-objects.ts";
import { type InstanceEntry, type Removal, readInstance, removalText } from "./instance-entry.ts";
import type { StatusFollower } from "./status-follower.ts";

export interface DeletionOptions {
  readonly region: string;
  readonly own: EraseOptions["own"] & Pick<OwnStore, "counts">;
  readonly store: Pick<ObjectStore, "read" | "commit">;
  readonly view: Pick<SystemView, "get" | "records" | "refresh" | "take">;
  readonly records: Pick<Records, "change" | "destroy">;
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly statuses: Pick<StatusFollower, "follow">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly ids: Pick<Ids, "uuid">;
  /** Told of each step before it is taken; a test makes it fail there. */
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
/** One of them. */
export type DeletionStep = (typeof deletionSteps)[number];

/** By region, how many objects are in each state that still opens data. */
export type KeyCounts = Readonly<Record<string, Readonly<Partial<Record<State, number>>>>>;

/** States of objects whose material is there: deleting the instance makes it unreadable for ever. */
const readableStates: readonly State[] = ["PreActive", "Active", "Deactivated", "Compromised"];

/** Records that are deleted at the same time: each waits for both regions. */
const atOnce = 32;
/** What of an instance goes with it, besides its KEKs. */
const belongings: ReadonlySet<number> = new Set([
  systemTypes.Certificate,
  systemTypes.User,
  systemTypes.Authority,
]);

/**
 * Deletes an instance, in steps of which each may be the last before a crash: whoever goes on (a leader) begins where the
 * record says that it was left. Until `decided` it may be dropped; from then on it is finished.
 */
export class Deletion {
  readonly #options: DeletionOptions;

  constructor(options: DeletionOptions) {
    this.#options = options;
  }

  /**
   * Reserves the instance in every region, counts again, and decides: rejects with a `ManagementError` where it is not
   * deleted, and is open again then as far as that can be said.
   */
  async decide(entry: InstanceEntry, force: boolean, actor: Actor): Promise<void> {
    const removal = await this.#reserve(entry, force, actor);
    try {
      await this.#settle(entry.id, removal, actor);
    } catch (error) {
      if (isKeysRemain(error)) throw error;
      const dropped = await this.drop(entry.id, removal).then(
        () => true,
        () => false,
      );
      if (dropped || !(error instanceof ManagementError)) throw error;
      const detail = `${error.message}; ${entry.name} stays closed until a leader has dropped or finished its deletion`;
      throw new ManagementError(error.code, detail);
    }
  }

  /** Goes on with a deletion that nobody carries on: finishes it, or drops it where keys remain. */
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
    const held = this.holdings().get(instance) ?? [];
    this.#step("certificates");
    await this.eraseBelongings(instance, actor, held);
    this.#step("wraps");
    await this.eraseWraps(held);
    await this.#forgetRoots(instance);
    this.#step("fact");
    await this.#mark(instance, removal, actor);
    this.#step("statuses");
    await this.#close(instance);
  }

  /** Puts the instance back as it was, unless the deletion is decided by now. */
  async drop(instance: string, removal: Removal): Promise<void> {
    await this.#options.records.change(
      systemTypes.Instance,
      instanceRecordId(instance),
      ({ fields }) => {
        const now = removalOf(fields);
        if (now?.id !== removal.id || now.phase !== "reserved") return undefined;
        return { status: fields["removedFrom"], removal: undefined, removedFrom: undefined };
      },
      [],
      { agreed: true },
    );
    const ask = this.#options.commands.others.map((other) => this.#follow(other, instance));
    await Promise.all([this.#options.statuses.follow(instance), ...ask]);
  }

  /** How many objects each region's own store has that are not destroyed. */
  async remaining(instance: string): Promise<KeyCounts> {
    const { region, commands } = this.#options;
    const others = commands.others.map(async (other) => {
      const { states } = await commands.ask(other, "countStates", { instance });
      return [other, remainingIn(other, states)] as const;
    });
    const states = await this.#counts(instance);
    const counted = [
      [region, remainingIn(region, states)] as const,
      ...(await Promise.all(others)),
    ];
    return Object.fromEntries(counted);
  }

  /** What instances have besides their objects, by instance: certificates, users and authorities, KEKs with wraps. */
  holdings(): ReadonlyMap<string, readonly ManagedObject[]> {
    const found = new Map<string, ManagedObject[]>();
    for (const record of this.#options.view.records()) {
      const instance = holderOf(record);
      if (instance === undefined) continue;
      const records = found.get(instance);
      if (records === undefined) found.set(instance, [record]);
      else records.push(record);
    }
    return found;
  }

  /** Deletes what opens a deleted instance; answers how many records that were. */
  async eraseBelongings(
    instance: string,
    actor: Actor,
    held: readonly ManagedObject[],
  ): Promise<number> {
    const { view, records, clock } = this.#options;
    const found = held.flatMap(({ objectType, uniqueIdentifier }) =>
      belongings.has(objectType) ? (view.get(objectType, uniqueIdentifier) ?? []) : [],
    );
    for (let at = 0; at < found.length; at += atOnce) {
      const some = found.slice(at, at + atOnce).map(async ({ type, id, fields }) => {
        const target = { id, name: fields["name"] ?? "", instance };
        const events = managementEvents(actor, actionOf(type), target, { timeMs: clock.wallMs() });
        await records.destroy(type, id, events).catch(unlessGone);
      });
      await Promise.all(some);
    }
    return found.length;
  }

  /** Takes every region's wrap of the instance's KEKs away; answers how many KEKs that were. */
  async eraseWraps(held: readonly ManagedObject[]): Promise<number> {
    let done = 0;
    for (const { objectType, uniqueIdentifier } of held) {
      if (objectType !== systemTypes.Kek) continue;
      if (await this.#eraseWrap(uniqueIdentifier)) done += 1;
    }
    return done;
  }

  /** Destroys the objects of a deleted instance in the own store. */
  eraseObjects(
    instance: string,
    fact: Fact,
    limit: number,
    active: () => boolean,
  ): Promise<Erased> {
    this.#step("objects");
    return eraseObjects(instance, fact, { own: this.#options.own, active, limit });
  }

  async #reserve(entry: InstanceEntry, force: boolean, actor: Actor): Promise<Removal> {
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
      systemTypes.Instance,
      instanceRecordId(entry.id),
      ({ fields }) => {
        if (fields["status"] === "Removing") {
          throw new ManagementError("wrongState", `${entry.name} is being deleted already`);
        }
        const { status } = fields;
        return { status: "Removing", removedFrom: status, removal: removalText(removal) };
      },
      [],
      { agreed: true },
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

  /** Nothing can be made any more: what is counted now is all there is. */
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
      systemTypes.Instance,
      instanceRecordId(instance),
      ({ fields }) => {
        const now = removalOf(fields);
        if (now?.id !== removal.id) {
          throw new ManagementError("conflict", "the deletion was dropped meanwhile: try again");
        }
        if (now.phase === "decided") return undefined;
        return { removal: removalText({ ...now, phase: "decided" }) };
      },
      events,
      { agreed: true },
    );
  }

  /** The mark that is kept for ever holds no credentials of key managers, sealed as they are. */
  async #forgetRoots(instance: string): Promise<void> {
    await this.#options.records
      .change(
        systemTypes.Instance,
        instanceRecordId(instance),
        ({ fields }) => {
          const roots = Object.keys(fields).filter((field) =>
            /^(root|rootNext|rootLeft)\./.test(field),
          );
          if (roots.length === 0) return undefined;
          return Object.fromEntries(roots.map((field) => [field, undefined]));
        },
        [],
      )
      .catch(unlessGone);
  }

  async #mark(instance: string, removal: Removal, actor: Actor): Promise<void> {
    const { records, clock } = this.#options;
    const check = ({ fields }: { readonly fields: Readonly<Record<string, string>> }): void => {
      const now = removalOf(fields);
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
    await records
      .destroy(systemTypes.Instance, id, audit, { agreed: true, check })
      .catch(unlessGone);
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

  #counts(instance: string): Promise<StateCounts | undefined> {
    return this.#options.own.counts(instance).catch(refused);
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

function removalOf(fields: Readonly<Record<string, string>>): Removal | undefined {
  const about = { type: systemTypes.Instance, id: "", fixed: { instance: "" }, fields };
  return readInstance({ ...about, destroyed: undefined })?.removal;
}

/** The instance that a record opens or whose KEK it wraps; undefined for any other. */
function holderOf(record: ManagedObject): string | undefined {
  if (record.objectType === systemTypes.Kek) {
    const entry = readKekRecord(record);
    return entry === undefined || entry.kek.wraps.length === 0 ? undefined : entry.instance;
  }
  const opens = belongings.has(record.objectType) && record.facts.destroyed === undefined;
  return opens ? readDocument(record)?.fixed["instance"] : undefined;
}

/** Who a leader acts for. */
function leaderFor({ by, byId, id }: Removal): Actor {
  return { principal: { name: by, id: byId }, requestId: id };
}

function actionOf(objectType: number) {
  if (objectType === systemTypes.User) return "user.delete";
  return objectType === systemTypes.Authority ? "authority.delete" : "certificate.delete";
}

/** Another one did it. */
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
    const counts = Object.entries(states).map(([state, count]) => `${count} ${stateText(state)}`);
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

/** Whether any region has objects that are not destroyed. */
export function hasKeys(remaining: KeyCounts): boolean {
  return Object.values(remaining).some((states) => Object.keys(states).length > 0);
}
