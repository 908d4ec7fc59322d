import { isIP } from "node:net";
import { type AuditEntryContent, type AuditEvent, systemInstance } from "@holdfast/engine";
import { type ActionRow, actions } from "./actions.ts";
import { reasonCodeOf, reasonTypes, severityOf } from "./cadf-reasons.ts";
import { detailNames } from "./management-event.ts";

/** How events are rendered. */
export interface CadfSettings {
  /** The region whose store holds the events. */
  readonly region: string;
  /** The account in CRNs. */
  readonly account: string;
  readonly names: "current" | "2019";
}

/** The place of an entry in its store. */
export interface EntryPlace {
  readonly storeId: string;
  readonly partition: number;
  readonly number: number;
}

/** A CADF event (DMTF DSP0262) with the fields that IBM's services give it. */
export type CadfEvent = {
  readonly typeURI: string;
  /** The same each time the event is sent. */
  readonly id: string;
  readonly eventType: "activity";
  /** `YYYY-MM-DDTHH:mm:ss.SS+0000`. */
  readonly eventTime: string;
  readonly action: string;
  /** `unknown` if the store does not know whether a change was made. */
  readonly outcome: AuditEvent["outcome"];
  readonly message: string;
  readonly severity: "normal" | "warning" | "critical";
  readonly correlationId: string;
  readonly dataEvent: boolean;
  readonly initiator: CadfInitiator;
  readonly target: {
    readonly id: string;
    readonly name: string;
    readonly typeURI: string;
    readonly resourceGroupId: string;
  };
  readonly observer: { readonly name: "ActivityTracker" };
  readonly reason: {
    readonly reasonCode: number;
    readonly reasonType: string;
    readonly reasonForFailure?: string;
  };
  readonly requestData: Readonly<Record<string, string | number>>;
  readonly responseData: Readonly<Record<string, string | number>>;
  readonly logSourceCRN: string;
  readonly saveServiceCopy: boolean;
  /** The region in which it was written. */
  readonly region: string;
  readonly instance: string;
  readonly partition: number;
  /** Given by the store without gaps in each partition; pending and outcome of one action have the same. */
  readonly sequence: number;
};

type CadfInitiator = {
  readonly id: string;
  readonly name: string;
  readonly authnId: string;
  readonly authnName: string;
  readonly typeURI: string;
  readonly credential: { readonly type: string };
  readonly host?: {
    readonly address: string;
    readonly addressType: "IPv4" | "IPv6";
    readonly agent: string;
  };
};

const service = "vmware-solutions";
const fingerprint = /^[0-9a-f]{64}$/;
/** Initiators inside the system: neither a person nor a client. */
const internal: ReadonlySet<string> = new Set(["planned-date", "leader", "schedule", "holdfast"]);
const told: ReadonlySet<string> = new Set([
  detailNames.initiatorId,
  detailNames.remote,
  detailNames.targetName,
]);

/** The CADF events of an entry, oldest first. */
export function renderCadf(
  { instance, events }: AuditEntryContent,
  place: EntryPlace,
  settings: CadfSettings,
): readonly CadfEvent[] {
  return events.map((event) => renderEvent(instance, event, place, settings));
}

/** A permanent identifier of an event. */
function eventId(
  { storeId, partition, number }: EntryPlace,
  outcome: AuditEvent["outcome"],
): string {
  return `${storeId}-${partition}-${number}-${outcome === "pending" ? "p" : "o"}`;
}

