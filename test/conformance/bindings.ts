import { type Element, mapValues, walk } from "./element.ts";

const placeholder = /^\$([A-Z][A-Z0-9_]*)$/;
const now = /^\$NOW(?:([+-])(\d+))?$/;

/** How many seconds a date from `$NOW` may differ. */
export const nowToleranceSeconds = 5;

/** `$NOW`, `$NOW-3600` and so on in seconds since the epoch; undefined for other texts. */
export function nowSeconds(text: string, atMs: number): number | undefined {
  const match = now.exec(text);
  if (match === null) return undefined;
  const shift = match[2] === undefined ? 0 : Number(match[2]) * (match[1] === "-" ? -1 : 1);
  return Math.floor(atMs / 1000) + shift;
}

/** An element's name in a placeholder's form: `UniqueIdentifier` becomes `UNIQUE_IDENTIFIER`. */
function snake(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
}

/** Values of placeholders: their first occurrence in an answer binds them for good. */
export class Bindings {
  readonly #bound = new Map<string, string>();
  /** The last answer's value of every scalar, by its snake-case name. */
  readonly #last = new Map<string, string>();
  readonly #fresh: () => string;

  /** `fresh` makes the values that the client itself chooses (`$UNIQUE_IDENTIFIER_RANDOM_n`). */
  constructor(fresh: () => string) {
    this.#fresh = fresh;
  }

  /** The name of the placeholder, if the text is one (dates from `$NOW` are not). */
  static nameOf(text: string | undefined): string | undefined {
    if (text === undefined || now.test(text)) return undefined;
    return placeholder.exec(text)?.[1];
  }

  get(name: string): string | undefined {
    return this.#bound.get(name);
  }

  bind(name: string, value: string): void {
    this.#bound.set(name, value);
  }

  /** Remembers an answer, for placeholders whose first occurrence is in a request. */
  remember(answer: Element): void {
    for (const element of walk(answer)) {
      if (element.value !== undefined) this.#last.set(snake(element.name), element.value);
    }
  }

  /** The request with values in place of placeholders. */
  substitute(request: Element, atMs: number): Element {
    return mapValues(request, (text) => {
      const seconds = nowSeconds(text, atMs);
      if (seconds !== undefined) return new Date(seconds * 1000).toISOString();
      const name = Bindings.nameOf(text);
      return name === undefined ? text : (this.#bound.get(name) ?? this.#invent(name, text));
    });
  }

  #invent(name: string, text: string): string {
    const base = name.replace(/_\d+$/, "");
    const value = base.endsWith("_RANDOM") ? this.#fresh() : (this.#last.get(base) ?? text);
    if (value !== text) this.#bound.set(name, value);
    return value;
  }
}
