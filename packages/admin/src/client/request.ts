import type { Route } from "../contract/route.ts";

/** The parameters of any call; the contract has the exact types. */
export interface LooseRequest {
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  readonly query?: Readonly<Record<string, unknown>> | undefined;
  readonly body?: unknown;
}

/** A route's path with its parameters and query, escaped so that no text changes the path. */
export function pathOf({ path }: Route, { params = {}, query = {} }: LooseRequest): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name];
    if (typeof value !== "string" || value === "") {
      throw new RangeError(`${name} is missing: ${path} needs it`);
    }
    return escaped(value);
  });
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${escaped(name)}=${escaped(String(value))}`],
  );
  return pairs.length === 0 ? filled : `${filled}?${pairs.join("&")}`;
}

/** Escapes `.` and `..` too, because they would lead to another path. */
function escaped(text: string): string {
  return /^\.+$/.test(text) ? text.replaceAll(".", "%2E") : encodeURIComponent(text);
}

/** The origin of a service's URL; throws if the URL is anything else. */
export function originOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const plain = parsed?.pathname === "/" && parsed.search === "" && parsed.username === "";
  if (parsed?.protocol === "https:" && plain) return parsed.origin;
  throw new RangeError(`${url}: must be https://HOST:PORT and nothing else`);
}
