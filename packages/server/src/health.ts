/** What the store lets this node do. */
export type LeaseState = "full" | "readOnly" | "none";

/** How long things must have been bad or good before the node says so. */
export interface HealthSettings {
  readonly downAfterMs: number;
  readonly upAfterMs: number;
  /** How long the root of trust may be out of reach before reads count as impossible. */
  readonly rootOfTrustGraceMs: number;
}

/** What is known, unsmoothed. */
interface Observed {
  readonly lease: LeaseState;
  readonly leaseReason: string;
  readonly rootOfTrust: "ok" | "unreachable" | "refused" | "unknown";
  readonly rootOfTrustReason: string;
  readonly rootOfTrustOkMs: number;
}

/** One ability: what it is said to be, and since when it has been otherwise. */
interface Ability {
  readonly able: boolean;
  readonly otherwiseSinceMs: number | undefined;
}

/** The names that gRPC health knows. */
export const healthServices = ["", "holdfast.read", "holdfast.write"] as const;
type HealthService = (typeof healthServices)[number];

/** What probes are told, and why. */
export interface HealthReport {
  readonly services: Readonly<Record<HealthService, boolean>>;
  readonly lease: LeaseState;
  readonly rootOfTrust: boolean;
  readonly draining: boolean;
  /** One line a part, for `/readyz?verbose`. */
  readonly lines: readonly string[];
}

const unable: Ability = { able: false, otherwiseSinceMs: undefined };

/**
 * What this node can do, from what was last heard of the store's lease and the root of trust. Nobody waits for an
 * answer here; `tick` moves time on.
 */
export class Health {
  readonly #settings: HealthSettings;
  readonly #monotonicMs: () => number;
  #observed: Observed = {
    lease: "none",
    leaseReason: "not asked yet",
    rootOfTrust: "unknown",
    rootOfTrustReason: "not probed yet",
    rootOfTrustOkMs: Number.NEGATIVE_INFINITY,
  };
  #read: Ability = unable;
  #write: Ability = unable;
  /** Before the first "able" nothing is smoothed: a start does not wait. */
  #everAble = false;
  #draining = false;
  #told: string;
  #listeners: ((report: HealthReport) => void)[] = [];

  constructor(settings: HealthSettings, monotonicMs: () => number) {
    this.#settings = settings;
    this.#monotonicMs = monotonicMs;
    this.#told = JSON.stringify(this.report().services);
  }

  /** Calls `listener` with every change of what probes are told. */
  onChange(listener: (report: HealthReport) => void): void {
    this.#listeners.push(listener);
  }

  lease(state: LeaseState, reason: string): void {
    this.#observed = { ...this.#observed, lease: state, leaseReason: reason };
    this.tick();
  }

  /** The outcome of a probe of the root of trust. */
  rootOfTrust(state: "ok" | "unreachable" | "refused", reason: string): void {
    const okMs = state === "ok" ? this.#monotonicMs() : this.#observed.rootOfTrustOkMs;
    this.#observed = {
      ...this.#observed,
      rootOfTrust: state,
      rootOfTrustReason: reason,
      rootOfTrustOkMs: okMs,
    };
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
    const { lease } = this.#observed;
    const keys = this.#keysUsable(nowMs);
    const settings = this.#everAble ? this.#settings : { ...this.#settings, upAfterMs: 0 };
    this.#read = settle(this.#read, keys && lease !== "none", nowMs, settings);
    this.#write = settle(this.#write, keys && lease === "full", nowMs, settings);
    this.#everAble ||= this.#read.able;
    const report = this.report();
    const told = JSON.stringify(report.services);
    if (told === this.#told) return;
    this.#told = told;
    for (const listener of this.#listeners) listener(report);
  }

  /** Whether the node can answer reads; false closes the KMIP listener, draining does not. */
  get canRead(): boolean {
    return this.#read.able;
  }

  report(): HealthReport {
    const { lease, leaseReason, rootOfTrust, rootOfTrustReason } = this.#observed;
    const read = this.#read.able && !this.#draining;
    const write = this.#write.able && !this.#draining;
    return {
      services: { "": read, "holdfast.read": read, "holdfast.write": write },
      lease,
      rootOfTrust: rootOfTrust === "ok",
      draining: this.#draining,
      lines: [
        `read: ${read ? "ok" : "no"}`,
        `write: ${write ? "ok" : "no"}`,
        `store: ${lease}${because(leaseReason)}`,
        `root of trust: ${rootOfTrust}${because(rootOfTrustReason)}`,
        ...(this.#draining ? ["draining"] : []),
      ],
    };
  }

  #keysUsable(nowMs: number): boolean {
    const { rootOfTrust, rootOfTrustOkMs } = this.#observed;
    if (rootOfTrust === "ok") return true;
    const inGrace = nowMs - rootOfTrustOkMs < this.#settings.rootOfTrustGraceMs;
    return rootOfTrust === "unreachable" && inGrace;
  }
}

function because(reason: string): string {
  return reason === "" ? "" : ` (${reason})`;
}

/** Follows what is observed once it has lasted long enough. */
function settle(
  ability: Ability,
  observed: boolean,
  nowMs: number,
  settings: HealthSettings,
): Ability {
  if (observed === ability.able) return { able: observed, otherwiseSinceMs: undefined };
  const sinceMs = ability.otherwiseSinceMs ?? nowMs;
  const afterMs = observed ? settings.upAfterMs : settings.downAfterMs;
  return nowMs - sinceMs >= afterMs
    ? { able: observed, otherwiseSinceMs: undefined }
    : { able: ability.able, otherwiseSinceMs: sinceMs };
}
