import type { KeyRingStatus } from "@holdfast/engine";
import type { LockLook, StoreUsage } from "@holdfast/redis";
import type { CrlReading } from "../../access/crl/revocation-lists.ts";
import type { NodeEvent } from "../events.ts";

type EventType = NodeEvent["type"];
type EventOf<Type extends EventType> = Extract<NodeEvent, { readonly type: Type }>;

/** A metric that one kind of event changes. */
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
   * The increment of a counter (1 by default); the value that a histogram observes, in milliseconds; the new value of a
   * gauge (undefined = unchanged).
   */
  readonly amount?: (event: never, nowMs: () => number) => number | undefined;
  /** A gauge that only a leader shows. */
  readonly ofLeader?: true;
  /** Label values of series that start at 0: otherwise Prometheus does not see their first event as an increase. */
  readonly starts?: (node: NodeReadings) => readonly (readonly string[])[];
}

/** A metric whose value is read at each scrape. */
export interface ReadMetric {
  readonly type: "gauge";
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (node: NodeReadings) => readonly (readonly [...labels: string[], value: number])[];
}

/** An instance, the state of its keys on this node, and the reason. */
interface KeyTrouble {
  readonly name: string;
  readonly state: KeyRingStatus["state"];
  readonly reason: string;
}

/** Readings of roots of trust. */
export interface RootReadings {
  /** Open roots of trust: kind, name, and whether they worked when they were last used. */
  readonly roots: () => readonly (readonly [kind: string, name: string, ok: number])[];
  /** Instances by what this node can do with their keys. */
  readonly instanceKeys: () => readonly (readonly [state: KeyRingStatus["state"], count: number])[];
  /** Instances whose keys are not in the state `open` on this node. */
  readonly keyTroubles: () => readonly KeyTrouble[];
  /** Seconds until the first instance's keys close because its root of trust cannot be reached; undefined while none does. */
  readonly graceLeft: () => number | undefined;
  /** This region's wraps of KEKs and of its storage key by whether they are under their root key's current version. */
  readonly keks: () => readonly (readonly [under: string, count: number])[];
  /** The most seals under one KEK that seals. */
  readonly kekSeals: () => number;
  /** How many records of this region may need an older KEK, by the leader's last word. */
  readonly rekeyLeft: () => number;
  /** How many records of this region an older storage key has proven; undefined where this node does not replace them. */
  readonly storageKeyLeft: () => number | undefined;
}

/** The values that a scrape reads; all are in memory, so no request to another system is needed. */
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
  /** How many changes this node acknowledged without another region since that region was last lost. */
  readonly alone?: (region: string) => number;
  /** Each region of which a node was heard, and how many different stores its nodes use for long. */
  readonly regionStores?: () => readonly (readonly [region: string, stores: number])[];
  /** Whether this node leads its region; undefined if it is never a candidate. */
  readonly leads: () => boolean | undefined;
  /** Quarantined records in the own store; undefined while unknown. */
  readonly quarantined: () => number | undefined;
  /** The resources that the own store's Redis uses; undefined while unknown. */
  readonly store?: () => StoreUsage | undefined;
  /** How many lock masters exist, and how many answer; undefined while unknown, or if none are configured. */
  readonly lockMasters?: () => Pick<LockLook, "masters" | "answering"> | undefined;
  /** Number of instances by status. */
  readonly instances?: () => readonly (readonly [status: string, count: number])[];
  /** Number of objects by instance and state; at the leader. */
  readonly objects?: () => readonly (readonly [instance: string, state: string, count: number])[];
  /** Number of objects by instance and age (a name of `ages`); at the leader. */
  readonly objectAges?: () => readonly (readonly [instance: string, age: string, count: number])[];
  /** When each region's last good backup began, if there was one, and whether its very last backup was good. */
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
  readonly kekSeals?: RootReadings["kekSeals"];
  readonly rekeyLeft?: RootReadings["rekeyLeft"];
  readonly storageKeyLeft?: RootReadings["storageKeyLeft"];
  /** Validity of each certificate, milliseconds since the epoch. */
  readonly certificates: () => readonly {
    readonly kind: "server" | "client" | "authority" | "peer" | "redis" | "sentinel" | "lockMaster";
    readonly owner: string;
    readonly subject: string;
    /** For example `RSA 2048`; present for a certificate in this node's own files. */
    readonly keyType?: string;
    readonly fingerprint: string;
    readonly notBeforeMs: number;
    readonly notAfterMs: number;
  }[];
  /** Each revocation list of this node's configuration. */
  readonly crls?: () => readonly CrlReading[];
  /** Ways around approvals that were taken; undefined while unknown. */
  readonly breakGlass?: () =>
    | readonly (readonly [kind: "signed" | "policy", count: number])[]
    | undefined;
  /** The number of denials in force; undefined while unknown. */
  readonly denials?: () => number | undefined;
  /** Number of all certificates by kind and by how soon they expire. */
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

/** A counter or histogram whose series exist from the start. */
export function fromStart<Row extends EventMetric>(
  row: Row,
  starts: NonNullable<EventMetric["starts"]>,
): Row {
  return { ...row, starts };
}

/** Every combination of label values, from one list per label. */
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

/** A gauge that keeps the value of its last event. */
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
