import {
  type KekGiving,
  KeyRingUnavailable,
  type StoreFailure,
  StoreUnavailable,
} from "@holdfast/engine";
import { operationRow } from "@holdfast/kmip";
import type { NodeEvent } from "./events.ts";

/** The severity of a line. */
export type Level = "debug" | "info" | "warn" | "error";

type EventOf<Type extends NodeEvent["type"]> = Extract<NodeEvent, { readonly type: Type }>;

/** How one kind of event is logged. A line contains only the fields named here. */
export interface LogRow<Event> {
  readonly level: (event: Event) => Level;
  readonly message: string | ((event: Event) => string);
  readonly fields: readonly (keyof Event)[];
  /** Strangers, or clients during an outage, can cause this event at any rate, so the number of lines is limited. */
  readonly limited?: true | ((event: Event) => boolean);
  /** Events with the same value here are logged once in ten minutes, with the number of repetitions. */
  readonly sameAs?: (event: Event) => string;
  /** The cause is logged without its stack, unless the level is debug. */
  readonly brief?: true;
}

/** Store failures that mean damage or loss, which do not go away by themselves. */
const damages: ReadonlySet<StoreFailure> = new Set([
  "corrupt",
  "unknownFormat",
  "badReply",
  "notInitialised",
  "unsafe",
]);

/** Whether a cause is a temporary outage outside this node. */
function isOutage(cause: unknown): boolean {
  if (cause instanceof StoreUnavailable) return !damages.has(cause.failure);
  return cause instanceof KeyRingUnavailable;
}

/** The reason that the store gives for the end of its lease when the node stops. */
const storeCloses = "the store is closing";

const always = (level: Level) => () => level;

const isGiven = (result: KekGiving): boolean => result === "missing" || result === "ordered";

