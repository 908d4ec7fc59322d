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

/** What a root of trust was last like. */
export interface RootHealth {
  /** Undefined before the first answer. */
  readonly ok: boolean | undefined;
  readonly failure: RootOfTrustFailure | undefined;
  readonly reason: string;
  /** When it last did its work: monotonic. */
  readonly okMs: number | undefined;
  /** When it was last asked anything: monotonic. */
  readonly askedMs: number | undefined;
}

/** How a root of trust is guarded. */
export interface GuardOptions {
  readonly clock: Clock;
  /** Called when it begins or ceases to work. */
  readonly changed: (health: RootHealth) => void;
  /** Calls at the same time; 8 unless given. */
  readonly inFlightMax?: number;
  /** Calls that may wait for those; 4,096 unless given. */
  readonly waitingMax?: number;
  /** How long a call may take, its wait included; 15,000 unless given. */
  readonly deadlineMs?: number;
}

const describedForMs = 1_000;

/**
 * A root of trust that is never asked for more than a few things at a time, always answers in a bounded time, and says
 * how it does: one that hangs keeps only its own instances waiting.
 */
export class GuardedRoot implements RootOfTrust {
  readonly #root: RootOfTrust;
  readonly #options: GuardOptions;
  readonly #turns: Semaphore;
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
    this.#turns = new Semaphore(options.inFlightMax ?? 8);
  }

  get kind(): string {
    return this.#root.kind;
  }

  get health(): RootHealth {
    return this.#health;
  }

  /** What it last said of itself; undefined before. */
  get lastDescription(): RootDescription | undefined {
    return this.#described?.told;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Several that need it at once ask once. */
  async describe(): Promise<RootDescription> {
    const { clock } = this.#options;
    const known = this.#described;
    if (known !== undefined && clock.monotonicMs() - known.atMs < describedForMs) return known.told;
    const atMs = clock.monotonicMs();
    const told = await this.#guarded(() => this.#root.describe());
    this.#described = { atMs, told };
    return told;
  }

  wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap> {
    return this.#guarded(() => this.#root.wrap(plaintext, additionalData));
  }

  unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap> {
    return this.#guarded(() => this.#root.unwrap(blob, additionalData));
  }

  rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined> {
    return this.#guarded(() => this.#root.rewrap(blob, additionalData));
  }

  rootKeys(): Promise<readonly RootKey[]> {
    return this.#guarded(() => this.#root.rootKeys());
  }

  /** What it says of itself is asked for anew afterwards: its key may have been rotated. */
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

  async #guarded<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    const { clock, deadlineMs = 15_000 } = this.#options;
    try {
      const answer = await answered(this.#inTurn(call), deadlineMs);
      this.#note({ ok: true, failure: undefined, reason: "", okMs: clock.monotonicMs() });
      return answer;
    } catch (error) {
      if (error instanceof SealBroken) {
        // An answer too, about what was handed to it.
        this.#note({ ok: true, failure: undefined, reason: "", okMs: clock.monotonicMs() });
        throw error;
      }
      // Such as a secret's file that is not there: nobody refused anything.
      const told =
        error instanceof RootOfTrustError
          ? error
          : new RootOfTrustError("unavailable", reasonOf(error), { cause: error });
      this.#note({ ok: false, failure: told.failure, reason: told.message });
      throw told;
    }
  }

  /** A call that is given up keeps its place, so that no more are sent after those that hang. */
  async #inTurn<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    const { waitingMax = 4096 } = this.#options;
    if (this.#turns.waiting() >= waitingMax) {
      throw new RootOfTrustError("unavailable", "too many calls wait for it");
    }
    this.#inFlight += 1;
    try {
      return await this.#turns.run(call);
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

async function answered<Answer>(call: Promise<Answer>, ms: number): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const give = () =>
      reject(new RootOfTrustError("unavailable", `it has not answered within ${ms} ms`));
    timer = setTimeout(give, ms);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    clearTimeout(timer);
  }
}
