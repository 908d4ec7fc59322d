import type { Answer } from "../checker.ts";
import type { Wish } from "../client.ts";

/** The fields of each kind of event that a story tells; `tellings.ts` has a row for each kind. */
export interface EventFields {
  /** Everything serves, and clients begin. */
  readonly begin: {
    readonly seed: number;
    readonly farMs: number;
    readonly replicas: number;
    readonly required: boolean;
    readonly flaw: string | undefined;
  };
  /** A client's request is over. */
  readonly request: {
    readonly node: string;
    readonly wish: Wish["kind"];
    /** Name of the key that it was about, if any. */
    readonly key: string | undefined;
    readonly text: string | undefined;
    /** Absent where no answer came in time. */
    readonly answer: Answer | undefined;
    /** The regions that had the change when it was acknowledged; empty where nothing changed. */
    readonly regions: readonly string[];
  };
  /** A node serves clients from another store than before, or from none. */
  readonly serving: {
    readonly node: string;
    readonly from: "local" | "remote" | "none";
    readonly writes: boolean;
    readonly reason: string;
    /** It did so before, for another reason. */
    readonly again: boolean;
  };
  /** A node loses or finds the other region. */
  readonly peer: {
    readonly node: string;
    readonly region: string;
    readonly state: "up" | "down" | "retired";
  };
  readonly push: {
    readonly node: string;
    readonly records: number;
    readonly result: "shared" | "alone";
  };
  readonly join: { readonly node: string; readonly region: string; readonly result: string };
  readonly agreement: { readonly node: string; readonly result: "agreed" | "refused" | "unknown" };
  readonly leader: {
    readonly node: string;
    readonly state: "leader" | "follower" | "standing";
    readonly epoch: number;
  };
  readonly duty: { readonly node: string; readonly duty: string; readonly cause: string };
  readonly warning: { readonly node: string; readonly message: string };
  readonly fault: { readonly name: string; readonly what: string };
  readonly faultOver: { readonly name: string; readonly what: string };
  readonly storeLost: {
    readonly region: string;
    readonly copy: boolean;
    /** How many acknowledged changes only this store had. */
    readonly changes: number;
  };
  /** Sentinel makes a replica the primary. */
  readonly promotion: { readonly region: string; readonly process: string };
  readonly healed: object;
  /** Both regions have the same again. */
  readonly settled: object;
  /** Every key was read at every node. */
  readonly checked: { readonly answers: number };
  readonly violation: { readonly message: string };
  readonly end: {
    readonly shared: number;
    readonly alone: number;
    /** How many of these were lost with the only store that had them. */
    readonly lostAlone: number;
    readonly violation: string | undefined;
  };
}

export type EventKind = keyof EventFields;

/** An event of one of the kinds. */
export type StoryEvent = {
  [Kind in EventKind]: { readonly kind: Kind } & EventFields[Kind];
}[EventKind];
