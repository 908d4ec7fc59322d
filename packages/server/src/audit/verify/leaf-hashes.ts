import type { AuditLeaf } from "@holdfast/engine";

interface Column {
  numbers: Float64Array;
  hashes: Uint8Array;
  count: number;
}

const hashLength = 32;

/** The hashes of events' leaves by partition and number, in about the bytes that the store needs for them. */
export class LeafHashes {
  readonly #columns = new Map<number, Column>();

  /** In a right log, the numbers of a partition grow. */
  add({ partition, number, hash }: AuditLeaf): void {
    const column = this.#columns.get(partition) ?? grown(undefined);
    this.#columns.set(partition, column);
    if (column.count === column.numbers.length) Object.assign(column, grown(column));
    column.numbers[column.count] = number;
    column.hashes.set(hash, column.count * hashLength);
    column.count += 1;
  }

  get(partition: number, number: number): Uint8Array | undefined {
    const { numbers, hashes, count } = this.#columns.get(partition) ?? grown(undefined);
    let [low, high] = [0, count];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((numbers[middle] ?? 0) < number) low = middle + 1;
      else high = middle;
    }
    const isFound = low < count && numbers[low] === number;
    return isFound ? hashes.subarray(low * hashLength, (low + 1) * hashLength) : undefined;
  }
}

function grown(column: Column | undefined): Column {
  const { numbers, hashes, count } = column ?? { numbers: [], hashes: [], count: 0 };
  const room = Math.max(16, 2 * count);
  const [roomy, roomyHashes] = [new Float64Array(room), new Uint8Array(room * hashLength)];
  roomy.set(numbers);
  roomyHashes.set(hashes);
  return { numbers: roomy, hashes: roomyHashes, count };
}
