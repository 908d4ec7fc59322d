import type { Dashboard, Panel, Variable } from "@holdfast/server/panels";
import { drawLines, drawStats, drawTable, element, onTheme } from "./draw.ts";
import { type Choices, linesOf, samplesOf, valuesOf } from "./prometheus.ts";

const refreshMs = 5000;

const variables = {
  region: { label: "Region", metric: "holdfast_build_info" },
  node: { label: "Node", metric: "holdfast_build_info" },
  kmip_instance: { label: "KMIP instance", metric: "holdfast_objects" },
} as const satisfies Record<Variable, { label: string; metric: string }>;

const ranges = { "5 minutes": 300, "15 minutes": 900, "1 hour": 3600, "6 hours": 21_600 } as const;

const usualRange = "5 minutes";

const tabs = place("tabs");
const form = place("choices");
const main = place("dashboard");
const dashboards = (await (await fetch("/dashboards.json")).json()) as readonly Dashboard[];

/** What is shown now; showing another dashboard aborts it. */
const now = { shown: new AbortController(), panels: [] as readonly Shown[] };
/** The reader's choices, which stay for the next dashboard. */
const chosen = new Map<string, string>();

function place(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element ${id}`);
  return found;
}

function current(): Dashboard {
  const id = location.hash.slice(1);
  const found = dashboards.find((one) => one.id === id) ?? dashboards[0];
  if (found === undefined) throw new Error("no dashboard");
  return found;
}

async function show(): Promise<void> {
  now.shown.abort();
  now.shown = new AbortController();
  const { signal } = now.shown;
  const dashboard = current();
  document.title = `Holdfast: ${dashboard.title}`;
  tabs.replaceChildren(...dashboards.map((one) => tabOf(one, one === dashboard)));
  for (const { clear } of now.panels) clear();
  const panels = dashboard.groups.flatMap(({ panels: own }) => own.map(panelOf));
  now.panels = panels;
  let next = 0;
  main.replaceChildren(
    element("p", { className: "says", text: dashboard.says }),
    ...dashboard.groups.flatMap(({ title, panels: own }) => [
      element("h2", { text: title }),
      element("div", { className: "grid" }, ...own.map(() => (panels[next++] as Shown).section)),
    ]),
  );
  await offer(dashboard);
  while (!signal.aborted) {
    await Promise.all(panels.map((panel) => refresh(panel, signal)));
    main.dataset["drawn"] = String(Number(main.dataset["drawn"] ?? 0) + 1);
    await pause(signal);
  }
}

function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, refreshMs);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function tabOf({ id, title }: Dashboard, isCurrent: boolean): HTMLElement {
  const tab = element("a", { text: title });
  tab.href = `#${id}`;
  if (isCurrent) tab.setAttribute("aria-current", "page");
  return tab;
}

/** Draws the selects for a dashboard's variables and for the time range. */
async function offer({ variables: names }: Dashboard): Promise<void> {
  const selects = await Promise.all(
    names.map(async (name) => {
      const { label, metric } = variables[name];
      const values = await valuesOf(metric, name).catch(() => []);
      return select(name, label, ["all", ...values]);
    }),
  );
  form.replaceChildren(...selects, select("range", "Last", Object.keys(ranges)));
}

function select(name: string, label: string, options: readonly string[]): HTMLElement {
  const list = element("select", {}, ...options.map((text) => element("option", { text })));
  list.name = name;
  const before = chosen.get(name);
  if (before !== undefined && options.includes(before)) list.value = before;
  list.addEventListener("change", () => {
    chosen.set(name, list.value);
    void show();
  });
  return element("label", { text: label }, list);
}

function choices(): Choices {
  return Object.fromEntries(
    Object.keys(variables).map((name) => {
      const value = chosen.get(name) ?? "all";
      return [name, value === "all" ? ".*" : value.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")];
    }),
  );
}

/** A panel on the page. */
interface Shown {
  readonly panel: Panel;
  readonly section: HTMLElement;
  readonly body: HTMLElement;
  /** Draws the last content again. */
  draw: () => void;
  clear: () => void;
}

function panelOf(panel: Panel): Shown {
  const body = element("div", { className: "body" });
  const section = element(
    "section",
    { className: `panel ${panel.kind} w${panel.width}` },
    element("h3", { text: panel.title }),
    element("p", { className: "says" }, ...withCode(panel.says)),
    body,
  );
  section.dataset["title"] = panel.title;
  return { panel, section, body, draw: () => undefined, clear: () => undefined };
}

async function refresh(one: Shown, signal: AbortSignal): Promise<void> {
  try {
    const draw = await drawn(one);
    if (signal.aborted) return;
    if (draw === undefined) return say(one, one.panel.quiet === undefined ? "none" : "quiet");
    one.section.dataset["state"] = "data";
    one.draw = draw;
    draw();
  } catch (error) {
    if (!signal.aborted) say(one, "error", error instanceof Error ? error.message : String(error));
  }
}

/** Text in which `code` is marked. */
function withCode(text: string): readonly Node[] {
  return text
    .split("`")
    .map((part, at) =>
      at % 2 === 0 ? document.createTextNode(part) : element("code", { text: part }),
    );
}

/** Queries a panel's data; returns a function that draws it, or undefined if there is none. */
async function drawn(one: Shown): Promise<(() => void) | undefined> {
  const { panel, body } = one;
  if (panel.kind === "time") {
    const seconds = ranges[(chosen.get("range") ?? usualRange) as keyof typeof ranges];
    const lines = await linesOf(panel, choices(), seconds);
    if (lines.lines.length === 0) return undefined;
    return () => {
      one.clear();
      one.clear = drawLines(body, panel, lines);
    };
  }
  const samples = await samplesOf(panel, choices());
  if (samples.length === 0) return undefined;
  return () => (panel.kind === "stat" ? drawStats : drawTable)(body, panel, samples);
}

/** Shows text in place of values. */
function say(one: Shown, state: string, text = one.panel.quiet ?? "no data"): void {
  one.clear();
  one.clear = () => undefined;
  one.draw = () => undefined;
  one.section.dataset["state"] = state;
  one.body.replaceChildren(element("p", { className: "empty", text }));
}

function redraw(): void {
  for (const { draw } of now.panels) draw();
}

addEventListener("hashchange", () => void show());
addEventListener("resize", redraw);
onTheme(redraw);
await show();
