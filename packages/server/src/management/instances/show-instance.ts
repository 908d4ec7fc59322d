import type { Contract, Reply } from "@holdfast/admin";
import type { Document, KeyRingStatus, OwnStore } from "@holdfast/engine";
import { ofRegion } from "@holdfast/regions";
import type { Instance } from "../../access/instances.ts";
import type { Presence } from "../../records/presence.ts";
import { type Applied, versionOf } from "../../records/records.ts";
import { namedRoots } from "../../records/root-reference.ts";
import type { SystemView } from "../../records/system-view.ts";
import { keysField, regionState, shreddedReason } from "../../roots/region-state.ts";
import { type RootStatus, rootStatusOf } from "../../roots/root-status.ts";
import type { InstanceIndex } from "../instance-index.ts";
import { isUser } from "../users/recorded-users.ts";
import type { Endpoints } from "./endpoints.ts";
import { type InstanceEntry, readInstance } from "./instance-entry.ts";

/** An instance as the API shows it. */
export type ShownInstance = Reply<Contract["readInstance"]>;
type InRegion = ShownInstance["regions"][string];

export interface ShowInstancesOptions {
  readonly region: string;
  readonly regions: () => readonly string[];
  readonly view: Pick<SystemView, "record">;
  readonly index: Pick<InstanceIndex, "of">;
  readonly presence: Pick<Presence, "of">;
  readonly own: Pick<OwnStore, "counts">;
  readonly declared: () => readonly Instance[];
  /** The configuration's root of trust. */
  readonly rootKind: RootStatus["type"];
  readonly keyStatus: (instance: string) => KeyRingStatus | undefined;
  readonly endpoints: Pick<Endpoints, "of" | "refresh">;
}

const shownStatuses = ["Inactive", "Configuring", "Installed", "Removing"] as const;

/** Shows instances: what their records say, and how they do in each region. */
export class ShowInstances {
  readonly #options: ShowInstancesOptions;

  constructor(options: ShowInstancesOptions) {
    this.#options = options;
  }

  /** All of these; what is not an instance is left out. */
  async show(documents: readonly Document[]): Promise<readonly ShownInstance[]> {
    const { presence, endpoints } = this.#options;
    const [pending] = await Promise.all([
      presence.of(documents.map(({ id }) => id)),
      endpoints.refresh(),
    ]);
    const shown = documents.map(async (document) => {
      const entry = readInstance(document);
      return entry && (await this.#shown(entry, document, pending.get(document.id) ?? {}));
    });
    return (await Promise.all(shown)).filter((one) => one !== undefined);
  }

  async #shown(entry: InstanceEntry, document: Document, pending: Applied): Promise<ShownInstance> {
    const { index, view, declared, regions } = this.#options;
    const { id, name, description, labels, origin, createdBy, createdMs, configuredMs } = entry;
    const holdings = index.of(id);
    const own = declared().find((each) => each.id === id);
    const certificates = own?.certificates.length ?? holdings?.certificates.size ?? 0;
    const users = [...(holdings?.users.values() ?? [])].filter(isUser);
    const record = view.record(document.id);
    const inRegions = Object.fromEntries(
      regions().map((region) => [region, this.#inRegion(entry, region, pending[region])]),
    );
    return {
      id,
      name,
      description,
      labels,
      origin,
      createdBy,
      status: wholeStatus(entry),
      reason: wholeReason(entry, inRegions),
      ...(createdMs !== undefined && { createdAt: new Date(createdMs).toISOString() }),
      ...(configuredMs !== undefined && { configuredAt: new Date(configuredMs).toISOString() }),
      regions: inRegions,
      certificates: certificates + (own?.authorities.length ?? 0),
      users: own?.users.size ?? users.length,
      keys: entry.deleted ? {} : await this.#keys(id),
      pending,
      version: record === undefined ? "" : versionOf(record),
    };
  }

  /** By State, those that there are; nothing where the store cannot tell now. */
  async #keys(id: string): Promise<Record<string, number>> {
    const counts = await this.#options.own.counts(id).catch(() => undefined);
    return Object.fromEntries(Object.entries(counts ?? {}).filter(([, count]) => count > 0));
  }

  #inRegion(
    entry: InstanceEntry,
    region: string,
    pending: "applied" | "pending" | undefined,
  ): InRegion {
    const { rootKind, keyStatus, endpoints } = this.#options;
    const own = region === this.#options.region ? keyStatus(entry.id) : undefined;
    const named = namedRoots(entry.fields, region).current !== undefined;
    const usesRoot = named || entry.origin === "configuration";
    const root = usesRoot && !entry.deleted && rootStatusOf(entry, region, rootKind, own);
    return {
      ...regionStatus(entry, region, pending === "pending"),
      ...(root && { root }),
      endpoints: [...endpoints.of(region)],
    };
  }
}

/** Its status, as all regions together are to have it. */
export function wholeStatus({
  deleted,
  wanted,
  origin,
  fields,
}: InstanceEntry): ShownInstance["status"] {
  if (deleted) return "Deleted";
  if (wanted !== "Removing" && isShredded(fields)) return "Inactive";
  return wanted ?? (origin === "configuration" ? "Installed" : "Inactive");
}

/** Whether an administrator shredded its keys, in any region. */
function isShredded(fields: InstanceEntry["fields"]): boolean {
  return Object.keys(fields).some(
    (field) =>
      field.startsWith(keysField("")) &&
      shreddedReason(fields, field.slice(keysField("").length)) !== undefined,
  );
}

/** How many instances have which status, those that were deleted left out. */
export function statusCounts(
  documents: readonly Document[],
): readonly (readonly [status: string, count: number])[] {
  const counts = new Map<string, number>(shownStatuses.map((status) => [status, 0]));
  for (const document of documents) {
    const entry = readInstance(document);
    if (entry === undefined || entry.deleted) continue;
    const status = wholeStatus(entry);
    counts.set(status, (counts.get(status) ?? 0) + 1);
  }
  return [...counts];
}

function regionStatus(
  entry: InstanceEntry,
  region: string,
  isPending: boolean,
): Pick<InRegion, "status" | "reason"> {
  const status = wholeStatus(entry);
  const state = regionState(entry.fields, region);
  if (status === "Deleted" || status === "Removing") {
    return { status, reason: isPending ? "the region has not heard of it yet" : "" };
  }
  if (isPending && state === undefined && entry.origin === "order") {
    return { status: "Installing", reason: "the region has not got it yet" };
  }
  const shredded = shreddedReason(entry.fields, region);
  if (shredded !== undefined) return { status: "Inactive", reason: shredded };
  if (status === "Inactive") return { status, reason: "its root of trust is not configured" };
  if (state === undefined) {
    const reason = "its root of trust was not looked at there yet";
    return status === "Installed" ? { status, reason: "" } : { status, reason };
  }
  return { status: state.status, reason: state.reason };
}

function wholeReason(
  entry: InstanceEntry,
  regions: Readonly<Record<string, InRegion>>,
): ShownInstance["reason"] {
  if (entry.removal !== undefined && !entry.deleted) {
    const { phase } = entry.removal;
    return phase === "decided" ? "it is being deleted" : "its keys are being counted";
  }
  const status = wholeStatus(entry);
  if (status === "Inactive" && !isShredded(entry.fields)) {
    return "its root of trust is not configured";
  }
  return Object.entries(regions)
    .filter(([, { reason, status: there }]) => reason !== "" && there !== "Deleted")
    .map(([region, { reason }]) => ofRegion(region, reason))
    .join("; ");
}
