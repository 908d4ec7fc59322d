import { healthLines } from "./health-lines.ts";

/** What the store allows this node to do. */
export type LeaseState = "full" | "readOnly" | "none";

/** Which store this node serves its clients from, and whether that store accepts changes. */
export interface Serving {
  readonly from: "local" | "remote" | "none";
  readonly writes: boolean;
  readonly reason: string;
}

/** How long a state must last before the node reports it. */
export interface HealthSettings {
  readonly downAfterMs: number;
  readonly upAfterMs: number;
  /** How long the root of trust may be unreachable before reads count as impossible. */
  readonly rootOfTrustGraceMs: number;
}

/** Whether a part works; `reason` says what is wrong, or how well it works. */
export interface PartState {
  readonly ok: boolean;
  readonly reason: string;
}

/** The known state of every part, unsmoothed. */
export interface Observed {
  readonly serving: Serving;
  readonly lease: { readonly state: LeaseState; readonly reason: string };
  /** The last probe: one read of the own store, repeated at intervals. */
  readonly roundTrip: PartState;
  /** Whether the root of trust opens the own store's key; without it the store is not used. */
  readonly storageKey: PartState;
  /** Whether the node keeps a memory of its store in a file. */
  readonly memory: PartState;
  /** Whether the own store is not older than this node remembers. */
  readonly storeNewest: Pick<PartState, "ok">;
  readonly rootOfTrust: {
    /** `degraded`: the roots of trust of some instances cannot be used; the node serves the others. */
    readonly state: "ok" | "degraded" | "unreachable" | "refused" | "unknown";
    readonly reason: string;
    readonly okMs: number;
  };
  readonly peers: ReadonlyMap<
    string,
    { readonly state: "up" | "down" | "retired"; readonly reason: string }
  >;
  /** Whether the other region serves from its own store, as it reports: only then can it serve this node. */
  readonly remote: PartState;
  /** Whether this node leads its region, and in which epoch; undefined if no leader is elected. */
  readonly leader: { readonly leads: boolean; readonly epoch: number } | undefined;
  /** Whether the system records are known, which say which clients to accept. */
  readonly records: PartState;
  /** Certificate files as they are on disk. */
  readonly certificates: PartState;
  /** The worst recent delay of the event loop. */
  readonly eventLoop: PartState;
}

/** One ability: its reported state, and since when the observed state differs. */
interface Ability {
  readonly able: boolean;
  readonly otherwiseSinceMs: number | undefined;
}

/** What probes get as an answer, and why. */
export interface HealthReport {
  /**
   * By name: "" (this node should get traffic), `holdfast.read`, `holdfast.write`, with a peer `holdfast.peer`, with a
   * management API `holdfast.admin`.
   */
  readonly services: Readonly<Record<string, boolean>>;
  readonly lease: LeaseState;
  readonly serving: Serving;
  readonly rootOfTrust: boolean;
  readonly draining: boolean;
  /** Whether each part works now, unsmoothed. */
  readonly parts: Readonly<Record<string, boolean>>;
  /** The lines of `/readyz?verbose`. */
  readonly lines: readonly string[];
}

const unable: Ability = { able: false, otherwiseSinceMs: undefined };
/** An event loop that is late for a moment is busy; one that stays late should get no more traffic. */
const loopDownAfterMs = 3000;

const nothingYet: Observed = {
  serving: { from: "none", writes: false, reason: "not asked yet" },
  lease: { state: "none", reason: "not asked yet" },
  roundTrip: { ok: true, reason: "not probed yet" },
  storageKey: { ok: true, reason: "not asked for yet" },
  memory: { ok: false, reason: "store.memoryFile is not set, or the store was not reached yet" },
  storeNewest: { ok: true },
  rootOfTrust: {
    state: "unknown",
    reason: "not probed yet",
    okMs: Number.NEGATIVE_INFINITY,
  },
  peers: new Map(),
  remote: { ok: true, reason: "" },
  leader: undefined,
  records: { ok: true, reason: "" },
  certificates: { ok: true, reason: "" },
  eventLoop: { ok: true, reason: "" },
};

/**
 * What this node can do, from the last known state of every part. Nothing here waits for an answer: probes run in the
 * background and report here, and `tick` checks how long each state has lasted.
 */
export class Health {
  readonly #settings: HealthSettings;
  readonly #monotonicMs: () => number;
  #observed: Observed = nothingYet;
  #read: Ability = unable;
  #write: Ability = unable;
  #peer: Ability = unable;
  #loop: Ability = { able: true, otherwiseSinceMs: undefined };
  /** Before the first "able" nothing is smoothed, so that a start does not wait. */
  #everAble = false;
  #everPeer = false;
  #starting = false;
  #shut = false;
  /** Undefined if the node has no management API. */
  #admin: boolean | undefined;
  #draining = false;
  #reported: string;
  #listeners: ((report: HealthReport) => void)[] = [];

  constructor(settings: HealthSettings, monotonicMs: () => number) {
    this.#settings = settings;
    this.#monotonicMs = monotonicMs;
    this.#reported = JSON.stringify(this.#services());
  }

  /** Calls `listener` whenever the answer to probes changes. */
  onChange(listener: (report: HealthReport) => void): void {
    this.#listeners.push(listener);
  }

  /** Records the state of some parts. */
  note(heard: Partial<Omit<Observed, "rootOfTrust" | "peers">>): void {
    this.#observed = { ...this.#observed, ...heard };
    this.tick();
  }

  /** Records the result of a probe of the root of trust. */
  rootOfTrust(state: "ok" | "degraded" | "unreachable" | "refused", reason: string): void {
    const usable = state === "ok" || state === "degraded";
    const okMs = usable ? this.#monotonicMs() : this.#observed.rootOfTrust.okMs;
    this.#observed = { ...this.#observed, rootOfTrust: { state, reason, okMs } };
    this.tick();
  }

  /** Records the state of another region. After the first call the node has a service `holdfast.peer`. */
  peer(region: string, state: "up" | "down" | "retired", reason: string): void {
    const peers = new Map(this.#observed.peers).set(region, { state, reason });
    this.#observed = { ...this.#observed, peers };
    this.tick();
  }

  /** The node is still starting, and wants no traffic before `started`. */
  starting(): void {
    this.#starting = true;
    this.tick();
  }

  started(): void {
    this.#starting = false;
    this.tick();
  }

  /** Records whether the KMIP listener is open: probes get "serving" only once it is. */
  listening(open: boolean): void {
    this.#shut = !open;
    this.tick();
  }

  /** Records whether the management API is open. After the first call the node has a service `holdfast.admin`. */
  admin(open: boolean): void {
    this.#admin = open;
    this.tick();
  }

  /** This node wants no traffic from now on. */
  drain(): void {
    this.#draining = true;
    this.tick();
  }

  /** Checks the clock; called several times a second. */
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

  /** Whether the node can answer reads. False closes the KMIP listener; draining does not change this. */
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
        storageKey: observed.storageKey.ok,
        memory: observed.memory.ok,
        storeNewest: observed.storeNewest.ok,
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

/** Adopts an observed state once it has lasted long enough. */
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
