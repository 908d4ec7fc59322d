import type { Event as EngineEvent } from "@holdfast/engine";
import type { HandshakeFault } from "../access/handshake-fault.ts";
import type { Refusal } from "../access/trust.ts";

/** Why a KMIP connection ended; these words are also label values of a metric. */
export const endings = [
  /** The client closed it, or it was lost. */
  "client",
  "idle",
  /** A request took too long to arrive. */
  "requestDeadline",
  /** The client did not read the response in time. */
  "answerDeadline",
  /** The node did not produce a response in time: a fault of the node. */
  "stuck",
  /** The bytes received cannot start a message. */
  "unframeable",
  /** The client's certificate expired or is no longer trusted. */
  "trustEnded",
  /** Closed to make room for another connection: its instance had used its share, or all places were taken. */
  "displaced",
  "draining",
] as const;

/** One of `endings`. */
export type Ending = (typeof endings)[number];

/** The steps of approvals; these words are also label values of a metric. */
export const approvalSteps = ["request", "signature", "use", "refusal", "policy"] as const;

/** Events of the server itself, in addition to those of the engine. */
type EdgeEvent =
  | {
      readonly type: "handshake";
      readonly outcome: "accepted" | Refusal;
      readonly durationMs: number;
      readonly resumed: boolean;
      readonly protocol: string;
      readonly remote: string;
      readonly fingerprint: string;
      readonly subject: string;
    }
  | {
      readonly type: "handshakeFailed";
      /** OpenSSL's code, or a text. */
      readonly reason: string;
      readonly remote: string;
      /** Present if an administrator can fix the cause. */
      readonly fault?: HandshakeFault;
    }
  /** No room for a connection: `kmip.connectionsMax` is reached, and its instance has no idle connection. */
  | { readonly type: "connectionDropped" }
  | {
      readonly type: "connectionEnded";
      readonly ending: Ending;
      readonly detail: string;
      readonly instance: string;
      readonly fingerprint: string;
    }
  | {
      readonly type: "request";
      readonly durationMs: number;
      readonly requestBytes: number;
      readonly responseBytes: number;
    }
  /** The engine rejected, which it must never do; no client can cause this. */
  | { readonly type: "requestFailed"; readonly requestId: string; readonly cause: unknown }
  | { readonly type: "listener"; readonly open: boolean; readonly address: string }
  /** Certificate files were read again. */
  | {
      readonly type: "certificate";
      readonly purpose: "kmip" | "peer" | "admin";
      readonly loaded: boolean;
      readonly detail: string;
    }
  /** A revocation list was read, could not be read, has ended or is in time again. */
  | {
      readonly type: "crl";
      readonly authority: string;
      readonly source: string;
      readonly loaded: boolean;
      readonly detail: string;
    }
  /** The admin API answered a request; `cause` is present for a fault of the node. */
  | {
      readonly type: "adminRequest";
      /** Empty if no route has this path. */
      readonly operation: string;
      readonly method: string;
      readonly status: number;
      readonly durationMs: number;
      readonly principal: string;
      readonly instance: string;
      readonly remote: string;
      readonly requestId: string;
      readonly cause?: unknown;
    }
  /** The admin API refused a caller, or refused this operation to the caller. */
  | {
      readonly type: "adminDenied";
      readonly operation: string;
      readonly reason: string;
      readonly principal: string;
      readonly instance: string;
      readonly remote: string;
      readonly requestId: string;
    }
  /** A step of approvals; `detail` names the operation, or who signed. */
  | {
      readonly type: "approval";
      readonly step: (typeof approvalSteps)[number];
      /** Whether a break-glass key was used. */
      readonly breakGlass: boolean;
      readonly request: string;
      readonly detail: string;
    }
  /** A user name and password that an instance does not know. */
  | {
      readonly type: "passwordRefused";
      readonly instance: string;
      readonly user: string;
      readonly fingerprint: string;
    };

/** Every event that metrics and log receive. */
export type NodeEvent = EngineEvent | EdgeEvent;

/** Receives events; must not throw. */
export type NodeObserver = (event: NodeEvent) => void;
