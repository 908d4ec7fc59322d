import type { Level, Panel, Unit } from "@holdfast/server/panels";

const second = 1;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** A value with its unit, short enough for an axis. */
export function inWords(value: number, unit: Unit): string {
  if (!Number.isFinite(value)) return "–";
  switch (unit) {
    case "share":
      return `${digits(value * 100, value > 0.99 && value < 1 ? 5 : 3)}%`;
    case "yes":
      return value === 1 ? "yes" : value === 0 ? "no" : "";
    case "days":
      return `${digits(value, 2 + Math.floor(Math.log10(Math.max(1, Math.abs(value)))))} d`;
    case "seconds":
      return span(value);
    case "bytes":
      return bytes(value);
    case "bytesPerSecond":
      return `${bytes(value)}/s`;
    case "perSecond":
      return `${digits(value, 3)}/s`;
    case "count":
      return digits(value, 4);
    case "none":
      return "";
  }
}

function span(seconds: number): string {
  const size = Math.abs(seconds);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${digits(seconds * 1e6, 3)} µs`;
  if (size < second) return `${digits(seconds * 1000, 3)} ms`;
  if (size < 2 * minute) return `${digits(seconds, 3)} s`;
  if (size < 2 * hour) return `${digits(seconds / minute, 3)} min`;
  return size < 2 * day ? `${digits(seconds / hour, 3)} h` : `${digits(seconds / day, 3)} d`;
}

function bytes(value: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = Math.min(
    names.length - 1,
    Math.max(0, Math.floor(Math.log2(Math.max(1, Math.abs(value))) / 10)),
  );
  return `${digits(value / 1024 ** at, 3)} ${names[at]}`;
}

/** At most `most` significant digits; never in scientific notation. */
function digits(value: number, most: number): string {
  if (Math.abs(value) < 1e-6) return "0";
  return Number(value.toPrecision(most)).toLocaleString("en", {
    maximumFractionDigits: 6,
    useGrouping: Math.abs(value) >= 10_000,
  });
}

/** The level of a value; undefined if the panel has none. */
export function levelOf(value: number, { levels }: Panel): Level | undefined {
  return levels?.findLast(([, from]) => from === undefined || value >= from)?.[0];
}

/** A mark next to a value, so that the level does not depend on colour alone. */
export const marks: Readonly<Record<Level, string>> = { good: "✓", warn: "!", bad: "✗" };

/** `{{label}}` replaced by the label's value. */
export function named(legend: string, labels: Readonly<Record<string, string>>): string {
  return legend.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? "");
}
