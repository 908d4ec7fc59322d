import type { Contract, Reply } from "@holdfast/admin";
import {
  type KeyRingStatus,
  newestFirst,
  type StateCountStore,
  type SystemRecord,
  type WrappedKek,
} from "@holdfast/engine";
import { ofRegion } from "@holdfast/regions";
import type { Instance as Declared } from "../../access/instances.ts";
import { shreddedReason } from "../../records/keys-order.ts";
import type { Presence } from "../../records/presence.ts";
import { type Applied, versionOf } from "../../records/records.ts";
import { namedRoots } from "../../records/root-reference.ts";
import type { SystemView } from "../../records/system-view.ts";
import { type RootStatus, rootStatusOf } from "../../roots/root-status.ts";
import { rekeyOf, rolesOf, sealsUnder } from "../rekey/rekey.ts";
import { isUser } from "../users/recorded-users.ts";
import type { Endpoints } from "./endpoints.ts";
import { isOrdered } from "./instance-status.ts";

type Instance = SystemRecord<"Instance">;
/** An instance as the API shows it. */
export type ShownInstance = Reply<Contract["readInstance"]>;
type ShownKek = NonNullable<ShownInstance["keks"]>[number];
type InRegion = ShownInstance["regions"][string];

export interface ShowInstancesOptions {
  readonly region: string;
  readonly regions: () => readonly string[];
  /** Those that must have wrapped a KEK before it seals. */
  readonly required: () => readonly string[];
  readonly view: Pick<SystemView, "record" | "of">;
  readonly presence: Pick<Presence, "of">;
  readonly own: Pick<StateCountStore, "counts">;
  readonly declared: () => readonly Declared[];
  /** The configuration's root of trust. */
  readonly rootKind: RootStatus["type"];
  readonly keyStatus: (instance: string) => KeyRingStatus | undefined;
  readonly endpoints: Pick<Endpoints, "of" | "refresh">;
}

const shownStatuses = ["Inactive", "Configuring", "Installed", "Removing"] as const;

/** Shows instances: what their records say, and their state in each region. */
export class ShowInstances {
  readonly #options: ShowInstancesOptions;

  constructor(options: ShowInstancesOptions) {
    this.#options = options;
  }

