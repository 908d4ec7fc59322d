import { partitionCount } from "@holdfast/engine";

/**
 * Up to which change number each partition is known to be covered by a full barrier. It holds for one process only: after
 * a fail-over the same numbers can be given to other changes.
 */
export class CoveredNumbers {
  readonly #numbers = new Array<number>(partitionCount + 1).fill(0);

  /** The number of a partition. */
  of(partition: number): number {
    return this.#numbers[partition] ?? 0;
  }

  /** Raises a partition's number; returns whether it rose. */
  raise(partition: number, number: number): boolean {
    if (number <= this.of(partition)) return false;
    this.#numbers[partition] = number;
    return true;
  }
}
