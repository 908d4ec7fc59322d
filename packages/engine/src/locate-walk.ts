import { setImmediate } from "node:timers/promises";
import { KmipError } from "@holdfast/kmip";
import type { Objects } from "./context.ts";
import type { FindPage, FindQuery } from "./find.ts";
import type { LocateFilter } from "./locate-filter.ts";
import type { StoredObject } from "./ports.ts";
import type { ManagedObject } from "./record.ts";

/** Records that a store hands out at a time: some milliseconds of work. */
const pageMax = 128;
/** The least that is read at once, also of each of several index terms to find one that few objects share. */
const probeMax = 32;

/** How a walk goes. */
export interface WalkOptions {
  /** How many matches are wanted; may be infinite. */
  readonly wanted: number;
  /** Objects that are walked through at most. */
  readonly walkMax: number | undefined;
}

/** The objects that match, newest first, in groups as they are found; other work gets its turn between the groups. */
export async function* matchesOf(
  objects: Objects,
  filter: LocateFilter,
  options: WalkOptions,
): AsyncGenerator<readonly ManagedObject[]> {
  const { live, destroyed, uniqueIdentifier } = filter;
  if (uniqueIdentifier === null || !(live || destroyed)) return;
  const pages =
    uniqueIdentifier === undefined
      ? walk(objects, filter, options)
      : [await readOne(objects, uniqueIdentifier)];
  for await (const page of pages) {
    yield page.map(({ object }) => object).filter(filter.matches);
  }
}

/**
 * The default member of an object group: the one that was waiting longest to be served, and when all were, the oldest
 * (KMIP 2.1, 6.1.28, leaves it to the server).
 */
export async function* defaultMember(
  members: AsyncIterable<readonly ManagedObject[]>,
): AsyncGenerator<readonly ManagedObject[]> {
  let oldest: ManagedObject | undefined;
  let oldestFresh: ManagedObject | undefined;
  for await (const group of members) {
    oldest = group.at(-1) ?? oldest;
    oldestFresh = group.findLast(({ facts }) => facts.served === undefined) ?? oldestFresh;
  }
  const chosen = oldestFresh ?? oldest;
  yield chosen === undefined ? [] : [chosen];
}

async function readOne(objects: Objects, identifier: string): Promise<readonly StoredObject[]> {
  try {
    return [await objects.load(identifier)];
  } catch (error) {
    if (error instanceof KmipError && error.fault === "objectNotFound") return [];
    throw error;
  }
}

async function* walk(
  objects: Objects,
  { live, destroyed, terms }: LocateFilter,
  { wanted, walkMax }: WalkOptions,
): AsyncGenerator<readonly StoredObject[]> {
  const [term] = terms.length > 1 ? await narrowest(objects, { live, destroyed }, terms) : terms;
  const query = { live, destroyed, ...(term === undefined ? {} : { term }) };
  let limit = Math.min(pageMax, Math.max(probeMax, wanted));
  let walked = 0;
  let page: FindPage = await objects.find({ ...query, limit });
  for (;;) {
    yield page.objects;
    walked += page.objects.length;
    if (page.next === undefined) return;
    if (walkMax !== undefined && walked >= walkMax) throw tooFar(walkMax);
    await setImmediate();
    limit = pageMax;
    page = await objects.find({ ...query, limit, after: page.next });
  }
}

/** The first term that few objects share, else all of them. */
async function narrowest(
  objects: Objects,
  query: Pick<FindQuery, "live" | "destroyed">,
  terms: readonly string[],
): Promise<readonly string[]> {
  for (const term of terms) {
    const page = await objects.find({ ...query, term, limit: probeMax });
    if (page.next === undefined) return [term];
  }
  return terms;
}

function tooFar(walkMax: number): KmipError {
  return new KmipError(
    "serverLimitExceeded",
    `more than ${walkMax} objects would have to be looked at: add a Name or another indexed attribute`,
  );
}
