import type { CounterName, HistogramName } from "../metrics/metric-table.ts";

/** A promise of the service to its clients, and how it is measured. */
export interface Objective<Id extends string = string> {
  readonly id: Id;
  readonly title: string;
  /** The promise in one sentence. */
  readonly says: string;
  /** The share of events that must be good, over `periodDays`. */
  readonly objective: number;
  /** Bad events per second over a window such as `5m`. */
  readonly errors: (window: string) => string;
  /** All events per second over the window. */
  readonly total: (window: string) => string;
  readonly alert: string;
  /** The start of its alert's summary. */
  readonly burns: string;
}

/** The period of an error budget. */
export const periodDays = 30;

/** Result Reasons that mean a fault of the service, with the names of KMIP 1.x and 2.x. */
const ownFaults =
  "GeneralFailure|InternalServerError|ServerLimitExceeded|WrappingObjectDestroyed|ProtectionStorageUnavailable";

/** Bucket bounds of the histograms that objectives use, in seconds. */
type Bucket = 0.05 | 0.25;

function requests(operation: string, result: string, window: string): string {
  const name: CounterName = "holdfast_requests_total";
  return `sum(rate(${name}{operation="${operation}"${result}}[${window}]))`;
}

function times(name: HistogramName, where: string, window: string): string {
  return `sum(rate(${name}_count{${where}}[${window}]))`;
}

function slower(name: HistogramName, where: string, than: Bucket, window: string): string {
  const bucket = `${where === "" ? "" : `${where},`}le="${than}"`;
  return `${times(name, where, window)} - sum(rate(${name}_bucket{${bucket}}[${window}]))`;
}

function availability<const Id extends string>(
  id: Id,
  operation: "Get" | "Create",
  objective: number,
): Objective<Id> {
  const percent = percentOf(objective);
  return {
    id,
    title: `Availability of ${operation}`,
    says: `${percent} of ${operation} requests are answered without a fault of the service.`,
    objective,
    errors: (window) => requests(operation, `,result=~"${ownFaults}"`, window),
    total: (window) => requests(operation, "", window),
    alert: `Holdfast${operation}Fails`,
    burns: `${operation} fails for clients so often that its error budget (objective ${percent}) will be used up`,
  };
}

/** The objectives; rules, alerts, panels and docs/slo.md are made from these rows. */
export const objectives = [
  availability("get-availability", "Get", 0.9999),
  availability("create-availability", "Create", 0.999),
  {
    id: "get-latency",
    title: "Latency of Get",
    says: "99% of Get requests take at most 50 ms in the service.",
    objective: 0.99,
    errors: (window) => slower("holdfast_operation_seconds", 'operation="Get"', 0.05, window),
    total: (window) => times("holdfast_operation_seconds", 'operation="Get"', window),
    alert: "HoldfastGetSlow",
    burns: "Get takes over 50 ms so often that its error budget (objective 99%) will be used up",
  },
  {
    id: "handshake-latency",
    title: "Latency of the TLS handshake",
    says: "99% of TLS handshakes take at most 250 ms, counted from the TCP connection.",
    objective: 0.99,
    errors: (window) => slower("holdfast_handshake_seconds", "", 0.25, window),
    total: (window) => times("holdfast_handshake_seconds", "", window),
    alert: "HoldfastHandshakesSlow",
    burns:
      "TLS handshakes take over 250 ms so often that their error budget (objective 99%) will be used up",
  },
] as const satisfies readonly Objective[];

/** The identifier of an objective. */
export type ObjectiveId = (typeof objectives)[number]["id"];

/** The name of an objective in sloth's rules. */
export function slothId(id: ObjectiveId): string {
  return `holdfast-${id}`;
}

/** `0.9999` as `99.99%`. */
export function percentOf(share: number): string {
  return `${Number((share * 100).toFixed(4))}%`;
}