/** One row per kind of event; `undefined` = never logged, only counted in metrics. */
export const logTable: {
  readonly [Type in NodeEvent["type"]]: LogRow<EventOf<Type>> | undefined;
} = {
  operation: {
    level: ({ cause, result, operation }) => {
      if (cause !== undefined) return isOutage(cause) ? "warn" : "error";
      // A successful operation that changes nothing.
      return result === "Success" && operationRow(operation)?.changes === false ? "debug" : "info";
    },
    message: ({ cause }) => {
      if (cause === undefined) return "operation";
      return isOutage(cause) ? "the store or a key cannot be used now" : "internal error";
    },
    fields: [
      "requestId",
      "instance",
      "fingerprint",
      "operation",
      "version",
      "result",
      "uniqueIdentifier",
      "durationMs",
      "cause",
    ],
    // Separate events report why the keys or the store cannot be used.
    limited: ({ cause }) => isOutage(cause),
  },
  request: undefined,
  requestFailed: {
    level: always("error"),
    message: "a request got no answer: a fault of this node",
    fields: ["requestId", "cause"],
  },
  handshake: {
    level: ({ outcome }) => (outcome === "accepted" ? "debug" : "info"),
    message: ({ outcome }) => (outcome === "accepted" ? "client accepted" : "client refused"),
    fields: ["outcome", "remote", "fingerprint", "subject", "protocol", "resumed", "durationMs"],
    limited: true,
  },
  handshakeFailed: {
    level: ({ fault }) => (fault === undefined ? "debug" : "info"),
    message: "handshake failed",
    fields: ["fault", "reason", "remote"],
    limited: true,
  },
  connectionDropped: {
    level: always("info"),
    message: "connection dropped: all connections that kmip.connectionsMax allows are busy",
    fields: [],
    limited: true,
  },
  connectionEnded: {
    level: ({ ending }) => {
      if (ending === "stuck") return "error";
      const usual = ending === "client" || ending === "idle" || ending === "draining";
      return usual ? "debug" : "info";
    },
    message: "connection ended",
    fields: ["ending", "detail", "instance", "fingerprint"],
    limited: true,
  },
  storeCommand: undefined,
  barrier: {
    // An idle node's barriers contain no change; the lease already reports a short barrier once.
    level: ({ full, batch }) => (full || batch === 0 ? "debug" : "warn"),
    message: ({ full }) => (full ? "barrier" : "barrier came back short: the changes may survive"),
    fields: ["durationMs", "batch"],
  },
  lease: {
    level: ({ state, reason }) => {
      if (reason === storeCloses) return "debug";
      return state === "full" ? "info" : "warn";
    },
    message: "store lease",
    fields: ["state", "reason"],
  },
  storageKey: {
    level: ({ state }) => (state === "open" ? "info" : "error"),
    message: ({ state }) =>
      state === "open" ? "storage key opened" : "the root of trust does not open the storage key",
    fields: ["state", "reason"],
  },
  storageKeyPutBack: {
    level: always("error"),
    message:
      "a storage key is missing or damaged in {sys}:keys: its last good entry is put back; find out who changed Redis",
    fields: ["number"],
  },
  unprovenValue: {
    level: always("error"),
    message:
      "a value in Redis does not prove itself, and does not count; find out who changed Redis",
    fields: ["place"],
  },
  rollbackMemory: {
    // A node that starts for the first time has no file yet.
    level: ({ state }) => (state === "kept" ? "info" : state === "missing" ? "warn" : "error"),
    message: ({ state }) =>
      state === "kept"
        ? "this node remembers its store"
        : "the file with this node's memory of its store is missing, or cannot be used",
    fields: ["state", "reason"],
  },
  storeDoubt: {
    level: ({ doubted }) => (doubted ? "error" : "info"),
    message: ({ doubted }) =>
      doubted
        ? "the store is older than this node remembers: find out who put back a copy of its data"
        : "the store is not older than this node remembers any more",
    fields: ["reason"],
  },
  olderRecord: {
    level: always("error"),
    message:
      "the store has an older state of a record than this node remembers, or has it no more: find out who changed Redis",
    fields: ["partition", "uniqueIdentifier"],
    limited: true,
  },
  lock: {
    level: ({ result }) => (result === "unavailable" ? "info" : "debug"),
    message: "lock",
    fields: ["result"],
    limited: true,
  },
  unwrap: {
    level: ({ ok }) => (ok ? "debug" : "warn"),
    message: "key-encryption key unwrapped by the root of trust",
    fields: ["ok", "durationMs"],
  },
  rootCall: {
    level: ({ status }) => (status >= 200 && status < 300 ? "debug" : "info"),
    message: ({ status }) =>
      status === 0 ? "the key manager did not answer" : "call to the key manager",
    fields: ["root", "action", "status", "code", "correlationId", "attempt", "durationMs"],
    limited: true,
  },
  instanceKeys: {
    level: ({ state }) => (state === "open" ? "info" : state === "grace" ? "warn" : "error"),
    message: "an instance's keys",
    fields: ["instance", "state", "failure", "reason"],
  },
  coveredRead: undefined,
  casConflict: undefined,
  serving: {
    level: ({ from, writes }) => (from === "local" && writes ? "info" : "warn"),
    message: "clients are served from",
    fields: ["from", "writes", "reason"],
  },
  peer: {
    level: ({ state }) => (state === "up" ? "info" : "warn"),
    message: "other region",
    fields: ["region", "state", "reason"],
  },
  push: undefined,
  join: {
    level: ({ result }) =>
      result === "quarantined" || result === "unreadable" ? "error" : "debug",
    message: "copy of the other region joined",
    fields: ["region", "result"],
    limited: true,
  },
  unproven: {
    level: always("warn"),
    message: "a change by the other region is not taken: nothing proves that it was approved",
    fields: ["region", "record", "reason"],
    limited: true,
  },
  unprovenLeft: undefined,
  clockOffset: undefined,
  regionStores: {
    level: ({ stores }) => (stores > 1 ? "warn" : "info"),
    message: "stores that the nodes of a region use",
    fields: ["stores", "reason"],
  },
  clockAhead: {
    level: always("warn"),
    message: "a stamp of the other region is ahead of this node's clock",
    fields: ["region", "ms"],
    limited: true,
  },
  agreement: {
    level: ({ result }) => (result === "agreed" ? "debug" : "info"),
    message: "operation that all regions agree on",
    fields: ["result", "durationMs"],
  },
  leader: {
    level: always("info"),
    message: "leader election",
    fields: ["state", "epoch", "reason"],
  },
  duty: {
    level: ({ ok }) => (ok ? "debug" : "warn"),
    message: ({ ok }) => (ok ? "leader's duty done" : "leader's duty failed"),
    fields: ["duty", "durationMs", "done", "left", "cause"],
    limited: true,
    sameAs: ({ ok, duty, cause }) => (ok ? "" : `${duty} ${String(cause)}`),
    brief: true,
  },
  behind: undefined,
  restorable: {
    level: () => "info",
    message: "Destroyed keys that can be restored",
    fields: ["keys"],
  },
  duplicateNames: {
    level: ({ names }) => (names > 0 ? "warn" : "info"),
    message: "Names that two live objects have",
    fields: ["names"],
  },
  auditSink: {
    level: ({ ok }) => (ok ? "debug" : "warn"),
    message: ({ ok }) =>
      ok ? "audit entries shipped" : "audit entries cannot be shipped; they wait",
    fields: ["sink", "entries", "behind", "lagMs", "durationMs", "cause"],
    limited: true,
  },
  auditWitness: {
    level: ({ ok }) => (ok ? "debug" : "warn"),
    message: ({ ok }) => (ok ? "audit log cosigned" : "a witness does not cosign the audit log"),
    fields: ["witness", "size", "behind", "lagMs", "durationMs", "cause"],
    limited: true,
    sameAs: ({ ok, witness, cause }) => (ok ? "" : `${witness} ${String(cause)}`),
  },
  auditLost: {
    level: always("error"),
    message: "audit entries were given up: the store keeps no more",
    fields: ["entries", "reason"],
    limited: true,
  },
  auditFault: {
    level: always("error"),
    message: "the audit trail does not match its chain: run `holdfast audit verify`",
    fields: ["partition", "reason"],
    limited: true,
  },
  kekGiven: {
    level: ({ result }) => (isGiven(result) ? "info" : "warn"),
    message: ({ result }) =>
      `a key-encryption key was ${isGiven(result) ? "" : "not "}given to the other region`,
    fields: ["region", "instance", "kekId", "result"],
    limited: true,
  },
  peerRefused: {
    level: always("warn"),
    message: "refused at the link between the regions",
    fields: ["address", "reason"],
    limited: true,
    // A caller uses another port each time.
    sameAs: ({ address, reason }) => `${address.replace(/:\d+$/, "")} ${reason}`,
  },
  warning: {
    level: always("warn"),
    message: ({ message }) => message,
    fields: ["cause"],
  },
  listener: {
    level: always("info"),
    message: ({ open }) => (open ? "KMIP listener open" : "KMIP listener shut"),
    fields: ["address"],
  },
  certificate: {
    level: ({ loaded }) => (loaded ? "info" : "warn"),
    message: ({ loaded }) => (loaded ? "certificate loaded" : "certificate refused"),
    fields: ["purpose", "detail"],
  },
  crl: {
    level: ({ loaded }) => (loaded ? "info" : "warn"),
    message: ({ loaded }) => (loaded ? "revocation list read" : "revocation list missing or late"),
    fields: ["authority", "source", "detail"],
    limited: true,
    sameAs: ({ loaded, source, detail }) => (loaded ? "" : `${source} ${detail}`),
  },
  adminRequest: {
    level: ({ status, method, cause }) => {
      if (cause !== undefined) return "error";
      return method === "GET" && status < 500 ? "debug" : "info";
    },
    message: ({ cause }) => (cause === undefined ? "admin request" : "internal error"),
    fields: [
      "requestId",
      "operation",
      "method",
      "status",
      "principal",
      "instance",
      "remote",
      "durationMs",
      "cause",
    ],
    limited: true,
  },
  adminDenied: {
    level: always("warn"),
    message: "admin request denied",
    fields: ["requestId", "operation", "reason", "principal", "instance", "remote"],
    limited: true,
  },
  approval: {
    level: ({ step, breakGlass }) => (breakGlass || step === "refusal" ? "warn" : "info"),
    message: ({ step, breakGlass }) =>
      `approvals: ${step}${breakGlass ? " with a break-glass key" : ""}`,
    fields: ["request", "detail"],
    limited: true,
  },
  passwordRefused: {
    level: always("info"),
    message: "user name or password refused",
    fields: ["instance", "user", "fingerprint"],
    limited: true,
  },
};

/** Field names whose values are never printed, anywhere in a line. */
export const redactedNames: readonly string[] = [
  "password",
  "passwordHash",
  "credential",
  "key",
  "privateKey",
  "keyMaterial",
  "secret",
  "token",
  "plaintext",
];
