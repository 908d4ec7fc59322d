import type { Change } from "@holdfast/engine";
import { type Acknowledged, valuesOf } from "./ledger.ts";

/** The values that clients gave to objects, and those that they took away; no text is given twice. */
export class ValueWrites {
  /** Object and text that a client has tried to give, or to take away. */
  readonly #given = new Set<string>();
  readonly #taken = new Set<string>();
  /** Acknowledged deletion → what it took away. */
  readonly #deleted = new Map<Acknowledged, readonly string[]>();

  /** A change is about to be committed. */
  tried(change: Change): void {
    const { uniqueIdentifier: id } = change.after;
    const after = valuesOf(change.after);
    const before = change.kind === "update" ? valuesOf(change.before.object) : [];
    for (const text of after) this.#given.add(`${id} ${text}`);
    for (const text of before) if (!after.includes(text)) this.#taken.add(`${id} ${text}`);
  }

  /** A deletion was acknowledged. `before` are the values that the object had. */
  deleted(change: Acknowledged, before: readonly string[]): void {
    const after = valuesOf(change.object);
    this.#deleted.set(
      change,
      before.filter((text) => !after.includes(text)),
    );
  }

  /** Whether some client gave this value to an object. */
  wasGiven(id: string, text: string): boolean {
    return this.#given.has(`${id} ${text}`);
  }

  /** A value that a change has, that nobody tried to take away, and that is not shown. */
  gone({ id, object }: Acknowledged, shown: readonly string[]): string | undefined {
    return valuesOf(object).find(
      (text) => !shown.includes(text) && !this.#taken.has(`${id} ${text}`),
    );
  }

  /** A value that a change took away, and that is shown. */
  back(change: Acknowledged, shown: readonly string[]): string | undefined {
    return this.#deleted.get(change)?.find((text) => shown.includes(text));
  }

  /** Whether an object must have this value once the change is made: nobody tried to take it away. */
  isKept({ id, object }: Acknowledged, text: string): boolean {
    return valuesOf(object).includes(text) && !this.#taken.has(`${id} ${text}`);
  }
}
