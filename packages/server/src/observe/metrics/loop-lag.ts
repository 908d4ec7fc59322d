import { createHistogram } from "node:perf_hooks";
import { collectDefaultMetrics, Gauge, type Registry } from "prom-client";

/** prom-client's monitor of the event loop never runs with this: it would wake an idle node a hundred times a second. */
const neverMs = 2_147_483_647;

/**
 * prom-client's metrics of the process. Those of the event loop's delay, with prom-client's names, come from the
 * samples given here. Returns how to add a sample, in milliseconds.
 */
export function collectProcessMetrics(registry: Registry): (lateMs: number) => void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: neverMs });
  const delays = createHistogram();
  let last = 1;
  const reads = {
    "": () => last,
    _min: () => delays.min,
    _max: () => delays.max,
    _mean: () => delays.mean,
    _stddev: () => delays.stddev,
    _p50: () => delays.percentile(50),
    _p90: () => delays.percentile(90),
    // The last one: what is read begins anew with each scrape.
    _p99: () => delays.percentile(99),
  };
  for (const [part, read] of Object.entries(reads)) {
    const name = `nodejs_eventloop_lag${part}_seconds`;
    const { help } = registry.getSingleMetric(name) as unknown as { readonly help: string };
    registry.removeSingleMetric(name);
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(delays.count === 0 ? 0 : read() / 1e9);
        if (part === "_p99") delays.reset();
      },
    });
  }
  return (lateMs) => {
    // A histogram takes no zero.
    last = Math.max(1, Math.round(lateMs * 1e6));
    delays.record(last);
  };
}
