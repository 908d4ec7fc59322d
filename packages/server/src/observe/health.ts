import { healthLines } from "./health-lines.ts";

/** What the store lets this node do. */
export type LeaseState = "full" | "readOnly" | "none";

/** Which store this node serves its clients from, and whether that takes changes. */
export interface Serving {
  readonly from: "local" | "remote" | "none";
  readonly writes: boolean;
  readonly reason: string;
}

/** How long things must have been bad or good before the node says so. */
export interface HealthSettings {
  readonly downAfterMs: number;
  readonly upAfterMs: number;
  /** How long the root of trust may be out of reach before reads count as impossible. */
  readonly rootOfTrustGraceMs: number;
}

/** Whether a part does its work; `reason` says what is wrong, or how well it does. */
export interface PartState {
  readonly ok: boolean;
  readonly reason: string;
}

/** What is known of every part, unsmoothed. */
export interface Observed {
  readonly serving: Serving;
  readonly lease: { readonly state: LeaseState; readonly reason: string };
  /** One read of the own store, from time to time. */
  readonly roundTrip: PartState;
  readonly rootOfTrust: {
    /** `degraded`: some instances' cannot be used, and the node serves the others. */
    readonly state: "ok" | "degraded" | "unreachable" | "refused" | "unknown";
    readonly reason: string;
    readonly okMs: number;
  };
  readonly peers: ReadonlyMap<
    string,
    { readonly state: "up" | "down" | "retired"; readonly reason: string }
  >;
  /** Whether the other region says that it serves from its own store: where it does not, it serves nobody else. */
  readonly remote: PartState;
  /** Whether it is known who may come in. */
  readonly records: PartState;
  /** Certificate files as they lie on disk. */
  readonly certificates: PartState;
  /** How late the event loop's turns were lately, at worst. */
  readonly eventLoop: PartState;
}

/** One ability: what it is said to be, and since when it has been otherwise. */
interface Ability {
  readonly able: boolean;
  readonly otherwiseSinceMs: number | undefined;
}

/** What probes get, and why. */
export interface HealthReport {
  /** By name: "" (this node should get traffic), `holdfast.read`, `holdfast.write`, with a peer `holdfast.peer`, with a management API `holdfast.admin`. */
  readonly services: Readonly<Record<string, boolean>>;
  readonly lease: LeaseState;
  readonly serving: Serving;
  readonly rootOfTrust: boolean;
  readonly draining: boolean;
  /** Whether each part does its work now, unsmoothed. */
  readonly parts: Readonly<Record<string, boolean>>;
  /** One line a part, for `/readyz?verbose`. */
  readonly lines: readonly string[];
}

const unable: Ability = { able: false, otherwiseSinceMs: undefined };
/** An event loop that is late for a moment is busy; one that stays late should get no more. */
const loopDownAfterMs = 3000;

const nothingYet: Observed = {
  serving: { from: "none", writes: false, reason: "not asked yet" },
  lease: { state: "none", reason: "not asked yet" },
  roundTrip: { ok: true, reason: "not probed yet" },
  rootOfTrust: {
    state: "unknown",
    reason: "not probed yet",
    okMs: Number.NEGATIVE_INFINITY,
  },
  peers: new Map(),
  remote: { ok: true, reason: "" },
  records: { ok: true, reason: "" },
  certificates: { ok: true, reason: "" },
  eventLoop: { ok: true, reason: "" },
};

/**
 * What this node can do, from what was last heard of every part. Nobody waits for an answer here: probes in the
 * background bring what they found, and `tick` moves time on.
 */
export class Health {
  readonly #settings: HealthSettings;
  readonly #monotonicMs: () => number;
  #observed: Observed = nothingYet;
  #read: Ability = unable;
  #write: Ability = unable;
  #peer: Ability = unable;
  #loop: Ability = { able: true, otherwiseSinceMs: undefined };
  /** Before the first "able" nothing is smoothed: a start does not wait. */
  #everAble = false;
  #everPeer = false;
  #starting = false;
  #shut = false;
  /** Undefined where the node has no management API. */
  #admin: boolean | undefined;
  #draining = false;
  #reported: string;
  #listeners: ((report: HealthReport) => void)[] = [];

  constructor(settings: HealthSettings, monotonicMs: () => number) {
    this.#settings = settings;
    this.#monotonicMs = monotonicMs;
    this.#reported = JSON.stringify(this.#services());
  }

  /** Calls `listener` with every change of what probes get. */
  onChange(listener: (report: HealthReport) => void): void {
    this.#listeners.push(listener);
  }

  /** Takes what was heard of some parts. */
  note(heard: Partial<Omit<Observed, "rootOfTrust" | "peers">>): void {
    this.#observed = { ...this.#observed, ...heard };
    this.tick();
  }

  /** The outcome of a probe of the root of trust. */
  rootOfTrust(state: "ok" | "degraded" | "unreachable" | "refused", reason: string): void {
    const usable = state === "ok" || state === "degraded";
    const okMs = usable ? this.#monotonicMs() : this.#observed.rootOfTrust.okMs;
    this.#observed = { ...this.#observed, rootOfTrust: { state, reason, okMs } };
    this.tick();
  }

