import type { PageArrow, PageStep, Scene } from "./history.ts";
import type { Box, Layout } from "./layout.ts";
import { drawNode, drawRedis, drawSentinel } from "./parts.ts";
import { svg } from "./svg.ts";

/** A step, the scene after it and the one before. */
export interface Shown {
  readonly step: PageStep;
  readonly scene: Scene;
  readonly before: Scene | undefined;
}

/** Draws a scene anew. */
export function draw(target: SVGElement, layout: Layout, shown: Shown): void {
  const { step, scene } = shown;
  const { boxes, width, height } = layout;
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  target.setAttribute("aria-label", describe(scene));
  const regions = ["a", "b"].map((name) => region(boxes, name, step));
  const links = [...scene.looks]
    .filter(([place]) => place.includes("~"))
    .map(([place, look]) => link(layout, place, look));
  const parts = [...boxes].flatMap(([name, box]) => part(name, box, layout, shown));
  const arrows = step.arrows.map((each, at) => arrow(boxes, each, at));
  const clients = boxes.get("client");
  const above = clients === undefined ? [] : [client(clients, step)];
  target.replaceChildren(arrowHeads(), ...regions, ...links.flat(), ...parts, ...arrows, ...above);
}

function region(boxes: ReadonlyMap<string, Box>, name: string, { places }: PageStep): SVGElement {
  const box = boxes.get(name);
  const title = boxes.get(`${name}:title`);
  if (box === undefined || title === undefined) return svg("g", {});
  const { x, y, width, height } = box;
  const left = x - width / 2;
  const top = y - height / 2;
  return svg(
    "g",
    { class: places.includes(name) ? "region here" : "region" },
    svg("rect", { x: left, y: top, width, height, rx: 10 }),
    svg("text", { x: title.x, y: title.y, class: "name" }, `Region ${name}`),
  );
}

function part(name: string, box: Box, layout: Layout, shown: Shown): readonly SVGElement[] {
  const { looks } = shown.scene;
  const here = shown.step.places.includes(name);
  if (name.endsWith("sentinel")) {
    const hasReplica = looks.has(`${name[0]}:redis1`);
    return hasReplica ? [drawSentinel(box, here)] : [];
  }
  const look = looks.get(name);
  if (look === undefined) return [];
  const before = shown.before?.looks.get(name);
  if (name.includes("redis")) {
    const about = shown.step.key?.replace("key ", "");
    return [drawRedis(name, box, { look, before, here, about, keysInRow: layout.keysInRow })];
  }
  return [drawNode(name, box, { look, here })];
}

function client({ x, y, width, height }: Box, { tone }: PageStep): SVGElement {
  return svg(
    "g",
    { class: tone === "client" ? "client here" : "client" },
    svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: height / 2 }),
    svg("text", { x, y: y + 5, class: "name middle" }, "Clients"),
  );
}

/** A line of the drawing, or the line between the regions; only cut ones to Sentinel. */
function link(layout: Layout, place: string, look: string): readonly SVGElement[] {
  const [from = "", to = ""] = place.split("~");
  if (place === "a~b") return between(layout, look);
  if (from.includes("sentinel") || to.includes("sentinel")) {
    if (look === "") return [];
  }
  const one = layout.boxes.get(from);
  const other = layout.boxes.get(to);
  if (one === undefined || other === undefined) return [];
  return line(edge(one, other), edge(other, one), look);
}

function between({ line: [from, to] }: Layout, look: string): readonly SVGElement[] {
  const isLevel = from[1] === to[1];
  const [x, y] = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
  const said = { "": "network", "><": "cut", ">": "a to b cut", "<": "b to a cut" }[look] ?? "cut";
  const at = isLevel
    ? { x, y: y - 16, class: "note middle" }
    : { x: x - 14, y: y + 4, class: "note end" };
  const tone = look === "" ? "" : " bad";
  const label = svg("text", { ...at, class: `${at.class}${tone}` }, said);
  return [...line(from, to, look, "far"), label];
}

type Point = readonly [number, number];

