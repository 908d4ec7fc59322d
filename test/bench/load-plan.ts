/** Where to connect and as whom; certificates and keys are PEM text. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** A request made beforehand. */
export interface Message {
  /** Base64, as it goes between processes. */
  readonly bytes: string;
  /** Where a Unique Identifier of 36 characters is put in, which an earlier answer gave. */
  readonly idsAt: readonly number[];
  /** Where ten digits are put in that no other operation has. */
  readonly numbersAt: readonly number[];
}

/** The messages of one connection, each sent when the one before is answered. */
export type Exchange = readonly Message[];

/** What to do, and for how long. */
export interface LoadPlan {
  /** Connections at the same time; each takes the next target when it connects. */
  readonly connections: number;
  readonly targets: readonly Target[];
  /** Whether each operation is one exchange on a connection that stays; otherwise each exchange connects anew. */
  readonly persistent: boolean;
  /** They take turns, whichever connection is free. */
  readonly operations: readonly (readonly Exchange[])[];
  readonly warmMs: number;
  /** At most this long is measured. */
  readonly measureMs: number;
  /** Ends the measurement, too. */
  readonly operationsMax?: number;
  /** Operations begin at this rate, all connections together; as fast as they are answered unless given. */
  readonly ratePerSecond?: number;
  /** Processes whose processor time is read at the begin and the end of the measurement. */
  readonly pids: Readonly<Record<string, readonly number[]>>;
}

/** What was seen while it was measured. */
export interface LoadResult {
  readonly operations: number;
  readonly failures: number;
  readonly firstFailure?: string;
  readonly seconds: number;
  /** Microseconds of one operation, as a histogram's JSON. */
  readonly histogram: readonly (readonly [bucket: number, count: number])[];
  readonly cpuSeconds: Readonly<Record<string, number>>;
  /** Processor time of the load generator itself. */
  readonly loadCpuSeconds: number;
}

/** Connections that are opened, used once, and then only held. */
export interface HoldPlan {
  readonly connections: number;
  readonly target: Target;
  readonly message: Message;
}

/** What the bench asks of its load generator, one at a time. */
export type LoadRequest =
  | { readonly do: "load"; readonly plan: LoadPlan }
  | { readonly do: "hold"; readonly plan: HoldPlan }
  | { readonly do: "release" };

/** What it answers. */
export type LoadAnswer =
  | { readonly result: LoadResult }
  | { readonly held: number }
  | { readonly released: true }
  | { readonly error: string };
