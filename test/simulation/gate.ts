import { hash } from "node:crypto";
import { type OwnStore, StoreUnavailable, type Timers } from "@holdfast/engine";
import { epochMs } from "./machine.ts";

/** A step that one actor can take next. */
export interface Step {
  readonly actor: string;
  readonly label: string;
  /** Actor and label. */
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** Every step waits here until it is chosen; everything between two steps runs by itself. */
export class Gate {
  #waiting: Step[] = [];
  /** Actor → everything that it was told so far; its next steps depend only on that. */
  readonly #told = new Map<string, string>();
  taken = 0;

  /**
   * Waits until it is chosen; then runs `work` in one step, and tells the actor the result. What `work` does before its
   * first wait is done at once.
   */
  pass<Value>(
    actor: string,
    label: string,
    work: () => Value | PromiseLike<Value>,
    signal?: AbortSignal,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      const run = async (): Promise<void> => {
        try {
          const value = await work();
          this.#tell(actor, label, value);
          resolve(value);
        } catch (error) {
          this.#tell(actor, label, String(error));
          reject(error);
        }
      };
      const step = { actor, label, name: `${actor} ${label}`, run };
      this.#waiting.push(step);
      signal?.addEventListener("abort", () => {
        this.#waiting = this.#waiting.filter((other) => other !== step);
        reject(new StoreUnavailable("timeout", "called off"));
      });
    });
  }

  /** The possible next steps, in an order that depends only on the actors. */
  get steps(): readonly Step[] {
    return this.#waiting.toSorted((one, other) => (one.name < other.name ? -1 : 1));
  }

  take(step: Step): void {
    this.#waiting = this.#waiting.filter((other) => other !== step);
    this.taken += 1;
    void step.run();
  }

  /** A name for the state of all actors. */
  state(): string {
    const told = [...this.#told].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `${told.map(([actor, what]) => `${actor}:${what}`).join()} ${this.steps.map(({ name }) => name).join()}`;
  }

  /** Adds a result to what an actor was told. */
  #tell(actor: string, label: string, value: unknown): void {
    const before = this.#told.get(actor) ?? "";
    const text = JSON.stringify(value, (_key, part: unknown) => {
      if (part instanceof Uint8Array) return Buffer.from(part).toString("hex");
      return typeof part === "bigint" ? String(part) : part;
    });
    this.#told.set(actor, shortHash(`${before}|${label}|${text}`));
  }
}

/** A short name for a text. */
export function shortHash(text: string): string {
  return hash("sha256", text).slice(0, 16);
}

/** The actor that sees a store, and whether its steps run at once, because their order is not of interest. */
interface Sight {
  readonly gate: Gate;
  readonly actor: string;
  readonly region: string;
  readonly background: () => boolean;
}

/** Methods without a step: what the store knows without a wait, and the audit trail, on which nothing depends. */
const withoutStep: ReadonlySet<PropertyKey> = new Set([
  ...["state", "onState", "doubted", "remembers"],
  "appendAudit",
]);

/** A region's store as one actor sees it: each call is one step, whose writes are durable at once. */
export function gatedStore(own: OwnStore, sight: Sight): OwnStore {
  const { gate, actor, region, background } = sight;
  return new Proxy(own, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (withoutStep.has(name)) return value.bind(target);
      return (...args: readonly unknown[]): unknown => {
        const call = (): unknown => value.apply(target, args);
        return background() ? call() : gate.pass(actor, `${String(name)} in ${region}`, call);
      };
    },
  });
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
    wallMs: () => epochMs + nowMs,
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
