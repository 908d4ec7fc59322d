import { createHash } from "node:crypto";
import type { StoreState, Timers } from "@holdfast/engine";
import { StoreUnavailable } from "@holdfast/engine";
import { Tables } from "./database.ts";
import type { Answer, StoreFlaw } from "./scripts.ts";
import type { Keeper, Session } from "./sim-store.ts";
import type { SubmitOptions } from "./store-session.ts";

/** A step that one actor can take next. */
export interface Step {
  readonly actor: string;
  readonly label: string;
  readonly run: () => void;
}

/** Every step waits here until it is chosen; everything between two steps runs by itself. */
export class Gate {
  #waiting: Step[] = [];
  /** Actor → everything that it was told so far; its next steps depend only on that. */
  readonly #told = new Map<string, string>();
  taken = 0;

  /** Waits until it is chosen; then runs `work` in one step, and tells the actor the result. */
  pass<Value>(
    actor: string,
    label: string,
    work: () => Value,
    signal?: AbortSignal,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          const value = work();
          this.#tell(actor, label, value);
          resolve(value);
        } catch (error) {
          this.#tell(actor, label, String(error));
          reject(error);
        }
      };
      const step = { actor, label, run };
      this.#waiting.push(step);
      signal?.addEventListener("abort", () => {
        this.#waiting = this.#waiting.filter((other) => other !== step);
        reject(new StoreUnavailable("timeout", "called off"));
      });
    });
  }

  /** The possible next steps, in an order that depends only on the actors. */
  get steps(): readonly Step[] {
    return this.#waiting.toSorted((one, other) => (nameOf(one) < nameOf(other) ? -1 : 1));
  }

  take(step: Step): void {
    this.#waiting = this.#waiting.filter((other) => other !== step);
    this.taken += 1;
    step.run();
  }

  /** A name for the state of all actors. */
  state(): string {
    const told = [...this.#told].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `${told.map(([actor, what]) => `${actor}:${what}`).join()} ${this.steps.map(nameOf).join()}`;
  }

  /** Adds a result to what an actor was told. */
  #tell(actor: string, label: string, value: unknown): void {
    const before = this.#told.get(actor) ?? "";
    const text = JSON.stringify(value, (_key, part: unknown) =>
      part instanceof Uint8Array || typeof part === "bigint" ? String(part) : part,
    );
    this.#told.set(actor, shortHash(`${before}|${label}|${text}`));
  }
}

function nameOf({ actor, label }: Step): string {
  return `${actor} ${label}`;
}

/** A short name for a text. */
export function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** One actor's access to a region's store, in which every step is durable at once. */
export class GateKeeper implements Keeper, Session {
  readonly flaws: ReadonlySet<StoreFlaw>;
  readonly storeId: string;
  readonly #gate: Gate;
  readonly #actor: string;
  readonly #cells: Map<string, unknown>;
  readonly #background: () => boolean;

  /** While `background` returns true, steps run at once: their order is not of interest. */
  constructor(
    gate: Gate,
    actor: string,
    region: string,
    cells: Map<string, unknown>,
    parts: { flaws: ReadonlySet<StoreFlaw>; background: () => boolean },
  ) {
    this.flaws = parts.flaws;
    this.storeId = `store of ${region}`;
    this.#gate = gate;
    this.#actor = actor;
    this.#cells = cells;
    this.#background = parts.background;
  }

  state(): StoreState {
    return "full";
  }

  onState(): () => void {
    return () => undefined;
  }

  now(): { readonly wallMs: number } {
    return { wallMs: 1_780_000_000_000 };
  }

  async require(): Promise<Session> {
    return this;
  }

  async read<Value>(
    script: (tables: Tables, process: { readonly replicationId: string }) => Value,
  ): Promise<{ readonly session: Session; readonly value: Value }> {
    const { storeId } = this;
    const work = () => script(new Tables(this.#cells), { replicationId: storeId });
    const value = this.#background() ? work() : await this.#pass("read", work);
    return { session: this, value };
  }

  assert(): void {}

  async tryWrite(): Promise<boolean> {
    // The Fresh attribute is not of interest here.
    return false;
  }

  async submit<Value>(
    script: (tables: Tables) => Answer<Value>,
    { written }: SubmitOptions,
  ): Promise<Value> {
    const work = () => script(new Tables(this.#cells)).value;
    const value = this.#background() ? work() : await this.#pass("write", work);
    written?.();
    return value;
  }

  async cover(): Promise<void> {}

  #pass<Value>(label: string, work: () => Value): Promise<Value> {
    return this.#gate.pass(this.#actor, `${label} ${this.storeId}`, work);
  }
}

/** An actor's clock: it moves when a wait's end is chosen. A wait of `endlessMs` never ends. */
export function gateTimers(
  gate: Gate,
  actor: string,
  background: () => boolean,
  endlessMs?: number,
): Timers {
  let nowMs = 0;
  return {
    wallMs: () => 1_780_000_000_000 + nowMs,
    monotonicMs: () => nowMs,
    sleep: (ms, signal) => {
      // Background watchers have already seen what they wait for, and never continue.
      if (background() || ms === 100 || ms === endlessMs) return new Promise(() => undefined);
      if (signal?.aborted === true) return Promise.reject(new Error("called off"));
      const over = (): void => {
        nowMs += ms;
      };
      return gate.pass(actor, `wait ${Math.round(ms)}`, over, signal);
    },
  };
}
