import type { ResponseItem } from "@holdfast/kmip";
import type { Clock } from "../base/clock.ts";
import type { Ids } from "../base/ids.ts";
import type { Observer } from "../base/observe.ts";
import type { Locks } from "../concurrency/locks.ts";
import type { Pace } from "../concurrency/pace.ts";
import type { AnswerShare } from "../operations/answer-memory.ts";
import type { Handlers } from "../operations/operation-handlers.ts";
import type { KeyRing } from "../ports/keys.ts";
import type { ObjectStore } from "../ports/objects.ts";
import type { EngineSettings } from "../ports/operation-context.ts";
import type { Writer } from "../record/registers.ts";
import type { Client, MessageUser } from "./access.ts";
import type { ItemAudit } from "./item-audit.ts";

/** The dependencies of a batch. */
export interface BatchParts {
  readonly store: ObjectStore;
  readonly locks: Locks;
  readonly keyRing: KeyRing;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly region: string;
  readonly writer: Writer;
  readonly settings: EngineSettings;
  readonly handlers: Handlers;
}

/** The client and the request that a message came with. */
export interface Origin {
  readonly client: Client;
  /** The users whose passwords were verified for the message; none where the instance had no users. */
  readonly users: readonly MessageUser[];
  readonly requestId: string;
  /** Counts from the arrival of the message, also when its batch is decided again. */
  readonly pace: Pace;
  /** The memory that the message's answers take. */
  readonly share: AnswerShare;
}

/** An answer, and what is reported about it when it is final. */
export interface Done {
  readonly answer: ResponseItem;
  readonly audit: ItemAudit;
  readonly startedMs: number;
  readonly cause?: unknown;
}
