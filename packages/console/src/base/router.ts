import { signal } from "@preact/signals";

/** Where in the console a person is: the part of the address after `#`, so that each place has a link. */
export interface Place {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
}

/** The present place. */
export const place = signal<Place>(placeOf(location.hash));

/** The path of a one-time link, `#/sign-in?code=…`: the code must not stay in the history. */
export const linkPath = "/sign-in";

/** What keeps the present place now: dialogs with something that a person would lose. */
const holds = new Set<() => boolean>();
const isHeld = () => [...holds].some((stays) => stays());

/** How many one-time links were given while the present place is kept: none of them was used. */
export const unusedLinks = signal(0);

window.addEventListener("hashchange", () => {
  const next = placeOf(location.hash);
  if (!isHeld()) {
    place.value = next;
    return;
  }
  const { path, query } = place.peek();
  const isLink = next.path === linkPath;
  history[isLink ? "replaceState" : "pushState"](null, "", link(path, {}, query));
  if (isLink) unusedLinks.value += 1;
});

window.addEventListener("beforeunload", (event) => {
  if (isHeld()) event.preventDefault();
});

/** Keeps the present place while `stays` says so, against Back, typed addresses and the tab's end; returns what ends that. */
export function hold(stays: () => boolean): () => void {
  holds.add(stays);
  return () => {
    holds.delete(stays);
  };
}

function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?");
  return { path: path === "" ? "/" : path, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a place: `{name}` in the path is filled from `params`; empty values are left out. */
export function link(
  path: string,
  params: Readonly<Record<string, string>> = {},
  query: Readonly<Record<string, string | undefined>> = {},
): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(params[name] ?? ""),
  );
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [[name, value] as [string, string]],
  );
  const search = new URLSearchParams(given).toString();
  return `#${filled}${search === "" ? "" : `?${search}`}`;
}

/** Goes to an address that `link` made. */
export function go(address: string): void {
  location.hash = address.slice(1);
}

/** Goes there without a trace of the present place in the history. */
export function replace(address: string): void {
  history.replaceState(null, "", address);
  place.value = placeOf(location.hash);
}

/** The parameters of a path that fits a pattern such as `/instances/{instance}`; undefined if it does not. */
export function match(pattern: string, path: string): Readonly<Record<string, string>> | undefined {
  const form = pattern.replaceAll(/\{(\w+)\}/g, "(?<$1>[^/]+)");
  const found = new RegExp(`^${form}$`).exec(path);
  if (found === null) return undefined;
  const named = Object.entries(found.groups ?? {});
  try {
    return Object.fromEntries(named.map(([name, text]) => [name, decodeURIComponent(text)]));
  } catch {
    // An address that somebody typed, with a % that encodes nothing.
    return undefined;
  }
}
