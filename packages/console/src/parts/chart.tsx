import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** A line of a chart. */
export interface ChartLine {
  readonly name: string;
  /** A colour that can be seen on light and on dark. */
  readonly colour: string;
}

/** Values at a time, one for each line; the time in ms since 1970. */
export interface Sample {
  readonly timeMs: number;
  readonly values: readonly number[];
}

const height = 180;

/** Values over time. The page says the same in words, since a chart says nothing to a screen reader. */
export function Chart({
  label,
  lines,
  samples,
}: {
  label: string;
  lines: readonly ChartLine[];
  samples: readonly Sample[];
}) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  useEffect(() => {
    const at = place.current;
    if (at === null) return;
    const made = new uPlot({ ...optionsOf(at, lines), width: at.clientWidth, height }, [[]], at);
    const sizes = new ResizeObserver(() => made.setSize({ width: at.clientWidth, height }));
    sizes.observe(at);
    chart.current = made;
    return () => {
      sizes.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => {
    const times = samples.map(({ timeMs }) => timeMs / 1000);
    const values = lines.map((_, at) => samples.map((sample) => sample.values[at] ?? 0));
    chart.current?.setData([times, ...values]);
  }, [samples]);
  return <div ref={place} class="chart" role="img" aria-label={label} />;
}

function optionsOf(
  at: HTMLElement,
  lines: readonly ChartLine[],
): Omit<uPlot.Options, "width" | "height"> {
  const axis: uPlot.Axis = {
    // Read at each drawing: a person may change the theme.
    stroke: () => getComputedStyle(at).color,
    grid: { stroke: "rgb(128 128 128 / 35%)", width: 1 },
    ticks: { show: false },
  };
  return {
    scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
    axes: [axis, { ...axis, size: 56 }],
    cursor: { show: false },
    legend: { live: false },
    series: [
      {},
      ...lines.map(({ name, colour }) => ({
        label: name,
        stroke: colour,
        width: 2,
        points: { show: false },
      })),
    ],
  };
}
