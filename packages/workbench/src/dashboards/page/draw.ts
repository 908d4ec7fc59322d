import type { Panel } from "@holdfast/server/panels";
import uPlot from "uplot";
import type { Line, Lines, Sample } from "./prometheus.ts";
import { inWords, levelOf, marks } from "./words.ts";

/** Okabe and Ito's colours, which nearly everybody can distinguish, adapted to a light and a dark background. */
const palettes = {
  light: ["#0072b2", "#d55e00", "#008a63", "#b04a87", "#8a6d00", "#2a9fd6", "#5b5b5b", "#7a3e00"],
  dark: ["#4fb3ea", "#ff9345", "#2fd0a0", "#e39cc7", "#f0e442", "#9ad7fa", "#c2c2c2", "#e69f00"],
} as const;
/** Dashes of the lines, which repeat the colours after the first eight. */
const dashes: readonly number[][] = [[], [6, 4], [2, 3], [10, 3, 2, 3]];

const dark = matchMedia("(prefers-color-scheme: dark)");

function colourOf(at: number): string {
  const palette = dark.matches ? palettes.dark : palettes.light;
  return palette[at % palette.length] as string;
}

function dashOf(at: number): number[] {
  return dashes[Math.floor(at / palettes.light.length) % dashes.length] ?? [];
}

function style(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** An element with a class, text or children. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  { className = "", text = "" }: { className?: string; text?: string },
  ...children: readonly Node[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  if (text !== "") made.textContent = text;
  made.append(...children);
  return made;
}

/** A line without a value at this many of the last times has ended. */
const recent = 4;

/** Draws lines over time, with a legend that shows the values at the pointer, or the last ones. */
export function drawLines(body: HTMLElement, panel: Panel, { times, lines }: Lines): () => void {
  const chart = element("div", { className: "chart" });
  const legend = element("ul", { className: "legend" });
  const values = lines.map((line, at) => legendEntry(legend, line, at));
  body.replaceChildren(chart, legend);
  const show = (index: number | null | undefined) => {
    for (const [at, line] of lines.entries()) {
      const last = line.values.slice(-recent).findLast((value) => value !== null);
      const value = index == null ? last : line.values[index];
      const shown = values[at];
      if (shown !== undefined) shown.textContent = value == null ? "–" : inWords(value, panel.unit);
    }
  };
  const plot = new uPlot(
    {
      ...optionsOf(panel, lines),
      width: chart.clientWidth,
      height: chart.clientHeight,
      hooks: hooksOf(panel, show),
    },
    [times.slice(), ...lines.map((line) => line.values.slice())],
    chart,
  );
  show(undefined);
  return () => plot.destroy();
}

function legendEntry(legend: HTMLElement, { name }: Line, at: number): HTMLElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const stroke = document.createElementNS(space, "path");
  for (const [key, value] of Object.entries({
    d: "M0 4H22",
    stroke: colourOf(at),
    "stroke-width": "3",
    "stroke-dasharray": dashOf(at).join(" "),
  })) {
    stroke.setAttribute(key, value);
  }
  svg.append(stroke);
  const value = element("b", {});
  legend.append(element("li", {}, svg, document.createTextNode(name), value));
  return value;
}

function optionsOf(
  { unit }: Panel,
  lines: readonly Line[],
): Omit<uPlot.Options, "width" | "height"> {
  const axis: uPlot.Axis = {
    stroke: style("--muted"),
    grid: { stroke: style("--grid"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  return {
    legend: { show: false },
    cursor: { sync: { key: "all" }, y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => rangeOf(unit, low, high) } },
    series: [
      {},
      ...lines.map((_, at) => ({
        stroke: colourOf(at),
        width: 1.75,
        dash: dashOf(at),
        points: { show: false },
      })),
    ],
    axes: [
      { ...axis, size: 24, space: 80, values: (_, at) => at.map(clock) },
      {
        ...axis,
        size: 66,
        space: 34,
        ...(unit === "yes" ? { splits: [0, 1] } : {}),
        ...(unit === "bytes" || unit === "bytesPerSecond" ? { incrs: byteSteps } : {}),
        ...(unit === "seconds" ? { incrs: secondSteps } : {}),
        values: (_, at) => at.map((value) => inWords(value, unit)),
      },
    ],
  };
}

/** Axis steps: 1, 2 and 5 times each power of ten below a minute, then the steps of clocks and calendars. */
const secondSteps = [
  ...[-6, -5, -4, -3, -2, -1, 0, 1].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power)),
  ...[60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800, 2_592_000],
].filter((step) => step < 50 || step >= 60);
const byteSteps = Array.from({ length: 42 }, (_, at) => 2 ** at);

