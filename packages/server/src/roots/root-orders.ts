import { type Call, type Contract, ManagementError } from "@holdfast/admin";
import type { Clock, FieldChanges, KeysOrder, SystemRecord } from "@holdfast/engine";
import { ofRegion } from "@holdfast/regions";
import { type Actor, managementEvents } from "../audit/management-event.ts";
import type {
  PeerCommandInput,
  PeerCommandOutput,
  PeerCommands,
} from "../records/peer-commands.ts";
import { type Applied, instanceRecordId, type Records } from "../records/records.ts";
import { namedRoots, type RootReference, rootChanges } from "../records/root-reference.ts";
import type { GivenLookup, GivenRoot } from "./given-root.ts";
import type { Roots } from "./open/roots.ts";
import type { RootPeerHandlers } from "./peer-handlers.ts";
import type { ReportRow, RootStatus } from "./root-status.ts";
import { unknownStorageKey } from "./storage-key-wraps.ts";

export interface RootOrdersOptions {
  readonly region: string;
  /** Carries out in this region the commands that other regions get over the link. */
  readonly here: RootPeerHandlers;
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly roots: Pick<Roots, "record">;
  readonly records: Pick<Records, "change" | "leaveEvidence">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly newId: () => string;
}

/** A value per region, by the region's name. */
type ByRegion<Value> = Readonly<Record<string, Value>>;

type Ordering = "configureRoot" | "revalidateRoot" | "rewrapRoot" | "shredInstance";

/** Who gives an order, and by which route. */
type Caller<Name extends Ordering = Ordering> = Actor & Pick<Call<Contract[Name]>, "audit">;

/** Administrators' orders about roots of trust, carried out in every region concerned. */
export class RootOrders {
  readonly #options: RootOrdersOptions;

  constructor(options: RootOrdersOptions) {
    this.#options = options;
  }

