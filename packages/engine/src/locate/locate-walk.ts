import { setImmediate } from "node:timers/promises";
import { KmipError } from "@holdfast/kmip";
import { withDigests } from "../material/object-digest.ts";
import type { KeyRing } from "../ports/keys.ts";
import type { FindPage, FindQuery, StoredObject } from "../ports/objects.ts";
import type { Objects } from "../ports/operation-context.ts";
import type { ManagedObject } from "../record/record.ts";
import type { LocateFilter } from "./locate-filter.ts";

/** Records that a store hands out at a time: some milliseconds of work. */
const pageMax = 128;
/** The least that is read at once, also of each of several index terms to find one that few objects share. */
const probeMax = 32;

/** How a walk goes. */
interface WalkOptions {
  /** How many matches are wanted; may be infinite. */
  readonly wanted: number;
  /** Objects that are walked through at most. */
  readonly walkMax: number | undefined;
  /** By which objects are opened where a Digest is wanted. */
  readonly keyRing: KeyRing;
}

/** Objects that match, as they are found. */
export interface Matches {
  readonly objects: readonly ManagedObject[];
  /** True when the walk would be refused if it had to continue. */
  readonly atLimit: boolean;
}

interface Walked {
  readonly objects: readonly StoredObject[];
  readonly atLimit: boolean;
}

/** The objects that match, newest first, in groups; other work gets its turn between the groups. */
export async function* matchesOf(
  objects: Objects,
  filter: LocateFilter,
  options: WalkOptions,
): AsyncGenerator<Matches> {
  const { live, destroyed, uniqueIdentifier } = filter;
  if (uniqueIdentifier === null || !(live || destroyed)) return;
  const pages =
    uniqueIdentifier === undefined
      ? walk(objects, filter, options)
      : [{ objects: await readOne(objects, uniqueIdentifier), atLimit: false }];
  for await (const { objects: page, atLimit } of pages) {
    const matching = page.map(({ object }) => object).filter(filter.matches);
    yield { objects: await byDigest(matching, filter, options.keyRing), atLimit };
  }
}

/** Those with the Digest that is wanted. */
async function byDigest(
  objects: readonly ManagedObject[],
  { digestMatches }: LocateFilter,
  keyRing: KeyRing,
): Promise<readonly ManagedObject[]> {
  if (digestMatches === undefined) return objects;
  const found: ManagedObject[] = [];
  for (const object of objects) {
    if (digestMatches(await withDigests(keyRing, object))) found.push(object);
  }
  return found;
}

/**
 * The default member of an object group: the one that was waiting longest to be served, and when all were, the oldest
 * (KMIP 2.1, 6.1.28, leaves it to the server).
 */
export async function* defaultMember(members: AsyncIterable<Matches>): AsyncGenerator<Matches> {
  let oldest: ManagedObject | undefined;
  let oldestFresh: ManagedObject | undefined;
  for await (const { objects } of members) {
    oldest = objects.at(-1) ?? oldest;
    oldestFresh = objects.findLast(({ facts }) => facts.served === undefined) ?? oldestFresh;
  }
  const chosen = oldestFresh ?? oldest;
  yield { objects: chosen === undefined ? [] : [chosen], atLimit: false };
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
): AsyncGenerator<Walked> {
  const [term] = terms.length > 1 ? await narrowest(objects, { live, destroyed }, terms) : terms;
  const query = { live, destroyed, ...(term === undefined ? {} : { term }) };
  let limit = Math.min(pageMax, Math.max(probeMax, wanted));
  let walked = 0;
  let page: FindPage = await objects.find({ ...query, limit });
  for (;;) {
    walked += page.objects.length;
    const atLimit = walkMax !== undefined && walked >= walkMax;
    yield { objects: page.objects, atLimit };
    if (page.next === undefined) return;
    if (atLimit) throw tooFar(walkMax);
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