function clock(seconds: number): string {
  const date = new Date(seconds * 1000);
  const isWhole = date.getSeconds() === 0;
  return date.toLocaleTimeString("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    ...(isWhole ? {} : { second: "2-digit" }),
  });
}

/** The range of an axis: from 0, with room above; a flat line at 0 is at the bottom. */
function rangeOf(unit: Panel["unit"], low: number | null, high: number | null): [number, number] {
  if (unit === "yes") return [-0.1, 1.1];
  const bottom = Math.min(0, low ?? 0);
  const top = Math.max(high ?? 1, bottom);
  if (top === bottom) return [bottom, bottom + (unit === "seconds" ? 0.01 : 1)];
  const room = (top - bottom) * 0.08;
  return [bottom === 0 ? 0 : bottom - room, top + room];
}

function hooksOf(
  panel: Panel,
  show: (index: number | null | undefined) => void,
): uPlot.Hooks.Arrays {
  return {
    setCursor: [({ cursor }) => show(cursor.idx)],
    draw: [(plot) => drawLevels(plot, panel)],
  };
}

/** Draws a thin line at each value where the level changes. */
function drawLevels(plot: uPlot, { levels }: Panel): void {
  const { ctx, bbox, scales } = plot;
  const { min, max } = scales["y"] ?? {};
  for (const [at, [level, from]] of (levels ?? []).entries()) {
    if (from === undefined || from < (min ?? 0) || from > (max ?? 0)) continue;
    // The line has the colour of its worse side.
    const worse = level === "good" ? levels?.[at - 1]?.[0] : level;
    const y = Math.round(plot.valToPos(from, "y", true));
    ctx.save();
    ctx.strokeStyle = style(`--${worse ?? level}`);
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }
}

/** Draws values in large letters. */
export function drawStats(body: HTMLElement, panel: Panel, samples: readonly Sample[]): void {
  const sorted = samples.toSorted((one, other) => one.name.localeCompare(other.name));
  const list = sorted.map(({ name, value }) =>
    element("div", {}, element("dt", { text: name }), leveled(element("dd", {}), value, panel)),
  );
  body.replaceChildren(element("dl", { className: "stats" }, ...list));
}

/** Draws rows of labels, with the value last. */
export function drawTable(body: HTMLElement, panel: Panel, samples: readonly Sample[]): void {
  const { columns = [], unit } = panel;
  const heads = unit === "none" ? columns : [...columns, "value"];
  const head = element("tr", {}, ...heads.map((text) => element("th", { text })));
  const order = ({ labels }: Sample) => columns.map((label) => labels[label] ?? "").join(" ");
  // If there are values, they keep the order of the expression.
  const sorted =
    unit === "none"
      ? samples.toSorted((one, other) => order(one).localeCompare(order(other)))
      : samples;
  const rows = sorted.map(({ labels, value }) =>
    element(
      "tr",
      {},
      ...columns.map((label) => element("td", { text: labels[label] ?? "" })),
      ...(unit === "none" ? [] : [leveled(element("td", {}), value, panel)]),
    ),
  );
  const table = element(
    "table",
    { className: unit === "none" ? "" : "valued" },
    element("thead", {}, head),
    element("tbody", {}, ...rows),
  );
  body.replaceChildren(element("div", { className: "scroll" }, table));
}

function leveled<Made extends HTMLElement>(made: Made, value: number, panel: Panel): Made {
  const level = levelOf(value, panel);
  const words = inWords(value, panel.unit);
  made.textContent = level === undefined ? words : `${marks[level]} ${words}`;
  if (level !== undefined) made.className = level;
  return made;
}

/** Redraws when the colour scheme changes between light and dark. */
export function onTheme(redraw: () => void): void {
  dark.addEventListener("change", redraw);
}
