import {
  type Clock,
  type RootDescription,
  type RootKey,
  type RootOfTrust,
  RootOfTrustError,
  type RootOfTrustFailure,
  type RootUnwrap,
  type RootWrap,
  SealBroken,
  Semaphore,
} from "@holdfast/engine";
import { reasonOf } from "../../base/operator-error.ts";

/** The last known health of a root of trust. */
export interface RootHealth {
  /** Undefined before the first answer. */
  readonly ok: boolean | undefined;
  readonly failure: RootOfTrustFailure | undefined;
  readonly reason: string;
  /** When it last worked: monotonic. */
  readonly okMs: number | undefined;
  /** When it was last called: monotonic. */
  readonly askedMs: number | undefined;
}

/** Options of a guarded root of trust. */
export interface GuardOptions {
  readonly clock: Clock;
  /** Called when it starts or stops working. */
  readonly changed: (health: RootHealth) => void;
  /** Maximum number of concurrent calls; by default 8, or what the root of trust allows if that is more. */
  readonly inFlightMax?: number;
  /** Maximum number of waiting calls; 4,096 by default. */
  readonly waitingMax?: number;
  /** How long a call may take, including its wait; by default 15,000, or longer than the root of trust's own deadline. */
  readonly deadlineMs?: number;
}

const describedForMs = 1_000;
const inFlightLeast = 8;
const deadlineLeastMs = 15_000;
/** How much longer than the root of trust's own deadline a call may take: it may wait for its turn before. */
const beyondDeadlineMs = 5_000;

/**
 * A root of trust with limits on concurrent calls and on their duration, which reports its health. One that hangs
 * delays only its own instances.
 */
export class GuardedRoot implements RootOfTrust {
  readonly #root: RootOfTrust;
  readonly #options: GuardOptions;
  readonly #turns: Semaphore;
  readonly #deadlineMs: number;
  #inFlight = 0;
  #described: { readonly atMs: number; readonly told: RootDescription } | undefined;
  #health: RootHealth = {
    ok: undefined,
    failure: undefined,
    reason: "not asked yet",
    okMs: undefined,
    askedMs: undefined,
  };

  constructor(root: RootOfTrust, options: GuardOptions) {
    this.#root = root;
    this.#options = options;
    const { inFlightMax = 0, deadlineMs = 0 } = root.limits ?? {};
    this.#turns = new Semaphore(options.inFlightMax ?? Math.max(inFlightLeast, inFlightMax));
    this.#deadlineMs =
      options.deadlineMs ?? Math.max(deadlineLeastMs, deadlineMs + beyondDeadlineMs);
  }

  get kind(): string {
    return this.#root.kind;
  }

  get health(): RootHealth {
    return this.#health;
  }

  /** Its last description; undefined before the first one. */
  get lastDescription(): RootDescription | undefined {
    return this.#described?.told;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Returns a recent description, or asks for a new one. */
  async describe(): Promise<RootDescription> {
    const { clock } = this.#options;
    const known = this.#described;
    if (known !== undefined && clock.monotonicMs() - known.atMs < describedForMs) return known.told;
    const atMs = clock.monotonicMs();
    const told = await this.#guarded(() => this.#root.describe());
    this.#described = { atMs, told };
    return told;
  }

  /** A refusal concerns new wraps only, as after the expiry of a root key: what is open stays so. */
  wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap> {
    return this.#guarded(() => this.#root.wrap(plaintext, additionalData), "unavailable");
  }

  unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap> {
    return this.#guarded(() => this.#root.unwrap(blob, additionalData));
  }

  rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined> {
    return this.#guarded(() => this.#root.rewrap(blob, additionalData), "unavailable");
  }

  rootKeys(): Promise<readonly RootKey[]> {
    return this.#guarded(() => this.#root.rootKeys());
  }

  /** Afterwards the description is requested again: the root key may have been rotated. */
  async validate(): Promise<void> {
    await this.#guarded(() => this.#root.validate());
    if (this.#described !== undefined) {
      this.#described = { ...this.#described, atMs: Number.NEGATIVE_INFINITY };
    }
  }

  probe(): Promise<void> {
    return this.#guarded(() => this.#root.probe());
  }

  close(): Promise<void> {
    return this.#root.close();
  }

  /** With `noted`, only that failure counts for the health. */
  async #guarded<Answer>(call: () => Promise<Answer>, noted?: RootOfTrustFailure): Promise<Answer> {
    const { clock } = this.#options;
    try {
      const answer = await answered((signal) => this.#inTurn(call, signal), this.#deadlineMs);
      this.#note({ ok: true, failure: undefined, reason: "", okMs: clock.monotonicMs() });
      return answer;
    } catch (error) {
      if (error instanceof SealBroken) {
        // This is an answer too: the fault is in the input, not in the root of trust.
        this.#note({ ok: true, failure: undefined, reason: "", okMs: clock.monotonicMs() });
        throw error;
      }
      // For example, the file of a secret does not exist. That is not a refusal.
      const told =
        error instanceof RootOfTrustError
          ? error
          : new RootOfTrustError("unavailable", reasonOf(error), { cause: error });
      if (noted === undefined || told.failure === noted) {
        this.#note({ ok: false, failure: told.failure, reason: told.message });
      }
      throw told;
    }
  }

  /**
   * A call that timed out keeps its slot until it ends, so that no more calls are sent while others hang. One that waits for
   * a slot leaves.
   */
  async #inTurn<Answer>(call: () => Promise<Answer>, signal: AbortSignal): Promise<Answer> {
    const { waitingMax = 4096 } = this.#options;
    if (this.#turns.waiting() >= waitingMax) {
      throw new RootOfTrustError("unavailable", "too many calls wait for it");
    }
    this.#inFlight += 1;
    try {
      return await this.#turns.run(call, { signal });
    } finally {
      this.#inFlight -= 1;
    }
  }

  #note(found: Omit<RootHealth, "okMs" | "askedMs"> & { readonly okMs?: number }): void {
    const before = this.#health;
    const askedMs = this.#options.clock.monotonicMs();
    this.#health = { okMs: before.okMs, ...found, askedMs };
    if (before.ok !== found.ok || before.failure !== found.failure) {
      this.#options.changed(this.#health);
    }
  }
}

async function answered<Answer>(
  call: (signal: AbortSignal) => Promise<Answer>,
  ms: number,
): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new AbortController();
  const over = new Promise<never>((_resolve, reject) => {
    const give = () => {
      const reason = new RootOfTrustError("unavailable", `it has not answered within ${ms} ms`);
      late.abort(reason);
      reject(reason);
    };
    timer = setTimeout(give, ms);
  });
  try {
    return await Promise.race([call(late.signal), over]);
  } finally {
    clearTimeout(timer);
  }
}
