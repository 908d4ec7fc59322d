/** Where to connect and as whom; certificates and keys are PEM text. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** A prepared request. */
export interface Message {
  /** Base64, for the transfer between processes. */
  readonly bytes: string;
  /** Positions for a Unique Identifier of 36 characters that an earlier answer gave. */
  readonly idsAt: readonly number[];
  /** Positions for ten digits that no other operation has. */
  readonly numbersAt: readonly number[];
}

/** The messages of one connection; each is sent once the one before is answered. */
export type Exchange = readonly Message[];

/** What to do, and for how long. */
export interface LoadPlan {
  /** Connections at the same time; each takes the next target when it connects. */
  readonly connections: number;
  readonly targets: readonly Target[];
  /** Whether operations use a kept connection; otherwise each exchange connects again. */
  readonly persistent: boolean;
  /** They take turns on whichever connection is free. */
  readonly operations: readonly (readonly Exchange[])[];
  readonly warmMs: number;
  /** The maximum time of the measurement. */
  readonly measureMs: number;
  /** This many operations end the measurement, too. */
  readonly operationsMax?: number;
  /** The rate at which operations begin, over all connections; as fast as possible unless given. */
  readonly ratePerSecond?: number;
  /** Processes whose processor time is read at the start and the end of the measurement. */
  readonly pids: Readonly<Record<string, readonly number[]>>;
}

/** The result of a measurement. */
export interface LoadResult {
  readonly operations: number;
  readonly failures: number;
  readonly firstFailure?: string;
  readonly seconds: number;
  /** Microseconds per operation, as a histogram's JSON. */
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

/** A request of the bench to its load generator, one at a time. */
export type LoadRequest =
  | { readonly do: "load"; readonly plan: LoadPlan }
  | { readonly do: "hold"; readonly plan: HoldPlan }
  | { readonly do: "release" };

/** The load generator's answer. */
export type LoadAnswer =
  | { readonly result: LoadResult }
  | { readonly held: number }
  | { readonly released: true }
  | { readonly error: string };
