import type { Route } from "../contract/route.ts";

/** What a call gives; what it may give is typed by the contract. */
export interface LooseRequest {
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  readonly query?: Readonly<Record<string, unknown>> | undefined;
  readonly body?: unknown;
}

/** A route's path with its parameters and query; every text is escaped, so that none leads to another path. */
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

/** Dots too, since `.` and `..` lead elsewhere. */
function escaped(text: string): string {
  return /^\.+$/.test(text) ? text.replaceAll(".", "%2E") : encodeURIComponent(text);
}

/** The origin of a service, checked. */
export function originOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const plain = parsed?.pathname === "/" && parsed.search === "" && parsed.username === "";
  if (parsed?.protocol === "https:" && plain) return parsed.origin;
  throw new RangeError(`${url}: must be https://HOST:PORT and nothing else`);
}
