import { setImmediate } from "node:timers/promises";
import { Gauge, type Metric, Registry } from "prom-client";
import type { NodeEvent } from "../events.ts";
import { collectProcessMetrics } from "./loop-lag.ts";
import type { NodeReadings } from "./metric-row.ts";
import { CounterSeries, GaugeSeries, SecondsSeries } from "./metric-series.ts";
import { eventMetrics, readMetrics } from "./metric-table.ts";

type Recorder = (event: NodeEvent) => void;

/** Counts events and shows them as Prometheus reads them. */
export class Metrics {
  readonly #wallMs: () => number;
  readonly #registry = new Registry();
  readonly #records = new Map<NodeEvent["type"], Recorder[]>();
  readonly #series = new Map<string, CounterSeries | GaugeSeries | SecondsSeries>();
  /** Gauges of a leader, which are cleared once this node no longer leads. */
  readonly #leaders: GaugeSeries[] = [];
  /** Takes a delay of the event loop in milliseconds. */
  readonly late: (ms: number) => void;
  /** The source of readings; undefined until the node is complete. */
  #readings: NodeReadings | undefined;

  /** `wallMs` gives the time for gauges that hold a timestamp. */
  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
    for (const row of eventMetrics) {
      const records = this.#records.get(row.on) ?? [];
      this.#records.set(row.on, [...records, this.#recordOf(row)]);
    }
    this.#records.set("leader", [
      (event) => {
        if (event.type !== "leader" || event.state === "leader") return;
        for (const series of this.#leaders) series.clear();
      },
      ...(this.#records.get("leader") ?? []),
    ]);
    for (const row of readMetrics) this.#addGauge(row);
    this.late = collectProcessMetrics(this.#registry);
  }

  /** Receives every event of the node; never throws. */
  readonly observe = (event: NodeEvent): void => {
    const records = this.#records.get(event.type);
    if (records === undefined) return;
    for (let at = 0; at < records.length; at++) (records[at] as Recorder)(event);
  };

  /** Sets the source that gauges read from now on, and creates the series whose labels it determines. */
  watch(readings: NodeReadings): void {
    this.#readings = readings;
    for (const { starts, name } of eventMetrics) {
      for (const values of starts?.(readings) ?? []) this.#series.get(name)?.start(values);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** The metrics in Prometheus's text format. Other requests are served between two metrics. */
  async print(): Promise<string> {
    const texts: string[] = [];
    for (const { name } of this.#registry.getMetricsAsArray()) {
      texts.push(await this.#registry.getSingleMetricAsString(name));
      await setImmediate();
    }
    return `${texts.join("\n\n")}\n`;
  }

  #recordOf(row: (typeof eventMetrics)[number]): Recorder {
    const { name, help, labels } = row;
    const labelValues = row.labelValues as (event: NodeEvent) => readonly string[];
    const amount = row.amount as
      | ((event: NodeEvent, nowMs: () => number) => number | undefined)
      | undefined;
    const nowMs = this.#wallMs;
    if (row.type === "counter") {
      const series = this.#register(new CounterSeries(name, help, labels));
      return (event) =>
        series.add(labelValues(event), amount === undefined ? 1 : (amount(event, nowMs) ?? 0));
    }
    if (row.type === "gauge") {
      const series = this.#register(new GaugeSeries(name, help, labels));
      if (row.ofLeader === true) this.#leaders.push(series);
      return (event) => {
        const value = amount?.(event, nowMs);
        if (value !== undefined) series.set(labelValues(event), value);
      };
    }
    const series = this.#register(new SecondsSeries(name, help, labels));
    return (event) => series.observe(labelValues(event), (amount?.(event, nowMs) ?? 0) / 1000);
  }

  #register<Series extends CounterSeries | GaugeSeries | SecondsSeries>(series: Series): Series {
    this.#series.set(series.name, series);
    // The registry only uses a metric's name and `get`; the declared type is that of prom-client's own classes.
    this.#registry.registerMetric(series as unknown as Metric);
    return series;
  }

  #addGauge(row: (typeof readMetrics)[number]): void {
    const readings = () => this.#readings;
    new Gauge({
      name: row.name,
      help: row.help,
      labelNames: row.labels,
      registers: [this.#registry],
      collect() {
        this.reset();
        // `reset` sets a gauge without labels to 0. Absent and 0 are different: alerts compare with the value.
        if (row.labels.length === 0) this.remove();
        const node = readings();
        if (node === undefined) return;
        for (const read of row.read(node)) {
          const values = read.slice(0, -1) as string[];
          this.labels(...values).set(read.at(-1) as number);
        }
      },
    });
  }
}