function line([x1, y1]: Point, [x2, y2]: Point, look: string, kind = ""): readonly SVGElement[] {
  const state = look === "" ? "link" : "link cut";
  const drawn = svg("line", { x1, y1, x2, y2, class: `${state} ${kind}` });
  if (look === "") return [drawn];
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const cross = svg("path", {
    d: `M${x - 7} ${y - 7}l14 14m0 -14l-14 14`,
    class: "cross",
  });
  return [drawn, cross];
}

/** The point at which the line to another box leaves a box. */
function edge(box: Box, to: Box, gap = 0): Point {
  const dx = to.x - box.x;
  const dy = to.y - box.y;
  const scale = Math.min(
    (box.width / 2 + gap) / Math.max(Math.abs(dx), 0.001),
    (box.height / 2 + gap) / Math.max(Math.abs(dy), 0.001),
  );
  return [box.x + dx * scale, box.y + dy * scale];
}

function arrow(boxes: ReadonlyMap<string, Box>, { from, to, lost }: PageArrow, at: number) {
  const one = boxes.get(from);
  const other = boxes.get(to);
  if (one === undefined || other === undefined) return svg("g", {});
  const [a, b] = [boxes.get("a")?.x ?? 0, boxes.get("b")?.x ?? 0];
  const way = wayOf(one, other, lost, (a + b) / 2);
  return svg(
    "g",
    { class: lost ? "arrow lost" : "arrow" },
    svg("path", { d: way, "marker-end": lost ? "url(#lost)" : "url(#head)" }),
    svg("circle", { r: 6, cx: 0, cy: 0, class: "dot", opacity: 0, "data-at": at, "data-way": way }),
  );
}

/** A straight line, or an arc over the boxes between; a lost message ends half-way. */
function wayOf(one: Box, other: Box, lost: boolean, between: number): string {
  const isFar = one.y === other.y && Math.abs(one.x - other.x) > 1.5 * one.width;
  if (!isFar) {
    const [x1, y1] = edge(one, other, 1);
    const [toX, toY] = edge(other, one, 3);
    const [x2, y2] = lost ? [(x1 + toX) / 2, (y1 + toY) / 2] : [toX, toY];
    return `M${x1} ${y1}L${x2} ${y2}`;
  }
  const y = one.y - one.height / 2;
  const x2 = lost ? between : other.x;
  const y2 = lost ? y - 36 : y - 3;
  return `M${one.x} ${y}C${one.x} ${y - 48} ${x2} ${y - 48} ${x2} ${y2}`;
}

function arrowHeads(): SVGElement {
  const box = { markerWidth: 9, markerHeight: 9, refX: 7, refY: 4.5, orient: "auto" };
  const units = { markerUnits: "userSpaceOnUse" };
  return svg(
    "defs",
    {},
    svg(
      "marker",
      { id: "head", ...box, ...units },
      svg("path", { d: "M0 0L9 4.5L0 9z", class: "head" }),
    ),
    svg(
      "marker",
      { id: "lost", ...box, ...units, markerWidth: 14, markerHeight: 14, refY: 7 },
      svg("path", { d: "M2 2l10 10m0 -10l-10 10", class: "cross" }),
    ),
  );
}

/** Moves a dot along each arrow, one after the other. */
export function animate(target: SVGElement, totalMs: number): void {
  const dots = [...target.querySelectorAll<SVGElement>(".dot")];
  const each = totalMs / Math.max(1, (dots.length + 1) / 2);
  for (const dot of dots) {
    dot.style.offsetPath = `path("${dot.dataset["way"]}")`;
    const frames = [
      { offsetDistance: "0%", opacity: 1 },
      { offsetDistance: "100%", opacity: 1 },
    ];
    const delay = (Number(dot.dataset["at"]) * each) / 2;
    dot.animate(frames, { duration: each, delay, easing: "ease-in-out" });
  }
}

/** The scene in words, for screen readers. */
function describe({ looks }: Scene): string {
  const parts = [...looks].flatMap(([place, look]) => {
    if (place.includes("~")) return look === "" ? [] : [`${place.replace("~", " to ")} cut`];
    const [state = "", second = ""] = look.split("/");
    const name = place.includes("redis") ? `${place}, ${second},` : `node ${place}`;
    return [`${name} is ${state}`];
  });
  return `Two regions. ${parts.join("; ")}.`;
}
