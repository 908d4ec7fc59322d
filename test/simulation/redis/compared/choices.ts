/** Numbers that decide, one after the other; zeros when they are used up, so that fewer numbers are a simpler case. */
export class Choices {
  readonly #numbers: readonly number[];
  #at = 0;

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  /** A whole number below `end`. */
  below(end: number): number {
    const number = this.#numbers[this.#at] ?? 0;
    this.#at += 1;
    return number % end;
  }

  of<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError("nothing to choose from");
    return item;
  }

  /** True in about `percent` of the cases; false when the numbers are used up. */
  chance(percent: number): boolean {
    return this.below(100) >= 100 - percent;
  }

  /** A list of at most `most` items. */
  list<Item>(most: number, make: () => Item): readonly Item[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }
}
