import type { Clock, RootOfTrust } from "@holdfast/engine";
import { type RootReference, referenceText } from "../../records/root-reference.ts";
import { GuardedRoot, type RootHealth } from "./guarded-root.ts";

interface RootPoolOptions {
  /** Opens the root of trust of a reference; undefined is the configuration's own root of trust. */
  readonly open: (reference: RootReference | undefined) => Promise<RootOfTrust>;
  readonly clock: Clock;
  /** Called when a root of trust starts or stops working. */
  readonly changed: (key: string, health: RootHealth) => void;
  /** How long a root of trust that no record names any more stays open for calls in progress; 30,000 by default. */
  readonly lingerMs?: number;
}

interface Opened {
  readonly reference: RootReference | undefined;
  readonly root: Promise<GuardedRoot>;
  ready: GuardedRoot | undefined;
  unusedSinceMs: number | undefined;
}

/** Open roots of trust, shared by all references to the same one. */
export class RootPool implements AsyncDisposable {
  readonly #options: RootPoolOptions;
  readonly #opened = new Map<string, Opened>();

  constructor(options: RootPoolOptions) {
    this.#options = options;
  }

  /** The root of trust of a reference, opened if needed. A failed opening is tried again at the next use. */
  of(reference: RootReference | undefined): Promise<GuardedRoot> {
    const key = keyOf(reference);
    const known = this.#opened.get(key);
    if (known !== undefined) {
      known.unusedSinceMs = undefined;
      return known.root;
    }
    const root = this.#open(key, reference);
    const opened: Opened = { reference, root, ready: undefined, unusedSinceMs: undefined };
    this.#opened.set(key, opened);
    root.then(
      (ready) => {
        opened.ready = ready;
      },
      () => this.#opened.delete(key),
    );
    return root;
  }

  /** The root of trust of a reference if it is open. */
  ready(reference: RootReference | undefined): GuardedRoot | undefined {
    return this.#opened.get(keyOf(reference))?.ready;
  }

  /** The open roots of trust with their references. */
  all(): readonly { readonly reference: RootReference | undefined; readonly root: GuardedRoot }[] {
    return [...this.#opened.values()].flatMap(({ reference, ready }) =>
      ready === undefined ? [] : [{ reference, root: ready }],
    );
  }

  /** Closes, after a while, the roots of trust whose references are not among these keys. */
  async keep(used: ReadonlySet<string>): Promise<void> {
    const { clock, lingerMs = 30_000 } = this.#options;
    const nowMs = clock.monotonicMs();
    const closing: Promise<void>[] = [];
    for (const [key, opened] of this.#opened) {
      if (used.has(key)) {
        opened.unusedSinceMs = undefined;
        continue;
      }
      opened.unusedSinceMs ??= nowMs;
      if (nowMs - opened.unusedSinceMs < lingerMs || opened.ready === undefined) continue;
      this.#opened.delete(key);
      closing.push(opened.ready.close());
    }
    await Promise.allSettled(closing);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#opened.values()];
    this.#opened.clear();
    await Promise.allSettled(all.map(async ({ root }) => (await root).close()));
  }

  async #open(key: string, reference: RootReference | undefined): Promise<GuardedRoot> {
    const { open, clock, changed } = this.#options;
    const root = await open(reference);
    return new GuardedRoot(root, { clock, changed: (health) => changed(key, health) });
  }
}

/** The key that identifies a root of trust, without the name in its reference, which is only known after opening. */
export function keyOf(reference: RootReference | undefined): string {
  if (reference === undefined) return "";
  const { name: _, ...rest } = reference;
  return referenceText(rest);
}
