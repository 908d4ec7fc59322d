import { setImmediate } from "node:timers/promises";
import { KmipError } from "@holdfast/kmip";
import { withDigests } from "../material/object-digest.ts";
import type { KeyRing } from "../ports/keys.ts";
import type { FindPage, FindQuery, StoredObject } from "../ports/objects.ts";
import type { Objects } from "../ports/operation-context.ts";
import type { ManagedObject } from "../record/record.ts";
import type { LocateFilter } from "./locate-filter.ts";

/** Most records that are read at a time: some milliseconds of work. */
const pageMax = 128;
/** Fewest records read at a time, and how many are read of each of several index terms to find a rare one. */
const probeMax = 32;

/** Options of a walk. */
interface WalkOptions {
  /** How many matches are wanted; may be infinite. */
  readonly wanted: number;
  /** Most objects that the walk looks at; no limit if undefined. */
  readonly walkMax: number | undefined;
  /** Opens objects if a Digest is wanted. */
  readonly keyRing: KeyRing;
}

/** A group of matching objects. */
export interface Matches {
  readonly objects: readonly ManagedObject[];
  /** True when the walk would be refused if it had to continue. */
  readonly atLimit: boolean;
}

interface Walked {
  readonly objects: readonly StoredObject[];
  readonly atLimit: boolean;
}

/** The objects that match, newest first, in groups; other work can run between the groups. */
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

/** The objects with the wanted Digest. */
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
 * The default member of an object group: the oldest that was never served or, if all were served, the oldest
 * (KMIP 2.1, 6.1.28, leaves the choice to the server).
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

/** The first term that few objects share, else all terms. */
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