  /** This region and the other regions that are not retired. */
  get regions(): readonly string[] {
    return [this.#options.region, ...this.#options.commands.others];
  }

  /**
   * Checks each region's root of trust in that region; changes nothing. A `ManagementError` names what is missing.
   * `bound`: the only instances that the caller reaches; all unless given.
   */
  async check(
    given: ByRegion<GivenRoot>,
    bound?: readonly string[],
  ): Promise<ByRegion<RootReference>> {
    const unknown = Object.keys(given).find((region) => !this.regions.includes(region));
    if (unknown !== undefined) {
      const known = this.regions.join(", ");
      throw new ManagementError(
        "invalid",
        `regions.${unknown}: unknown region (known are ${known})`,
      );
    }
    return await this.#each(Object.keys(given), async (region) => {
      const root = given[region] as GivenRoot;
      const input = { root, ...(bound && { bound: [...bound] }) };
      const checked = this.#ask(region, "checkRoot", input).catch((error: unknown) => {
        throw region === this.#options.region ? named(region, error) : error;
      });
      return (await checked).reference;
    });
  }

  /** The fields for the record of a new instance under these roots of trust. */
  newFields(checked: ByRegion<RootReference>): FieldChanges<"Instance"> {
    return merged(
      Object.entries(checked).map(([region, current]) => rootChanges(region, { current })),
    );
  }

  /** Puts an instance under checked roots of trust: its KEKs are moved in each region, and nothing else changes. */
  async configure(
    actor: Caller<"configureRoot">,
    instance: string,
    checked: ByRegion<RootReference>,
  ): Promise<{ readonly regions: ByRegion<RootStatus>; readonly rewrapped: number }> {
    const { records, clock } = this.#options;
    const atMs = clock.wallMs();
    const detail = Object.fromEntries(
      Object.entries(checked).map(([region, { name = "" }]) => [`root.${region}`, name]),
    );
    // One record for all regions, so that no region wraps a first KEK before it knows the root of trust for it.
    await records.change(
      "Instance",
      instanceRecordId(instance),
      (record) => {
        // The record of a deleted instance stays for ever, so it must not get new credentials.
        if (record.status === "Removing") {
          throw new ManagementError("wrongState", "the instance is Removing");
        }
        return merged(
          Object.entries(checked).map(([region, next]) => moved(record, region, next, atMs)),
        );
      },
      this.#events(actor, instance, detail),
    );
    return await this.settle(instance, Object.keys(checked), true);
  }

  /** Rewraps an instance's KEKs under the root keys that its record names. */
  async settle(
    instance: string,
    regions: readonly string[] = this.regions,
    anySource = false,
  ): Promise<{ readonly regions: ByRegion<RootStatus>; readonly rewrapped: number }> {
    const settled = await this.#each(regions, (region) =>
      this.#ask(region, "settleRoot", { instance, anySource }),
    );
    const statuses = Object.entries(settled).map(([region, { status }]) => [region, status]);
    const rewrapped = Object.values(settled).reduce((sum, one) => sum + one.rewrapped, 0);
    return { regions: Object.fromEntries(statuses), rewrapped };
  }

  /** The same by an administrator's order: if a root of trust is lost, the other region's plaintext may be used. */
  async rewrap(actor: Caller<"rewrapRoot">, instance: string): Promise<number> {
    const { rewrapped } = await this.settle(instance, this.regions, true);
    const detail = { rewrapped };
    const events = this.#events(actor, instance, detail);
    await this.#options.records.leaveEvidence(events);
    return rewrapped;
  }

  /**
   * Drops an instance's open keys in every region, and opens no key until the instance is revalidated. `id` is that of the
   * order, a new one unless given.
   */
  async shred(actor: Caller<"shredInstance">, instance: string, id?: string): Promise<Applied> {
    const order = this.#newOrder(actor, id);
    const shredded = { [this.#options.region]: order };
    return await this.#order(actor, instance, { shredded });
  }

  /**
   * Asks every region's key manager now. Keys that these orders shredded open again if it allows this, and no others:
   * another region may have shredded the keys again, which this one does not know yet.
   */
  async revalidate(
    actor: Caller<"revalidateRoot">,
    instance: string,
    ended: ByRegion<KeysOrder>,
  ): Promise<ByRegion<RootStatus>> {
    const order = this.#newOrder(actor);
    const opened = Object.fromEntries(
      Object.entries(ended).map(([region, { id }]) => [region, { ...order, ends: id }]),
    );
    await this.#order(actor, instance, { revalidated: order, opened });
    return await this.#each(this.regions, async (region) => {
      return (await this.#ask(region, "revalidateRoot", { instance })).status;
    });
  }

  /** Under which version of its root key each region's storage key is; one that cannot be asked counts as stale. */
  async storageKeys(): Promise<readonly ReportRow[]> {
    const rows = await this.#each(this.regions, (region) =>
      this.#ask(region, "reportStorageKey", {}).then(
        ({ row }) => row,
        () => unknownStorageKey(region),
      ),
    );
    return Object.values(rows);
  }

  async rootKeys(region: string, root: GivenLookup) {
    return (await this.#ask(region, "rootKeys", { root })).items;
  }

  #ask<Name extends keyof RootPeerHandlers>(
    region: string,
    name: Name,
    input: PeerCommandInput<Name>,
  ): Promise<PeerCommandOutput<Name>> {
    const { region: own, here, commands } = this.#options;
    return region === own ? here[name](input) : commands.ask(region, name, input);
  }

  #newOrder({ principal }: Caller, id = this.#options.newId()): KeysOrder {
    return { id, atMs: this.#options.clock.wallMs(), by: principal.name };
  }

  async #order(
    actor: Caller,
    instance: string,
    orders: FieldChanges<"Instance">,
  ): Promise<Applied> {
    const { records } = this.#options;
    const { regions } = await records.change(
      "Instance",
      instanceRecordId(instance),
      () => orders,
      this.#events(actor, instance, {}),
    );
    return regions;
  }

  #events(actor: Caller, instance: string, detail: Readonly<Record<string, string | number>>) {
    const { clock, roots } = this.#options;
    const name = roots.record(instance)?.name;
    const target = { id: instance, instance, ...(name !== undefined && { name }) };
    return managementEvents(actor, actor.audit, target, { timeMs: clock.wallMs(), detail });
  }

  async #each<Value>(
    regions: readonly string[],
    ask: (region: string) => Promise<Value>,
  ): Promise<ByRegion<Value>> {
    const answers = await Promise.all(
      regions.map(async (region) => [region, await ask(region)] as const),
    );
    return Object.fromEntries(answers);
  }
}

/** Adds this region's name to a refusal, as in a refusal of another region, since an order concerns both. */
function named(region: string, error: unknown): unknown {
  if (!(error instanceof ManagementError)) return error;
  return new ManagementError(error.code, ofRegion(region, error.message), error.extra);
}

/** The changes of a record to move a region. Keys under the target of an incomplete earlier move stay accessible. */
function moved(
  record: SystemRecord<"Instance">,
  region: string,
  reference: RootReference,
  atMs: number,
): FieldChanges<"Instance"> {
  const { next, left } = namedRoots(record, region);
  const more = next === undefined ? left : [...left, { reference: next, atMs }];
  return rootChanges(region, { next: reference, left: more });
}

/** Merges the changes for several regions. */
function merged(all: readonly FieldChanges<"Instance">[]): FieldChanges<"Instance"> {
  const of = (field: "root" | "rootNext" | "rootLeft") =>
    Object.assign({}, ...all.map((one) => one[field]));
  return { root: of("root"), rootNext: of("rootNext"), rootLeft: of("rootLeft") };
}
