import type { Box } from "./layout.ts";
import { svg } from "./svg.ts";

const lives: Readonly<Record<string, string>> = { down: "dead", frozen: "hangs" };

/** Words for the store that a node serves from, and their tone. */
function servingOf(region: string, from: string, writes: string): readonly [string, string] {
  const other = region === "a" ? "b" : "a";
  if (from === "none") return ['answers "cannot tell"', "bad"];
  if (from === "remote") return [`uses region ${other}'s store`, "warn"];
  return writes === "" ? ["own store, reads only", "warn"] : ["uses its own store", "good"];
}

/** A node, with the store that it serves from. */
export function drawNode(
  name: string,
  box: Box,
  { look, here }: { readonly look: string; readonly here: boolean },
): SVGElement {
  const [life = "", from = "", writes = "", leads = ""] = look.split("/");
  const [text, tone] =
    lives[life] === undefined ? servingOf(name[0] ?? "", from, writes) : [lives[life], "bad"];
  const { x, y, width, height } = box;
  const left = x - width / 2;
  const top = y - height / 2;
  const leader =
    leads === ""
      ? []
      : [svg("text", { x: left + width - 10, y: top + 23, class: "note end" }, "leader")];
  return svg(
    "g",
    { class: classOf("node", life, here) },
    svg("rect", { x: left, y: top, width, height, rx: 8 }),
    svg("text", { x: left + 10, y: top + 24, class: "name" }, `Node ${name}`),
    ...leader,
    svg("text", { x: left + 10, y: top + 47, class: `note ${tone}` }, text),
  );
}

/** How to draw a Redis. */
interface RedisLook {
  readonly look: string;
  readonly before: string | undefined;
  readonly here: boolean;
  /** Number of the key that the step is about. */
  readonly about: string | undefined;
  readonly keysInRow: number;
}

const keyHeight = 22;
const rowsMax = 3;

/** A Redis with the keys that it holds. */
export function drawRedis(
  name: string,
  box: Box,
  { look, before, here, about, keysInRow }: RedisLook,
): SVGElement {
  const [state = "", role = "", full = "", keys = ""] = look.split("/");
  const { x, y, width, height } = box;
  const left = x - width / 2;
  const top = y - height / 2;
  const words = lives[state] ?? full;
  const known = new Set((before?.split("/")[3] ?? keys).split(","));
  const list = keys === "" ? [] : keys.split(",");
  const shown = list.slice(-keysInRow * rowsMax);
  const step = (width - 20) / keysInRow;
  const chips = shown.map((key, at) =>
    chip(key, !known.has(key) || key.slice(0, -1) === about, {
      x: left + 10 + (at % keysInRow) * step,
      y: top + 46 + Math.floor(at / keysInRow) * (keyHeight + 3),
      width: step - 4,
      height: keyHeight,
    }),
  );
  const none =
    list.length > 0 ? [] : [svg("text", { x: left + 10, y: top + 62, class: "note" }, "no keys")];
  const number = Number(name.at(-1)) + 1;
  return svg(
    "g",
    { class: `${classOf("redis", state, here)} ${role}` },
    svg("rect", { x: left, y: top, width, height, rx: 8 }),
    svg("text", { x: left + 10, y: top + 20, class: "name" }, `Redis ${number}`),
    svg(
      "text",
      { x: left + width - 10, y: top + 20, class: "note end" },
      role === "stale" ? "old primary" : role,
    ),
    svg("text", { x: left + 10, y: top + 38, class: "note bad" }, words),
    ...chips,
    ...none,
  );
}

/** A key in a store: its number and state, highlighted if new. */
function chip(
  key: string,
  isNew: boolean,
  { x, y, width, height }: { x: number; y: number; width: number; height: number },
): SVGElement {
  const state = key.at(-1) ?? "";
  const strike =
    state === "X"
      ? [svg("line", { x1: x + 4, y1: y + height / 2, x2: x + width - 4, y2: y + height / 2 })]
      : [];
  return svg(
    "g",
    { class: `key ${state}${isNew ? " new" : ""}` },
    svg("rect", { x, y, width, height, rx: 5 }),
    svg("text", { x: x + width / 2, y: y + 15.5, class: "middle" }, key.slice(0, -1)),
    ...strike,
  );
}

/** The Sentinels of a region, drawn as one. */
export function drawSentinel({ x, y, width, height }: Box, here: boolean): SVGElement {
  return svg(
    "g",
    { class: classOf("sentinel", "", here) },
    svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 8 }),
    svg("text", { x, y: y + 5, class: "name middle" }, "Sentinel"),
  );
}

/** The legend: each state of a key. */
export function legendParts(): readonly (readonly [SVGElement, string])[] {
  const box = { x: 1, y: 1, width: 26, height: 22 };
  const of = (state: string, isNew = false) =>
    svg(
      "svg",
      { viewBox: "0 0 28 24", width: 28, height: 24, "aria-hidden": "true" },
      chip(`1${state}`, isNew, box),
    );
  return [
    [of("P"), "a key, not yet active"],
    [of("A"), "active"],
    [of("D"), "revoked"],
    [of("X"), "destroyed"],
    [of("A", true), "new, changed or asked for"],
  ];
}

function classOf(kind: string, state: string, here: boolean): string {
  return [kind, state, ...(here ? ["here"] : [])].join(" ");
}
