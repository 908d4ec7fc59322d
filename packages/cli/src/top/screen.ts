import { printable } from "@holdfast/admin/approval-text";
import { gap, padded, widthOf } from "../terminal/fit.ts";
import type { Figures, NodeFigures } from "./figures.ts";

/** The size of a terminal; without `rows`, the number of lines is not limited. */
export interface Room {
  readonly columns: number;
  readonly rows: number | undefined;
  readonly colour: boolean;
}

type Level = "good" | "warn" | "bad" | "plain";

const colours: Readonly<Record<Level, string>> = { good: "32", warn: "33", bad: "31", plain: "" };
const marks = { good: "✓", warn: "!", bad: "✗", plain: "" } as const;

interface Cell {
  readonly text: string;
  readonly level?: Level;
}

/** Headings of the nodes' table; columns that do not fit are left out from the right. */
const headings = [
  ...["NODE", "REGION", "STATE", "STORE", "LEADS", "SEES"],
  ...["REQ/s", "FAIL/s", "CONN", "CPU", "LOOP", "MEMORY"],
];

/** The screen as lines that fit into the room. */
export function screenOf(figures: Figures, at: string, room: Room): readonly string[] {
  const head = line(room, { text: headOf(figures, at) });
  const wrong =
    figures.wrong.length === 0
      ? [line(room, { text: `${marks.good} nothing is wrong`, level: "good" })]
      : figures.wrong.map(([level, words]) =>
          line(room, { text: `${marks[level]} ${words}`, level }),
        );
  const summary = summaryOf(figures).map((text) => line(room, { text }));
  const nodes = tableOf(figures.nodes, room);
  if (room.rows === undefined) return [head, "", ...nodes, "", ...summary, "", ...wrong];
  // If there is no room, the summary is cut first, then the nodes: what is wrong always stays.
  const rest = room.rows - 1;
  const shownWrong = cut(wrong, Math.max(1, Math.min(wrong.length, rest - 6)), "more are wrong");
  const left = rest - shownWrong.length;
  const shownNodes = cut(nodes, Math.min(nodes.length, Math.max(0, left - 1)), "more nodes");
  const parts = [head, ...spaced(shownWrong), ...spaced(shownNodes), ...spaced(summary)];
  return parts.slice(0, room.rows);
}

function spaced(lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ["", ...lines];
}

/** At most `most` lines; the last one says how many are missing. */
function cut(lines: readonly string[], most: number, what: string): readonly string[] {
  if (lines.length <= most) return lines;
  return [...lines.slice(0, Math.max(0, most - 1)), `… ${lines.length - most + 1} ${what}`];
}

function headOf({ nodes }: Figures, at: string): string {
  const answer = nodes.filter(({ state }) => state !== "is silent").length;
  return `Holdfast  ${at}  ${answer} of ${nodes.length} nodes answer`;
}

function summaryOf(figures: Figures): readonly string[] {
  const { clients, alone, behind, certificateDays, backupHours, keys } = figures;
  const lag = behind.map(([region, changes]) => `region ${region} ${changes}`).join(", ");
  return [
    ...clients.map(
      ({ what, rate, within }) =>
        `${what.padEnd(10)} ${numberOf(rate)}/s${within === undefined ? "" : `, 99 of 100 within ${timeOf(within)}`}`,
    ),
    `${"changes".padEnd(10)} ${numberOf(alone)}/s in one region alone; behind: ${lag === "" ? "nobody leads" : lag}`,
    `${"keys".padEnd(10)} ${keys === undefined ? "not counted" : `${keys} active`}; first certificate ends in ${certificateDays === undefined ? "?" : Math.floor(certificateDays)} days; backup ${backupHours === undefined ? "none yet" : `${numberOf(backupHours)} h old`}`,
  ];
}

function tableOf(nodes: readonly NodeFigures[], room: Room): readonly string[] {
  const rows = nodes.map(cellsOf);
  const widths = headings.map((heading, at) =>
    Math.min(
      room.columns,
      Math.max(heading.length, ...rows.map((row) => widthOf(row[at]?.text ?? ""))),
    ),
  );
  let shown = headings.length;
  const width = () => widths.slice(0, shown).reduce((sum, one) => sum + one, (shown - 1) * gap);
  while (shown > 1 && width() > room.columns) shown -= 1;
  const render = (cells: readonly Cell[]) =>
    cells
      .slice(0, shown)
      .map(({ text, level }, at) => painted(padded(text, widths[at] ?? 0), level, room))
      .join(" ".repeat(gap))
      .trimEnd();
  return [headings.map((text): Cell => ({ text })), ...rows].map((cells) => render(cells));
}

function cellsOf(one: NodeFigures): readonly Cell[] {
  const { region, node, state, store, leads, seesOther } = one;
  const names: readonly Cell[] = [
    { text: printable(node) },
    { text: printable(region) },
    { text: state, level: state === "serves" ? "good" : "bad" },
  ];
  if (state === "is silent") return names;
  return [
    ...names,
    { text: store, level: store === "own" ? "plain" : "bad" },
    { text: leads === undefined ? "-" : leads ? "leads" : "no" },
    {
      text: seesOther === undefined ? "-" : seesOther ? "yes" : "no",
      level: seesOther === false ? "bad" : "plain",
    },
    { text: numberOf(one.requests) },
    { text: numberOf(one.failures), level: one.failures > 0 ? "bad" : "plain" },
    { text: String(one.connections) },
    { text: `${Math.round(one.processor * 100)}%` },
    { text: timeOf(one.loop), level: one.loop > 0.1 ? "warn" : "plain" },
    { text: `${Math.round(one.memory / 1024 ** 2)} MiB` },
  ];
}

function line(room: Room, { text, level }: Cell): string {
  return painted(padded(printable(text), room.columns).trimEnd(), level, room);
}

function painted(text: string, level: Level = "plain", { colour }: Room): string {
  return colour && level !== "plain" ? `\x1b[${colours[level]}m${text}\x1b[0m` : text;
}

function numberOf(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

function timeOf(seconds: number): string {
  if (!Number.isFinite(seconds)) return "over 10 s";
  if (seconds >= 1) return `${numberOf(seconds)} s`;
  return `${seconds < 0.01 ? Number((seconds * 1000).toFixed(1)) : Math.round(seconds * 1000)} ms`;
}
