import type { ValueKind, Wish } from "./client.ts";
import type { Dates } from "./end-checks.ts";
import type { Random } from "./random.ts";

/** A value that an object was given. */
interface Given {
  readonly kind: ValueKind;
  readonly id: string;
  readonly text: string;
}

/** Every such request of its kind deletes or searches for a value that is known, where there is one. */
const dropEvery = 3;
const searchEvery = 2;

/** What clients ask for. */
export class Wishes {
  /** Keys that were made. */
  readonly objects: string[] = [];
  readonly #random: Random;
  readonly #nowSeconds: () => number;
  readonly #given: Given[] = [];
  #texts = 0;
  #adds = 0;
  #searches = 0;

  constructor(random: Random, nowSeconds: () => number) {
    this.#random = random;
    this.#nowSeconds = nowSeconds;
  }

  next(): Wish {
    const random = this.#random;
    if (this.objects.length === 0 || random.chance(0.1)) {
      return { kind: "create", dates: random.chance(0.3) ? this.#dates() : undefined };
    }
    // Mostly objects that other clients use, too.
    const id = random.pick(this.objects.slice(-3));
    const chance = random.below(100);
    if (chance < 30) return { kind: "look", id };
    if (chance < 45) return { kind: "get", id };
    if (chance < 60) return { kind: "activate", id };
    if (chance < 66) return { kind: "revoke", id, compromised: random.chance(0.5) };
    if (chance < 78) return { kind: "destroy", id };
    if (chance < 88) return { kind: "note", id, text: this.text() };
    if (chance < 95) return this.#drop() ?? { kind: "add", id, text: this.text() };
    if (chance < 98) return { kind: "name", id, text: this.text() };
    return this.#locate();
  }

  /** A text that was never used. */
  text(): string {
    this.#texts += 1;
    return `n${this.#texts}`;
  }

  /** A request was done. */
  done(wish: Wish, id: string): void {
    if (wish.kind === "create" && id !== "") this.objects.push(id);
    if (wish.kind === "add" || wish.kind === "name") this.#given.push(wish);
  }

  /** Deletes one of the last values, now and then; each once. */
  #drop(): Wish | undefined {
    this.#adds += 1;
    if (this.#adds % dropEvery !== 0) return undefined;
    const at = this.#given.findLastIndex(({ kind }) => kind === "add");
    const [value] = at < 0 ? [] : this.#given.splice(at, 1);
    return value && { kind: "drop", id: value.id, text: value.text };
  }

  #locate(): Wish {
    this.#searches += 1;
    const value = this.#given.at(-1 - (this.#searches % 3));
    if (this.#searches % searchEvery === 0 || value === undefined) return { kind: "locate" };
    return { kind: "locate", by: value.kind, text: value.text };
  }

  /** Some seconds ahead. */
  #dates(): Dates {
    const random = this.#random;
    const activation = Math.floor(this.#nowSeconds()) + 1 + random.below(8);
    const ends = random.chance(0.5);
    return { activation, deactivation: ends ? activation + 1 + random.below(5) : undefined };
  }
}
