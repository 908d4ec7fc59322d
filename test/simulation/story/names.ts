import { stateValues } from "@holdfast/engine";

/** Short names for identifiers: key 1, key 2, in the order in which they appear. */
export class KeyNames {
  readonly #names = new Map<string, string>();

  of(id: string): string {
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const name = `key ${this.#names.size + 1}`;
    this.#names.set(id, name);
    return name;
  }

  /** A text with short names in place of all identifiers, whole or their first eight characters. */
  in(text: string): string {
    let named = text;
    for (const [id, name] of this.#names) {
      named = named.replaceAll(id, name).replaceAll(id.slice(0, 8), name);
    }
    return named;
  }
}

const stateNames = new Map<number, string>(
  Object.entries(stateValues).map(([name, value]) => [value, name]),
);

/** A state in the words of KMIP: Pre-Active, Active, ... */
export function stateName(rank: number): string {
  const name = stateNames.get(rank) ?? `state ${rank}`;
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, " ").replace("Pre Active", "Pre-Active");
}

/** A place in words: `a1` is a node, `a:redis0` a Redis, `a` a region. */
export function placeName(place: string): string {
  const redis = /^(\w):redis(\d+)$/.exec(place);
  if (redis !== null) return `Redis ${Number(redis[2]) + 1} of region ${redis[1]}`;
  if (/^\w:sentinel\d*$/.test(place)) return `Sentinel of region ${place[0]}`;
  return /^\w\d$/.test(place) ? `node ${place}` : `region ${place}`;
}

/** The same with a capital letter. */
export function capital(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}
