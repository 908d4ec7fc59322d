/**
 * Places that owners share: an owner gets another one only while it holds fewer than are free. So a
 * single owner holds at most half, two hold a third each, and an owner without any gets a free one.
 */
export class Shares {
  readonly #places: number;
  readonly #held = new Map<string, number>();
  #taken = 0;

  constructor(places: number) {
    this.#places = places;
  }

  /** Takes a place; returns a function that releases it, or undefined if this owner gets none. */
  take(owner: string): (() => void) | undefined {
    const own = this.#held.get(owner) ?? 0;
    if (own >= this.#places - this.#taken) return undefined;
    this.#held.set(owner, own + 1);
    this.#taken += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#taken -= 1;
      const left = (this.#held.get(owner) ?? 1) - 1;
      if (left > 0) this.#held.set(owner, left);
      else this.#held.delete(owner);
    };
  }
}
