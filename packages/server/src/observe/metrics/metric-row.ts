import type { KeyRingStatus } from "@holdfast/engine";
import type { LockLook, StoreUsage } from "@holdfast/redis";
import type { NodeEvent } from "../events.ts";

type EventType = NodeEvent["type"];
type EventOf<Type extends EventType> = Extract<NodeEvent, { readonly type: Type }>;

/** A metric that one kind of event moves. */
export interface EventMetric<
  Name extends string = string,
  Kind extends "counter" | "gauge" | "histogram" = "counter" | "gauge" | "histogram",
> {
  readonly type: Kind;
  readonly name: Name;
  readonly help: string;
  readonly labels: readonly string[];
  readonly on: EventType;
  readonly labelValues: (event: never) => readonly string[];
  /**
   * What a counter goes up by (1 when left out); what a histogram observes, in milliseconds; what a gauge is from now
   * on (undefined = as it was).
   */
  readonly amount?: (event: never, nowMs: () => number) => number | undefined;
  /** A gauge that is true of a leader only. */
  readonly ofLeader?: true;
  /** Label values of series that are there before their first event, at 0: a first event is seen as a rise only then. */
  readonly starts?: (node: NodeReadings) => readonly (readonly string[])[];
}

/** A metric that is read when it is scraped. */
export interface ReadMetric {
  readonly type: "gauge";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (node: NodeReadings) => readonly (readonly [...labels: string[], value: number])[];
}

/** An instance, what its keys can be used for at this node, and why. */
interface KeyTrouble {
  readonly name: string;
  readonly state: KeyRingStatus["state"];
  readonly reason: string;
}

/** What is read of roots of trust. */
export interface RootReadings {
  /** Roots of trust that are open: kind, name, and whether they did their work when they were last asked. */
  readonly roots: () => readonly (readonly [kind: string, name: string, ok: number])[];
  /** Instances by what this node can do with their keys. */
  readonly instanceKeys: () => readonly (readonly [state: KeyRingStatus["state"], count: number])[];
  /** Instances whose keys this node does not have open as always. */
  readonly keyTroubles: () => readonly KeyTrouble[];
  /** Seconds until the first instance's keys close because its root of trust cannot be reached; undefined while none does. */
  readonly graceLeft: () => number | undefined;
  /** This region's wraps of KEKs by whether they are under their root key's present version. */
  readonly keks: () => readonly (readonly [under: string, count: number])[];
}

/** What a scrape looks at; everything is known without asking anybody. */
export interface NodeReadings {
  readonly build: { readonly version: string; readonly region: string; readonly node: string };
  readonly endpoint: () =>
    | {
        readonly connectionCount: number;
        readonly handshakeCount: number;
        readonly heldBytes: number;
        readonly listening: boolean;
      }
    | undefined;
  readonly health: () => {
    readonly services: Readonly<Record<string, boolean>>;
    readonly lease: "full" | "readOnly" | "none";
    readonly serving: { readonly from: "local" | "remote" | "none"; readonly writes: boolean };
    readonly rootOfTrust: boolean;
    readonly parts: Readonly<Record<string, boolean>>;
  };
  readonly peers: () => readonly { readonly region: string; readonly state: string }[];
  /** Whether this node leads its region; undefined where it is never a candidate. */
  readonly leads: () => boolean | undefined;
  /** Records set aside in the own store; undefined while that is not known. */
  readonly quarantined: () => number | undefined;
  /** What the own store's Redis takes of its machine; undefined while that is not known. */
  readonly store?: () => StoreUsage | undefined;
  /** How many lock masters there are and answer; undefined while that is not known, or where none are named. */
  readonly lockMasters?: () => Pick<LockLook, "masters" | "answering"> | undefined;
  /** Status and how many have it. */
  readonly instances?: () => readonly (readonly [status: string, count: number])[];
  /** Instance, state and how many; at the leader. */
  readonly objects?: () => readonly (readonly [instance: string, state: string, count: number])[];
  /** Instance, age (a name of `ages`) and how many; at the leader. */
  readonly objectAges?: () => readonly (readonly [instance: string, age: string, count: number])[];
  /** When each region's last good backup began, where there was one, and whether the last of all was good. */
  readonly backups?: () => readonly {
    readonly region: string;
    readonly lastMs: number | undefined;
    readonly ok: boolean;
  }[];
  readonly backupEveryMs?: number;
  readonly roots?: RootReadings["roots"];
  readonly instanceKeys?: RootReadings["instanceKeys"];
  readonly keyTroubles?: RootReadings["keyTroubles"];
  readonly graceLeft?: RootReadings["graceLeft"];
  readonly keks?: RootReadings["keks"];
  /** End of each certificate's time, milliseconds since the epoch. */
  readonly certificates: () => readonly {
    readonly kind: "server" | "client" | "authority" | "peer";
    readonly owner: string;
    readonly subject: string;
    /** Such as `RSA 2048`, of a certificate in this node's own files. */
    readonly keyType?: string;
    readonly fingerprint: string;
    readonly notBeforeMs: number;
    readonly notAfterMs: number;
  }[];
  /** How many of all certificates there are by kind and by how near their end is. */
  readonly certificateCounts?: () => readonly (readonly [
    kind: string,
    expiry: string,
    count: number,
  ])[];
}

/** No labels. */
export const none: readonly string[] = [];

/** A counter. */
export function counter<Type extends EventType, const Name extends string>(
  name: Name,
  on: Type,
  help: string,
  labels: readonly string[] = none,
  labelValues: (event: EventOf<Type>) => readonly string[] = () => none,
  amount?: (event: EventOf<Type>) => number,
): EventMetric<Name, "counter"> {
  const row = { type: "counter" as const, name, on, help, labels, labelValues };
  return amount === undefined ? row : { ...row, amount };
}

/** A counter or histogram whose series are there from the start. */
export function fromStart<Row extends EventMetric>(
  row: Row,
  starts: NonNullable<EventMetric["starts"]>,
): Row {
  return { ...row, starts };
}

/** Every combination of label values, one list a label. */
export function combinations(
  ...labels: readonly (readonly string[])[]
): readonly (readonly string[])[] {
  return labels.reduce<readonly (readonly string[])[]>(
    (heads, values) => heads.flatMap((head) => values.map((value) => [...head, value])),
    [[]],
  );
}

/** A label that is `true` or `false`. */
export const booleans = ["true", "false"] as const;

/** A gauge that keeps what its last event said. */
export function lastSaid<Type extends EventType, const Name extends string>(
  name: Name,
  on: Type,
  help: string,
  amount: (event: EventOf<Type>, nowMs: () => number) => number | undefined,
  labels: readonly string[] = none,
  labelValues: (event: EventOf<Type>) => readonly string[] = () => none,
): EventMetric<Name, "gauge"> {
  return { type: "gauge", name, on, help, labels, labelValues, amount };
}

/** A histogram of times. */
export function seconds<Type extends EventType, const Name extends string>(
  name: Name,
  on: Type,
  help: string,
  amount: (event: EventOf<Type>) => number,
  labels: readonly string[] = none,
  labelValues: (event: EventOf<Type>) => readonly string[] = () => none,
): EventMetric<Name, "histogram"> {
  return { type: "histogram", name, on, help, labels, labelValues, amount };
}