/** `YYYY-MM-DDTHH:mm:ss.SS+0000`, UTC. */
export function cadfTime(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 22)}+0000`;
}

function renderEvent(
  partitionInstance: string,
  event: AuditEvent,
  place: EntryPlace,
  settings: CadfSettings,
): CadfEvent {
  const { outcome, detail = {} } = event;
  const row = rowOf(event.action);
  const instance =
    partitionInstance === systemInstance ? textOf(detail[detailNames.instance]) : partitionInstance;
  const reasonCode = reasonCodeOf(event);
  const failed = outcome === "failure" || outcome === "unknown";
  const name = settings.names === "2019" ? (row.cadf2019 ?? row.cadf) : row.cadf;
  return {
    typeURI: "http://schemas.dmtf.org/cloud/audit/1.0/event",
    id: eventId(place, outcome),
    eventType: "activity",
    eventTime: cadfTime(event.time),
    action: `${service}.${name}`,
    outcome,
    message: `${service}: ${row.says}${failed ? ` -${outcome}` : ""}`,
    severity: severityOf(reasonCode),
    correlationId: event.requestId,
    dataEvent: row.data === true,
    initiator: initiatorOf(event),
    target: targetOf(event, row, instance, settings),
    observer: { name: "ActivityTracker" },
    reason: {
      reasonCode,
      reasonType: reasonTypes[reasonCode] ?? "Error",
      ...(failed ? { reasonForFailure: event.reason ?? outcome } : {}),
    },
    requestData: Object.fromEntries(Object.entries(detail).filter(([key]) => !told.has(key))),
    responseData: event.reason === undefined ? {} : { reason: event.reason },
    logSourceCRN: crn(settings, instance, "", ""),
    saveServiceCopy: true,
    region: settings.region,
    instance,
    partition: place.partition,
    sequence: place.number,
  };
}

/** An action that is not in the table keeps its own name: it may come from a newer version. */
function rowOf(action: string): ActionRow {
  const known = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (known !== undefined) return known;
  const cadf = action.startsWith(`${service}.`) ? action.slice(service.length + 1) : action;
  return { cadf, says: cadf, target: cadf.split(".")[0] ?? cadf };
}

function initiatorOf({ initiator, detail = {} }: AuditEvent): CadfInitiator {
  const principal = textOf(detail[detailNames.initiatorId]);
  // The name of a token's holder is freely chosen: it must not pass for a client or the system.
  if (principal === "" && fingerprint.test(initiator)) {
    const id = `CertificateID-${initiator}`;
    // No address: clients connect over a private network, and IBM's events have none either.
    return {
      id,
      name: id,
      authnId: id,
      authnName: id,
      typeURI: "service/security/client/certificateid",
      credential: { type: "certificate" },
    };
  }
  const isInternal = internal.has(initiator) && !isCaller(detail);
  const id = principal || textOf(detail["token"]) || initiator;
  const address = textOf(detail[detailNames.remote]) || textOf(detail["remote"]);
  const kind = isInternal ? "serviceid" : "user";
  return {
    id,
    name: initiator,
    authnId: id,
    authnName: initiator,
    typeURI: `service/security/account/${kind}`,
    credential: {
      type: isInternal ? "s2s-authorization" : initiator === "" ? "public-access" : "token",
    },
    ...(address === "" ? {} : { host: hostOf(address) }),
  };
}

/** Whether a caller acted: a caller has an address, the system itself has none. */
function isCaller(detail: NonNullable<AuditEvent["detail"]>): boolean {
  return textOf(detail[detailNames.remote]) !== "";
}

function hostOf(address: string): NonNullable<CadfInitiator["host"]> {
  return { address, addressType: isIP(address) === 6 ? "IPv6" : "IPv4", agent: "" };
}

function targetOf(
  { target = "", detail = {} }: AuditEvent,
  row: ActionRow,
  instance: string,
  settings: CadfSettings,
): CadfEvent["target"] {
  const [type = row.target] = row.target.split("/");
  return {
    id: crn(settings, instance, type, target),
    name: textOf(detail[detailNames.targetName]) || target,
    typeURI: `${service}/${row.target}`,
    resourceGroupId: "",
  };
}

/** A cloud resource name; its third part names the cloud. */
function crn(
  { region, account }: CadfSettings,
  instance: string,
  type: string,
  resource: string,
): string {
  const parts = [region, `a/${encodeURIComponent(account)}`];
  const own = [instance, type, resource].map(encodeURIComponent);
  return ["crn:v1:holdfast:local", service, ...parts, ...own].join(":");
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
