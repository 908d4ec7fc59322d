import { animate, draw } from "./draw.ts";
import { type PageHistory, type PageStep, scenesOf } from "./history.ts";
import { layoutFor } from "./layout.ts";
import { legendParts } from "./parts.ts";
import { element } from "./svg.ts";

const history = JSON.parse(find("history").textContent ?? "") as PageHistory;
const scenes = scenesOf(history);
const narrow = matchMedia("(max-width: 700px)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const brokenAt = history.steps.findIndex(({ breaks }) => breaks !== undefined);

const drawing = document.querySelector<SVGElement>("#drawing") as SVGElement;
const list = find("list");
const seek = find("seek") as HTMLInputElement;
const all = find("all") as HTMLInputElement;
const speed = find("speed") as HTMLSelectElement;
const play = find("play") as HTMLButtonElement;
const broken = find("broken") as HTMLButtonElement;

/** Indexes of the listed steps. */
let listed: readonly number[] = [];
/** The current index in `listed`. */
let at = 0;
let timer: number | undefined;

function find(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found;
}

function stepAt(place: number): PageStep {
  const step = history.steps[listed[place] ?? 0];
  if (step === undefined) throw new Error(`no step ${place}`);
  return step;
}

function timeOf({ atMs }: PageStep): string {
  return `${(atMs / 1_000).toFixed(3)} s`;
}

/** A whole sentence: with its subject, if it has one. */
function sentence({ who, what }: PageStep): string {
  if (who === "client") return `A client ${what}`;
  return firstUpper(/^(node|Sentinel) /.test(who) ? `${who} ${what}` : what);
}

function firstUpper(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

/** Lists the steps, with details or without, and stays at the same event. */
function fill(): void {
  const stay = listed[at] ?? 0;
  listed = history.steps.flatMap(({ main }, place) => (main || all.checked ? [place] : []));
  list.replaceChildren(...listed.map((_, place) => entry(place)));
  seek.max = String(listed.length - 1);
  find("marks").replaceChildren(...listed.flatMap((_, place) => mark(place)));
  const nearest = listed.findLastIndex((place) => place <= stay);
  show(Math.max(0, nearest), false);
}

function entry(place: number): HTMLLIElement {
  const step = stepAt(place);
  const time = element("span", "time", timeOf(step));
  const who = element("span", `who ${step.tone}`, step.who);
  const button = element("button", "", time, who, element("span", "text", step.what));
  button.type = "button";
  button.addEventListener("click", () => go(place));
  return element("li", step.tone, button);
}

/** Marks faults and a broken promise on the seek bar. */
function mark(place: number): readonly HTMLElement[] {
  const { tone } = stepAt(place);
  if (tone !== "fault" && tone !== "broken") return [];
  const made = element("span", tone);
  made.style.left = `${(place / Math.max(1, listed.length - 1)) * 100}%`;
  return [made];
}

function show(place: number, moves: boolean): void {
  at = Math.min(Math.max(0, place), listed.length - 1);
  const step = stepAt(at);
  const index = listed[at] ?? 0;
  const scene = scenes[index];
  if (scene === undefined) return;
  const before = scenes[listed[at - 1] ?? -1];
  draw(drawing, layoutFor(narrow.matches), { step, scene, before });
  if (moves && !still.matches) animate(drawing, 1_100 / Number(speed.value));
  caption(step);
  count(index);
  seek.value = String(at);
  seek.setAttribute("aria-valuetext", `event ${at + 1} of ${listed.length}, ${timeOf(step)}`);
  for (const [where, item] of [...list.children].entries()) {
    const button = item.firstElementChild;
    if (where === at) button?.setAttribute("aria-current", "step");
    else button?.removeAttribute("aria-current");
  }
  reveal();
}

/** Scrolls the list, and never the page. */
function reveal(): void {
  const item = list.children[at] as HTMLElement | undefined;
  if (item === undefined) return;
  const top = item.offsetTop - list.offsetTop;
  const bottom = top + item.offsetHeight;
  if (top < list.scrollTop) list.scrollTop = top - 8;
  else if (bottom > list.scrollTop + list.clientHeight) {
    list.scrollTop = bottom - list.clientHeight + 8;
  }
}

function caption(step: PageStep): void {
  const who = element("b", `who ${step.tone}`, firstUpper(step.who));
  find("when").replaceChildren(element("span", "time", timeOf(step)), " ", who);
  find("what").textContent = `${sentence(step)}.`;
  find("why").textContent = step.why;
  find("caption").className = step.tone;
}

/** Shows the counters up to a step. */
function count(index: number): void {
  const scene = scenes[index];
  if (scene === undefined) return;
  const acknowledged = scene.shared + scene.alone;
  const counters = history.promises.map(({ id, counted, short }) => {
    const times = scene.broken.get(id) ?? 0;
    const item = counter(times, [counted, short], times === 0 ? "kept" : "broken");
    item.dataset["promise"] = id;
    return item;
  });
  const text = `Changes acknowledged (${scene.alone} by one region alone)`;
  const total = counter(acknowledged, [text, "changes acknowledged"], "total");
  find("counters").replaceChildren(total, ...counters);
}

function counter(
  times: number,
  [text, short]: readonly [string, string],
  kind: string,
): HTMLLIElement {
  const texts = [element("span", "long", text), element("span", "short", short)];
  return element("li", kind, element("b", "", String(times)), ...texts);
}

function go(place: number): void {
  stop();
  show(place, true);
  // On a small screen the drawing may be out of sight.
  if (narrow.matches) find("stage").scrollIntoView({ block: "start" });
}

function stop(): void {
  if (timer !== undefined) clearTimeout(timer);
  timer = undefined;
  play.textContent = "Play";
  play.setAttribute("aria-label", "Play");
  find("caption").setAttribute("aria-live", "polite");
}

function start(): void {
  if (at >= listed.length - 1) show(0, true);
  play.textContent = "Pause";
  play.setAttribute("aria-label", "Pause");
  // A screen reader is not interrupted by each event while the history plays.
  find("caption").setAttribute("aria-live", "off");
  next();
}

/** Shows the next step after the time that reading takes. */
function next(): void {
  const { what, why } = stepAt(at);
  const readMs = 900 + 22 * (what.length + why.length / 2);
  timer = setTimeout(() => {
    show(at + 1, true);
    if (at >= listed.length - 1) stop();
    else next();
  }, readMs / Number(speed.value));
}

function toggle(): void {
  if (timer === undefined) start();
  else stop();
}

/** Goes to the step that broke a promise. */
function goToBroken(): void {
  go(listed.findIndex((index) => index >= brokenAt));
}

const keys: Readonly<Record<string, () => void>> = {
  ArrowRight: () => go(at + 1),
  ArrowLeft: () => go(at - 1),
  Home: () => go(0),
  End: () => go(listed.length - 1),
  " ": toggle,
};

function onKey(event: KeyboardEvent): void {
  const { target, key } = event;
  const own = key === " " ? "button, input, select" : "input, select";
  const isOwn = target instanceof Element && target.matches(own);
  const action = keys[key];
  if (action === undefined || isOwn || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  action();
}

function begin(): void {
  find("title").textContent = history.title;
  const legend = legendParts().map(([picture, text]) => element("li", "", picture, text));
  find("legend").replaceChildren(...legend);
  const does: Readonly<Record<string, () => void>> = {
    first: () => go(0),
    back: () => go(at - 1),
    play: toggle,
    forward: () => go(at + 1),
    last: () => go(listed.length - 1),
    broken: goToBroken,
  };
  for (const [id, action] of Object.entries(does)) find(id).addEventListener("click", action);
  seek.addEventListener("input", () => go(Number(seek.value)));
  all.addEventListener("change", fill);
  narrow.addEventListener("change", () => show(at, false));
  document.addEventListener("keydown", onKey);
  stop();
  fill();
  if (brokenAt < 0) return;
  broken.hidden = false;
  // Without scrolling, so that the counters are seen first.
  show(
    listed.findIndex((index) => index >= brokenAt),
    false,
  );
}

begin();
