import { X509Certificate } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import {
  makeRecord,
  markedIdentifier,
  type OwnStore,
  StoreUnavailable,
  type SystemRecord,
  systemInstance,
  withDestroyed,
} from "@holdfast/engine";
import { denialName, denialNames, deniedParts } from "../../access/denials.ts";
import type { Instance } from "../../access/instances.ts";
import { managementEvents } from "../../audit/management-event.ts";
import { fingerprintOf } from "../../base/certificates.ts";
import type { Presence } from "../../records/presence.ts";
import type { Applied, Records } from "../../records/records.ts";
import { refusalOf } from "../../records/refusals.ts";
import type { SystemView } from "../../records/system-view.ts";
import { pageBy } from "../paging.ts";

export interface DenialDeps {
  readonly view: Pick<SystemView, "all" | "find" | "get" | "of" | "refresh" | "unreadDenials">;
  readonly records: Pick<Records, "create" | "destroy" | "destroyUnread" | "leaveEvidence">;
  readonly presence: Pick<Presence, "of">;
  readonly own: Pick<OwnStore, "quarantine">;
  readonly region: string;
  /** Instances of the configuration. */
  readonly declared: () => readonly Instance[];
  /** The KMIP server certificates of this node. */
  readonly leaves: () => readonly X509Certificate[];
  /** SHA-256 (hex) of the KMIP server certificates that all nodes reported. */
  readonly servers: () => readonly { readonly node: string; readonly sha256: string }[];
  /** The peer certificates of the link between the regions, by their SHA-256 (hex). */
  readonly link: {
    /** This node's own; undefined if there is no other region. */
    readonly own: () => string | undefined;
    /** Those that the nodes of each other region showed last. */
    readonly peers: () => readonly {
      readonly region: string;
      readonly shown: readonly { readonly fingerprint: string }[];
    }[];
  };
  /** The node of a peer certificate, by its fingerprint, if it is known. */
  readonly peerOf: (fingerprint: string) => string | undefined;
  readonly wallMs: () => number;
}

type Names = "listDenials" | "addDenial" | "removeDenial";
type CallOf<Name extends Names> = Call<Contract[Name]>;
type Denial = SystemRecord<"Deny">;

/** More are a sign that an authority or an instance should go instead. */
const denialsMax = 10_000;
/** Certificates that are read before other work gets a turn. */
const perTurn = 100;

/** The deny list. */
export function denialHandlers(deps: DenialDeps): Pick<Handlers, Names> {
  return {
    listDenials: (call) => list(deps, call),
    addDenial: (call) => add(deps, call),
    removeDenial: (call) => remove(deps, call),
  };
}

async function list({ view, presence, peerOf }: DenialDeps, { query }: CallOf<"listDenials">) {
  const live = view.all("Deny").filter(isLive);
  const sorted = live.toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
  const { items, next } = pageBy(sorted, placeOf, query);
  const regions = await presence.of(items.map(({ id }) => id));
  return { items: items.map((one) => answer(one, regions.get(one.id) ?? {}, peerOf)), ...next };
}

async function add(deps: DenialDeps, call: CallOf<"addDenial">) {
  const { view, records, presence, peerOf, wallMs } = deps;
  const { reason, force, ...parts } = call.body;
  const named = denialName(parts);
  if ("fault" in named) throw new ManagementError("invalid", named.fault);
  const { match } = named;
  // Where no store can be read, the commit says why.
  await view.refresh().catch(() => undefined);
  const [known] = view.find("Deny", match).filter(isLive);
  if (known !== undefined) {
    return answer(known, (await presence.of([known.id])).get(known.id) ?? {}, peerOf);
  }
  if (view.all("Deny").filter(isLive).length >= denialsMax) {
    throw new ManagementError(
      "wrongState",
      `the deny list is full (${denialsMax}): delete the authority or the certificates instead, and lift denials that are no longer needed`,
    );
  }
  refuseServers(deps, match);
  if (force !== true) {
    refuseCut(deps, match);
    await refuseLockOut(deps, match);
  }
  const nowMs = wallMs();
  const id = markedIdentifier("Deny", call.newId);
  const values = { match, reason, createdMs: nowMs, createdBy: call.principal.name };
  const target = { id, name: shortened(match) };
  const peer = peerOf(fingerprintIn(match) ?? "");
  const detail = { reason, ...(peer !== undefined && { peer }) };
  const events = managementEvents(call, call.audit, target, { timeMs: nowMs, detail });
  const { record, regions } = await records.create("Deny", values, events, { id });
  return answer(record, regions, peerOf);
}

async function remove(deps: DenialDeps, call: CallOf<"removeDenial">) {
  const { view, records, wallMs } = deps;
  const { denial: id } = call.params;
  const events = (name: string) =>
    managementEvents(call, call.audit, { id, name }, { timeMs: wallMs() });
  if (view.get("Deny", id) === undefined) await view.refresh().catch(() => undefined);
  if (view.unreadDenials.has(id)) return await removeUnread(deps, id, events("(not readable)"));
  const named = view.get("Deny", id);
  if (named === undefined || !isLive(named)) {
    throw new ManagementError("notFound", "denial not found, or lifted already");
  }
  let applied: Applied = {};
  // Two may have been made at the same time: the certificates are denied until both are lifted.
  for (const same of view.find("Deny", named.match).filter(isLive)) {
    const { regions } = await records.destroy("Deny", same.id, events(shortened(same.match)));
    if (same.id === id) applied = regions;
  }
  return { id, regions: applied };
}

