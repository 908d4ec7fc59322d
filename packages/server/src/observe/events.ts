import type { Event as EngineEvent } from "@holdfast/engine";
import type { HandshakeFault } from "../access/handshake-fault.ts";
import type { Refusal } from "../access/trust.ts";

/** Why a KMIP connection ended; the words are also a metric's label. */
export const endings = [
  /** The client closed it, or it broke. */
  "client",
  "idle",
  /** A request took too long to arrive. */
  "requestDeadline",
  /** An answer was not taken in time. */
  "answerDeadline",
  /** An answer was not made in time: a fault of the node. */
  "stuck",
  /** Bytes that cannot be the beginning of a message. */
  "unframeable",
  /** Its certificate expired or is no longer trusted. */
  "trustEnded",
  /** Its place went to another connection: its instance had its share, or all places were taken. */
  "displaced",
  "draining",
] as const;

/** One of `endings`. */
export type Ending = (typeof endings)[number];

/** What happens at the edges of the process, beside what the engine reports. */
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
      /** OpenSSL's code, or words. */
      readonly reason: string;
      readonly remote: string;
      /** What an administrator can do something about. */
      readonly fault?: HandshakeFault;
    }
  /** No place for a connection: `kmip.connectionsMax`, and none of its instance's is idle. */
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
  /** The engine broke its promise and rejected; never what a client can cause. */
  | { readonly type: "requestFailed"; readonly requestId: string; readonly cause: unknown }
  | { readonly type: "listener"; readonly open: boolean; readonly address: string }
  /** Certificate files were read again. */
  | {
      readonly type: "certificate";
      readonly purpose: "kmip" | "peer" | "admin";
      readonly loaded: boolean;
      readonly detail: string;
    }
  /** The admin API answered; `cause` is there for a fault of the node. */
  | {
      readonly type: "adminRequest";
      /** Empty where the path leads nowhere. */
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
  /** The admin API let somebody not in, or not to this. */
  | {
      readonly type: "adminDenied";
      readonly operation: string;
      readonly reason: string;
      readonly principal: string;
      readonly instance: string;
      readonly remote: string;
      readonly requestId: string;
    }
  /** A user name and password that an instance does not know. */
  | {
      readonly type: "passwordRefused";
      readonly instance: string;
      readonly user: string;
      readonly fingerprint: string;
    };

/** Everything that metrics and log listen to. */
export type NodeEvent = EngineEvent | EdgeEvent;

/** Takes events; must not throw. */
export type NodeObserver = (event: NodeEvent) => void;
