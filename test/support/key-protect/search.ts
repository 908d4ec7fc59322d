import { badQuery } from "@holdfast/server/key-protect-refusals";
import { type Call, headerOf } from "./call.ts";
import { dateText } from "./render.ts";
import { type Key, stateOf, type World } from "./world.ts";

/** The keys of a page, and the total number of keys. */
export function pageOf(call: Call): { readonly keys: readonly Key[]; readonly total: number } {
  const { world, query } = call;
  const limit = numberOf(call, "limit", 200, 1, 5000);
  const offset = numberOf(call, "offset", 0, 0, Number.MAX_SAFE_INTEGER);
  const ring = headerOf(call, "x-kms-key-ring");
  const states = (query.get("state") ?? "0,1,2,3").split(",").map(Number);
  if (states.some((state) => ![0, 1, 2, 3, 5].includes(state))) {
    throw badQuery("state", "key states, separated by commas");
  }
  const extractable = query.get("extractable");
  const matches = searchOf(query.get("search"));
  const found = world.keys.filter(
    (key) =>
      states.includes(stateOf(world, key)) &&
      (ring === undefined || key.keyRing === ring) &&
      (extractable === null || String(key.extractable) === extractable) &&
      matches(key),
  );
  const sorted = found.toSorted(orderOf(world, query.get("sort") ?? "id"));
  return { keys: sorted.slice(offset, offset + limit), total: found.length };
}

function numberOf({ query }: Call, name: string, absent: number, least: number, most: number) {
  const text = query.get(name);
  if (text === null) return absent;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw badQuery(name, `a number from ${least} to ${most}`);
  }
  return value;
}

/** A search such as `not:exact:name:text`; it covers name and aliases unless it names one. */
function searchOf(text: string | null): (key: Key) => boolean {
  if (text === null) return () => true;
  const words = new Set<string>();
  let rest = text;
  for (;;) {
    const word = /^(not|exact|name|alias|escape):/.exec(rest)?.[1];
    if (word === undefined || words.has("escape")) break;
    words.add(word);
    rest = rest.slice(word.length + 1);
  }
  const wanted = rest.toLowerCase();
  const hit = (value: string) =>
    words.has("exact") ? value === rest : value.toLowerCase().includes(wanted);
  return ({ name, aliases }) => {
    const places = [...(words.has("alias") ? [] : [name]), ...(words.has("name") ? [] : aliases)];
    return places.some(hit) !== words.has("not");
  };
}

const sortable: Readonly<Record<string, (world: World, key: Key) => string>> = {
  id: (_, { id }) => id,
  state: (world, key) => String(stateOf(world, key)),
  extractable: (_, { extractable }) => String(extractable),
  imported: (_, { imported }) => String(imported),
  creationDate: (_, { createdMs }) => dateText(createdMs),
  lastUpdateDate: (_, { changedMs }) => dateText(changedMs),
  lastRotateDate: (_, { rotatedMs }) => dateText(rotatedMs ?? 0),
  deletionDate: (_, { deletedMs }) => dateText(deletedMs ?? 0),
  expirationDate: (_, { expiresMs }) => dateText(expiresMs ?? 0),
};

function orderOf(world: World, sort: string): (a: Key, b: Key) => number {
  const down = sort.startsWith("-");
  const field = sortable[down ? sort.slice(1) : sort];
  if (field === undefined) throw badQuery("sort", Object.keys(sortable).join(", "));
  return (a, b) => {
    const [one, other] = [field(world, a), field(world, b)];
    const order = one < other ? -1 : Number(one > other);
    return down ? -order : order;
  };
}