/** Puts a deleted record in the place of one that no region can read, or that has gone: the same bytes in each region. */
async function removeUnread(
  { records, own, region, wallMs }: DenialDeps,
  id: string,
  events: ReturnType<typeof managementEvents>,
) {
  const now = { us: Math.floor(wallMs() * 1000), region };
  const nothing = { match: "fingerprint (not readable)", reason: "", createdMs: 0, createdBy: "" };
  const replacement = withDestroyed(makeRecord("Deny", id, nothing, now), now);
  if (!(await records.destroyUnread(replacement, events))) {
    await records.leaveEvidence(events);
    try {
      await own.quarantine(systemInstance, id, "lifted by an administrator", { replacement });
    } catch (error) {
      throw error instanceof StoreUnavailable ? refusalOf(error) : error;
    }
    // The record may have been repaired meanwhile: then the store has not taken the replacement.
    if (!(await records.destroyUnread(replacement, events))) {
      throw new ManagementError("conflict", "the denial was damaged again: try again");
    }
  }
  return { id, regions: { [region]: "applied" } as const };
}

/** The deny list is about clients: who names a server means something else. */
function refuseServers({ leaves, servers }: DenialDeps, match: string): void {
  const own = leaves().find((leaf) => denialNames(leaf).includes(match));
  const node =
    own === undefined
      ? servers().find(({ sha256 }) => `fingerprint ${sha256}` === match)?.node
      : (servers().find(({ sha256 }) => sha256 === fingerprintOf(own))?.node ?? "this one");
  if (node === undefined) return;
  throw new ManagementError(
    "wrongState",
    `this names the KMIP server certificate of node ${node}, and the deny list shuts out clients: replace that certificate instead (tls.certificate, tls.key)`,
  );
}

/** Asks before the regions are cut apart. */
function refuseCut({ link, region }: DenialDeps, match: string): void {
  const names = (fingerprint: string) => `fingerprint ${fingerprint}` === match;
  const isNamed = (node: { readonly fingerprint: string }) => names(node.fingerprint);
  const own = link.own();
  const cut = link
    .peers()
    .filter(
      ({ shown }) =>
        (own !== undefined && names(own)) || (shown.length > 0 && shown.every(isNamed)),
    )
    .map((peer) => peer.region);
  if (cut.length === 0) return;
  const whose =
    own !== undefined && names(own)
      ? "this node's own peer certificate"
      : "the only peer certificate that its nodes showed this node";
  throw new ManagementError(
    "confirmationNeeded",
    `this cuts region ${region} and region ${cut.join(", ")} apart, since it is ${whose}: give the nodes new peer certificates first, or give force=true (--force); then it must be lifted in each region by itself`,
  );
}

/** Asks before an instance loses its last certificate. */
async function refuseLockOut(deps: DenialDeps, match: string): Promise<void> {
  const left = new Map<string, { readonly named: number; readonly others: number }>();
  let read = 0;
  for (const { instance, certificate } of certificatesOf(deps)) {
    read += 1;
    if (read % perTurn === 0) await turn();
    const parsed = parsedOf(certificate);
    // What has ended gives no access.
    if (parsed === undefined || parsed.validToDate.getTime() < deps.wallMs()) continue;
    const names = denialNames(parsed);
    const { named, others } = left.get(instance) ?? { named: 0, others: 0 };
    if (names.includes(match)) left.set(instance, { named: named + 1, others });
    else if (!names.some((name) => deps.view.find("Deny", name).some(isLive))) {
      left.set(instance, { named, others: others + 1 });
    }
  }
  const closed = [...left].filter(([, { named, others }]) => named > 0 && others === 0);
  if (closed.length === 0) return;
  const instances = closed.map(([instance]) => instance);
  throw new ManagementError(
    "confirmationNeeded",
    `this shuts out every certificate of ${instances.slice(0, 10).join(", ")}${instances.length > 10 ? ` and ${instances.length - 10} more instances` : ""}: add the new certificate first, or give force=true (--force)`,
  );
}

/** Every certificate and authority that gives access, with its instance's name. */
function* certificatesOf({
  view,
  declared,
}: DenialDeps): Generator<{ instance: string; certificate: X509Certificate | string }> {
  for (const { name: instance, certificates, authorities } of declared()) {
    for (const certificate of [...certificates, ...authorities]) yield { instance, certificate };
  }
  for (const { instance, pem, destroyed } of view.all("Certificate")) {
    if (destroyed !== undefined) continue;
    const { value: owner } = view.of("Instance", instance).values().next();
    yield { instance: owner?.name ?? instance, certificate: pem };
  }
}

function parsedOf(certificate: X509Certificate | string): X509Certificate | undefined {
  try {
    return typeof certificate === "string" ? new X509Certificate(certificate) : certificate;
  } catch {
    return undefined;
  }
}

/** A match for the audit trail; no character is cut in two. */
function shortened(match: string): string {
  return match.slice(0, 256).replace(/[\ud800-\udbff]$/, "");
}

function isLive({ destroyed }: Denial): boolean {
  return destroyed === undefined;
}

function answer(
  { id, match, reason, createdMs, createdBy }: Denial,
  regions: Applied,
  peerOf: DenialDeps["peerOf"],
) {
  const addedAt = new Date(createdMs).toISOString();
  const peer = peerOf(fingerprintIn(match) ?? "");
  const named = { ...deniedParts(match), ...(peer !== undefined && { peer }) };
  return { id, ...named, reason, addedAt, addedBy: createdBy, regions };
}

/** The fingerprint that a denial names; undefined if it names something else. */
function fingerprintIn(match: string): string | undefined {
  return /^fingerprint ([0-9a-f]{64})$/.exec(match)?.[1];
}

/** Newest first. */
function placeOf({ createdMs, id }: Denial): string {
  return `${String(8.64e15 - createdMs).padStart(17, "0")} ${id}`;
}
