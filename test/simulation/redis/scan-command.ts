import { reads } from "./command.ts";
import { small } from "./numbers.ts";
import { type Bytes, CommandError, NotModelled } from "./reply.ts";

/** How many keys one SCAN looks at, if it does not say. */
const usualCount = 10;

/**
 * Shows keys by a hash of their names, from the cursor on: a key that is there all the time is shown, also while others
 * are made and deleted. Each process has another order, so a cursor means nothing to another one.
 */
export const scanCommands = {
  SCAN: reads(-2, (data, cursor = "", ...options) => {
    if (!/^\d+$/.test(cursor)) throw new CommandError("ERR invalid cursor");
    const { match, count } = optionsOf(options);
    const left = data
      .keys()
      .map((key) => ({ key, at: placeOf(data.seed, key) }))
      .filter(({ at }) => at >= Number(cursor))
      .toSorted((one, other) => one.at - other.at);
    const last = left[count - 1]?.at ?? Number.POSITIVE_INFINITY;
    const shown = left.filter(({ at, key }) => at <= last && match.test(key));
    const isOver = left.every(({ at }) => at <= last);
    return [isOver ? "0" : String(last + 1), shown.map(({ key }) => key)];
  }),
};

function optionsOf(options: readonly Bytes[]): { readonly match: RegExp; readonly count: number } {
  const found = { match: /^/, count: usualCount };
  for (let at = 0; at < options.length; at += 2) {
    const [name, value] = [options[at]?.toUpperCase(), options[at + 1]];
    if (value === undefined) throw new CommandError("ERR syntax error");
    if (name === "MATCH") found.match = patternOf(value);
    else if (name === "COUNT") found.count = small(value);
    else throw new NotModelled(`${name} of SCAN`);
  }
  if (found.count < 1) throw new CommandError("ERR syntax error");
  return found;
}

/** Of all that a pattern may have, only `*`. */
function patternOf(pattern: Bytes): RegExp {
  if (/[?[\]\\]/.test(pattern)) throw new NotModelled(`the pattern ${pattern}`);
  const parts = pattern.split("*").map((part) => part.replaceAll(/[.+^${}()|]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s");
}

/** From 1 on, since the cursor 0 is the beginning and the end (FNV-1a). */
function placeOf(seed: string, key: Bytes): number {
  let found = 0x811c9dc5;
  for (const text of [seed, key]) {
    for (let at = 0; at < text.length; at += 1) {
      found = Math.imul(found ^ text.charCodeAt(at), 0x01000193);
    }
  }
  return (found >>> 0) + 1;
}
