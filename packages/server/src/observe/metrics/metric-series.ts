import type { MetricValueWithName } from "prom-client";

/** One time series of a histogram: counts per bucket, not cumulative. */
class Buckets {
  readonly counts: Float64Array;
  sum = 0;
  constructor(buckets: number) {
    this.counts = new Float64Array(buckets + 1);
  }
}

/** Further combinations of labels are counted as "other", so that no client can fill the memory with names. */
const seriesMax = 2000;

interface Printed {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: "sum";
  readonly values: readonly MetricValueWithName<string>[];
}

type Node<Cell> = Map<string, Node<Cell>> | Cell;

/**
 * The series of one metric, found by their labels. Recording costs a few look-ups; the values for prom-client are built
 * at each scrape.
 */
abstract class Series<Cell> {
  readonly name: string;
  readonly #help: string;
  readonly #labels: readonly string[];
  #cells: { readonly values: readonly string[]; readonly cell: Cell }[] = [];
  #root: Node<Cell>;

  constructor(name: string, help: string, labels: readonly string[]) {
    this.name = name;
    this.#help = help;
    this.#labels = labels;
    this.#root = labels.length === 0 ? this.#make([]) : new Map();
  }

  protected abstract newCell(): Cell;
  protected abstract readonly type: "counter" | "gauge" | "histogram";
  protected abstract print(
    cell: Cell,
    labels: Record<string, string>,
  ): MetricValueWithName<string>[];

  /** Finds the series with these label values, or creates it. */
  protected cell(values: readonly string[]): Cell {
    let node = this.#root;
    for (let at = 0; at < values.length; at++) {
      const map = node as Map<string, Node<Cell>>;
      const value = values[at] as string;
      const next = map.get(value);
      if (next === undefined) return this.#add(values);
      node = next;
    }
    return node as Cell;
  }

  /** Creates the series with these label values before anything is recorded. */
  start(values: readonly string[]): void {
    this.cell(values);
  }

  /** Removes every series. */
  clear(): void {
    this.#cells = [];
    this.#root = this.#labels.length === 0 ? this.#make([]) : new Map();
  }

  /** Called by prom-client's registry. */
  async get(): Promise<Printed> {
    const values = this.#cells.flatMap(({ values: labelValues, cell }) => {
      const labels = Object.fromEntries(
        this.#labels.map((label, at) => [label, labelValues[at] as string]),
      );
      return this.print(cell, labels);
    });
    return {
      name: this.name,
      help: this.#help,
      type: this.type,
      aggregator: "sum",
      values,
    };
  }

  #add(values: readonly string[]): Cell {
    if (this.#cells.length >= seriesMax) {
      const other = values.map(() => "other");
      if (values.some((value) => value !== "other")) return this.cell(other);
    }
    let map = this.#root as Map<string, Node<Cell>>;
    for (const value of values.slice(0, -1)) {
      const next = (map.get(value) ?? new Map()) as Map<string, Node<Cell>>;
      map.set(value, next);
      map = next;
    }
    const cell = this.#make(values);
    map.set(values.at(-1) as string, cell);
    return cell;
  }

  #make(values: readonly string[]): Cell {
    const cell = this.newCell();
    this.#cells.push({ values, cell });
    return cell;
  }
}

/** A counter with labels. */
export class CounterSeries extends Series<{ value: number }> {
  protected override readonly type = "counter";

  add(labelValues: readonly string[], amount: number): void {
    this.cell(labelValues).value += amount;
  }

  protected override newCell(): { value: number } {
    return { value: 0 };
  }

  protected override print({ value }: { value: number }, labels: Record<string, string>) {
    return [{ metricName: this.name, labels, value }];
  }
}

/** A gauge with labels that keeps its last value; without labels it shows nothing before the first one. */
export class GaugeSeries extends Series<{ value: number | undefined }> {
  protected override readonly type = "gauge";

  set(labelValues: readonly string[], value: number): void {
    this.cell(labelValues).value = value;
  }

  protected override newCell(): { value: number | undefined } {
    return { value: undefined };
  }

  protected override print(cell: { value: number | undefined }, labels: Record<string, string>) {
    return cell.value === undefined ? [] : [{ metricName: this.name, labels, value: cell.value }];
  }
}

/** Upper bounds in seconds, from a read in memory to a timeout. */
const secondsBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

/** A histogram of seconds with labels. */
export class SecondsSeries extends Series<Buckets> {
  protected override readonly type = "histogram";

  observe(labelValues: readonly string[], seconds: number): void {
    const cell = this.cell(labelValues);
    let at = 0;
    while (at < secondsBuckets.length && seconds > (secondsBuckets[at] as number)) at++;
    cell.counts[at] = (cell.counts[at] as number) + 1;
    cell.sum += seconds;
  }

  protected override newCell(): Buckets {
    return new Buckets(secondsBuckets.length);
  }

  protected override print({ counts, sum }: Buckets, labels: Record<string, string>) {
    let count = 0;
    const values: MetricValueWithName<string>[] = [...secondsBuckets, "+Inf"].map((le, at) => {
      count += counts[at] as number;
      return { metricName: `${this.name}_bucket`, labels: { le, ...labels }, value: count };
    });
    values.push({ metricName: `${this.name}_sum`, labels, value: sum });
    values.push({ metricName: `${this.name}_count`, labels, value: count });
    return values;
  }
}
