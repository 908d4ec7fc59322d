import type { ResponseItem } from "@holdfast/kmip";
import type { Client } from "./access.ts";
import type { EngineSettings } from "./context.ts";
import type { Handlers } from "./handlers.ts";
import type { ItemAudit } from "./item-audit.ts";
import type { Observer } from "./observe.ts";
import type { Pace } from "./pace.ts";
import type { Clock, Ids, KeyRing, Locks, ObjectStore } from "./ports.ts";
import type { Writer } from "./registers.ts";

/** What a batch is carried out with. */
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

/** Whose message it is. */
export interface Origin {
  readonly client: Client;
  readonly requestId: string;
  /** Since the message came, however often its batch is decided anew. */
  readonly pace: Pace;
}

/** An answer, and what is told of it when it is final. */
export interface Done {
  readonly answer: ResponseItem;
  readonly audit: ItemAudit;
  readonly startedMs: number;
  readonly cause?: unknown;
}