  /** What is known of another region. A node that hears of one has a service `holdfast.peer`. */
  peer(region: string, state: "up" | "down" | "retired", reason: string): void {
    const peers = new Map(this.#observed.peers).set(region, { state, reason });
    this.#observed = { ...this.#observed, peers };
    this.tick();
  }

  /** The node is not complete yet, and wants no traffic before `started`. */
  starting(): void {
    this.#starting = true;
    this.tick();
  }

  started(): void {
    this.#starting = false;
    this.tick();
  }

  /** Whether the KMIP listener is open: probes get "serving" only once it is. */
  listening(open: boolean): void {
    this.#shut = !open;
    this.tick();
  }

  /** Whether the management API is open; a node that hears of it has a service `holdfast.admin`. */
  admin(open: boolean): void {
    this.#admin = open;
    this.tick();
  }

  /** From now on this node wants no traffic. */
  drain(): void {
    this.#draining = true;
    this.tick();
  }

  /** Looks at the clock; called several times a second. */
  tick(): void {
    const nowMs = this.#monotonicMs();
    const { serving, roundTrip, remote, peers, records, eventLoop } = this.#observed;
    const reads =
      records.ok &&
      this.#keysUsable(nowMs) &&
      serving.from !== "none" &&
      (serving.from === "remote" ? remote.ok : roundTrip.ok);
    const settings = this.#everAble ? this.#settings : { ...this.#settings, upAfterMs: 0 };
    this.#read = settle(this.#read, reads, nowMs, settings);
    this.#write = settle(this.#write, reads && serving.writes, nowMs, settings);
    this.#everAble ||= this.#read.able;
    const allUp = peers.size > 0 && [...peers.values()].every(({ state }) => state === "up");
    const peerSettings = this.#everPeer ? this.#settings : { ...this.#settings, upAfterMs: 0 };
    this.#peer = settle(this.#peer, allUp, nowMs, peerSettings);
    this.#everPeer ||= this.#peer.able;
    const loopSettings = { ...this.#settings, downAfterMs: loopDownAfterMs };
    this.#loop = settle(this.#loop, eventLoop.ok, nowMs, loopSettings);
    const told = JSON.stringify(this.#services());
    if (told === this.#reported) return;
    this.#reported = told;
    const report = this.report();
    for (const listener of this.#listeners) listener(report);
  }

  /** Whether the node can answer reads; false closes the KMIP listener, draining does not. */
  get canRead(): boolean {
    return this.#read.able;
  }

  report(): HealthReport {
    const observed = this.#observed;
    const services = this.#services();
    const draining = this.#draining;
    return {
      services,
      lease: observed.lease.state,
      serving: observed.serving,
      rootOfTrust: observed.rootOfTrust.state === "ok",
      draining,
      parts: {
        store: observed.lease.state === "full" && observed.roundTrip.ok,
        rootOfTrust: observed.rootOfTrust.state === "ok",
        records: observed.records.ok,
        certificates: observed.certificates.ok,
        eventLoop: observed.eventLoop.ok,
        ...Object.fromEntries(
          [...observed.peers].map(([region, { state }]) => [`peer ${region}`, state === "up"]),
        ),
      },
      lines: healthLines(observed, {
        read: this.#read.able,
        write: this.#write.able,
        keysUsable: this.#keysUsable(this.#monotonicMs()),
        unwanted: this.#unwanted(),
      }),
    };
  }

  #services(): Readonly<Record<string, boolean>> {
    const wanted = this.#unwanted() === undefined;
    return {
      "": this.#read.able && this.#loop.able && wanted,
      "holdfast.read": this.#read.able && wanted,
      "holdfast.write": this.#write.able && wanted,
      ...(this.#observed.peers.size === 0 ? {} : { "holdfast.peer": this.#peer.able && wanted }),
      ...(this.#admin === undefined ? {} : { "holdfast.admin": this.#admin && wanted }),
    };
  }

  #unwanted(): "draining" | "starting" | "opening" | undefined {
    if (this.#draining) return "draining";
    if (this.#starting) return "starting";
    return this.#read.able && this.#shut ? "opening" : undefined;
  }

  #keysUsable(nowMs: number): boolean {
    const { state, okMs } = this.#observed.rootOfTrust;
    if (state === "ok" || state === "degraded") return true;
    return state === "unreachable" && nowMs - okMs < this.#settings.rootOfTrustGraceMs;
  }
}

/** Follows what is observed once it has lasted long enough. */
function settle(
  ability: Ability,
  observed: boolean,
  nowMs: number,
  settings: Pick<HealthSettings, "downAfterMs" | "upAfterMs">,
): Ability {
  if (observed === ability.able) return { able: observed, otherwiseSinceMs: undefined };
  const sinceMs = ability.otherwiseSinceMs ?? nowMs;
  const afterMs = observed ? settings.upAfterMs : settings.downAfterMs;
  return nowMs - sinceMs >= afterMs
    ? { able: observed, otherwiseSinceMs: undefined }
    : { able: ability.able, otherwiseSinceMs: sinceMs };
}