  /** Shows the instances of these records. */
  async show(records: readonly Instance[]): Promise<readonly ShownInstance[]> {
    const { presence, endpoints } = this.#options;
    const [pending] = await Promise.all([
      presence.of(records.map(({ id }) => id)),
      endpoints.refresh(),
    ]);
    const shown = records.map((record) => this.#shown(record, pending.get(record.id) ?? {}));
    return await Promise.all(shown);
  }

  async #shown(record: Instance, pending: Applied): Promise<ShownInstance> {
    const { view, declared, regions } = this.#options;
    const { instance: id, name, description, labels, createdBy, createdMs, configuredMs } = record;
    const own = declared().find((each) => each.id === id);
    const keepsKeys = own === undefined ? record.destroyOverKmip === "refused" : own.keepsKeys;
    const certificates = own?.certificates.length ?? view.of("Certificate", id).size;
    const users = [...view.of("User", id).values()].filter(isUser);
    const object = view.record(record.id);
    const inRegions = Object.fromEntries(
      regions().map((region) => [region, this.#inRegion(record, region, pending[region])]),
    );
    return {
      id,
      name,
      description,
      labels,
      origin: isOrdered(record) ? "order" : "configuration",
      createdBy,
      status: wholeStatus(record),
      reason: wholeReason(record, inRegions),
      ...(createdMs !== undefined && { createdAt: new Date(createdMs).toISOString() }),
      ...(configuredMs !== undefined && { configuredAt: new Date(configuredMs).toISOString() }),
      regions: inRegions,
      certificates: certificates + (own?.authorities.length ?? 0),
      users: own?.users.size ?? users.length,
      keys: record.destroyed !== undefined ? {} : await this.#keys(id),
      ...(record.destroyed === undefined && { keks: this.#keks(id) }),
      destroyOverKmip: keepsKeys ? "refused" : "allowed",
      destroyDelay: (own === undefined ? record.destroyDelay : own.destroyDelaySeconds) ?? 0,
      pending,
      version: object === undefined ? "" : versionOf(object),
    };
  }

  /** Its KEKs that are not removed, the newest first. */
  #keks(id: string): ShownKek[] {
    const { view, required } = this.#options;
    const { waiting, seals, older } = rolesOf(view, id, required());
    const records = view.of("Kek", id);
    const shown = (use: ShownKek["use"]) => (kek: WrappedKek) => {
      const record = records.get(kek.id);
      const createdAt = new Date(kek.createdMs).toISOString();
      return { id: kek.id, createdAt, use, seals: record === undefined ? 0 : sealsUnder(record) };
    };
    return [
      ...waiting.toSorted(newestFirst).map(shown("waits")),
      ...(seals === undefined ? [] : [shown("seals")(seals)]),
      ...older.toSorted(newestFirst).map(shown("older")),
    ];
  }

  #rekey({ instance }: Instance, region: string): Pick<InRegion, "rekey"> {
    const { view, required } = this.#options;
    const { kek, states } = rekeyOf(view, instance, required());
    const state = states[region];
    if (state === undefined) return {};
    const { resealed, left, quarantined, reason, sinceMs } = state;
    const held = `${quarantined} copies in quarantine may need older keys, which stay until it is empty`;
    return {
      rekey: {
        ...{ kek, resealed, left },
        ...(sinceMs !== undefined && { doneAt: new Date(sinceMs).toISOString() }),
        reason: reason === "" && quarantined > 0 ? held : reason,
      },
    };
  }

  /** By State; nothing where the store cannot answer now. */
  async #keys(id: string): Promise<Record<string, number>> {
    const counts = await this.#options.own.counts(id).catch(() => undefined);
    return Object.fromEntries(Object.entries(counts ?? {}).filter(([, count]) => count > 0));
  }

  #inRegion(
    record: Instance,
    region: string,
    pending: "applied" | "pending" | undefined,
  ): InRegion {
    const { rootKind, keyStatus, endpoints } = this.#options;
    const own = region === this.#options.region ? keyStatus(record.instance) : undefined;
    const named = namedRoots(record, region).current !== undefined;
    const usesRoot = (named || !isOrdered(record)) && record.destroyed === undefined;
    const root = usesRoot && rootStatusOf(record, region, rootKind, own);
    return {
      ...regionStatus(record, region, pending === "pending"),
      ...(root && { root }),
      ...(record.destroyed === undefined && this.#rekey(record, region)),
      endpoints: [...endpoints.of(region)],
    };
  }
}

/** The status that an instance is to have in all regions together. */
export function wholeStatus(record: Instance): ShownInstance["status"] {
  const { destroyed, status } = record;
  if (destroyed !== undefined) return "Deleted";
  if (status !== "Removing" && isShredded(record)) return "Inactive";
  return status ?? (isOrdered(record) ? "Inactive" : "Installed");
}

/** Whether an administrator shredded its keys, in any region. */
function isShredded(record: Instance): boolean {
  return shreddedReason(record) !== undefined;
}

/** How many instances have which status, those that were deleted left out. */
export function statusCounts(
  records: readonly Instance[],
): readonly (readonly [status: string, count: number])[] {
  const counts = new Map<string, number>(shownStatuses.map((status) => [status, 0]));
  for (const record of records) {
    if (record.destroyed !== undefined) continue;
    const status = wholeStatus(record);
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  return [...counts];
}

function regionStatus(
  record: Instance,
  region: string,
  isPending: boolean,
): Pick<InRegion, "status" | "reason"> {
  const status = wholeStatus(record);
  const state = record.state[region];
  if (status === "Deleted" || status === "Removing") {
    return { status, reason: isPending ? "the region has not received it yet" : "" };
  }
  if (isPending && state === undefined && isOrdered(record)) {
    return { status: "Installing", reason: "the region does not have it yet" };
  }
  const shredded = shreddedReason(record);
  if (shredded !== undefined) return { status: "Inactive", reason: shredded };
  if (status === "Inactive") return { status, reason: "its root of trust is not configured" };
  if (state === undefined) {
    const reason = "its root of trust was not checked there yet";
    return status === "Installed" ? { status, reason: "" } : { status, reason };
  }
  return { status: state.status, reason: state.reason };
}

function wholeReason(
  record: Instance,
  regions: Readonly<Record<string, InRegion>>,
): ShownInstance["reason"] {
  if (record.removal !== undefined && record.destroyed === undefined) {
    const { phase } = record.removal;
    return phase === "decided" ? "it is being deleted" : "its keys are being counted";
  }
  const status = wholeStatus(record);
  if (status === "Inactive" && !isShredded(record)) {
    return "its root of trust is not configured";
  }
  return Object.entries(regions)
    .filter(([, { reason, status: there }]) => reason !== "" && there !== "Deleted")
    .map(([region, { reason }]) => ofRegion(region, reason))
    .join("; ");
}
