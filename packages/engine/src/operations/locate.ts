import { KmipError, type Request, within } from "@holdfast/kmip";
import { locateFilter } from "../locate/locate-filter.ts";
import { defaultMember, type Matches, matchesOf } from "../locate/locate-walk.ts";
import type { Handler } from "../ports/operation-context.ts";
import { tooLarge } from "./response-room.ts";

/** Groups of objects that are still looked at once the page is full, to count the matches. */
const countedGroups = 2;
/** Bytes that one located identifier takes in a response. */
const identifierBytes = 48;

/** Which of the matches are returned. */
interface Page {
  readonly offset: number;
  /** Infinite unless the request states it. */
  readonly maximum: number;
}

/** Finds objects by their attributes, newest first (KMIP 2.1, 6.1.28). */
export const locate: Handler<"Locate"> = async ({ objects, ...context }, request) => {
  const page = pageOf(request);
  const { maximum, offset } = page;
  const { placeholder, settings, version } = context;
  const filter = locateFilter(request, { version, resolve: (one) => objects.resolve(one) });
  const all = matchesOf(objects, filter, {
    wanted: offset + maximum,
    walkMax: settings.locateWalkMax,
    keyRing: context.keyRing,
  });
  const found = request.objectGroupMember === "GroupMemberDefault" ? defaultMember(all) : all;
  const { located, uniqueIdentifiers } = await collect(found, page, {
    // Before 1.3 the response has no field for their number.
    groupsAfter: within(version, "1.3") ? countedGroups : 0,
    answeredMax: settings.responseBytesMax / identifierBytes,
  });
  const single = uniqueIdentifiers.length === 1 && (maximum === 1 || located === 1);
  placeholder.set(single ? uniqueIdentifiers[0] : undefined);
  // No match is an empty payload, without a count.
  return located === undefined || located === 0
    ? { uniqueIdentifiers }
    : { locatedItems: located, uniqueIdentifiers };
};

function pageOf({ maximumItems, offsetItems }: Request<"Locate">): Page {
  return {
    offset: notNegative("Offset Items", offsetItems) ?? 0,
    maximum: notNegative("Maximum Items", maximumItems) ?? Number.POSITIVE_INFINITY,
  };
}

function notNegative(name: string, value: number | undefined): number | undefined {
  if (value === undefined || value >= 0) return value;
  throw new KmipError("invalidField", `${name} must not be negative`);
}

/** The identifiers of a page of the matches, and the number of all matches if that was found soon enough. */
async function collect(
  found: AsyncIterable<Matches>,
  { maximum, offset }: Page,
  { answeredMax, groupsAfter }: { readonly answeredMax: number; readonly groupsAfter: number },
): Promise<{ readonly located?: number; readonly uniqueIdentifiers: readonly string[] }> {
  const uniqueIdentifiers: string[] = [];
  let located = 0;
  let left = groupsAfter;
  for await (const { atLimit, objects } of found) {
    for (const { uniqueIdentifier } of objects) {
      if (located >= offset && uniqueIdentifiers.length < maximum) {
        uniqueIdentifiers.push(uniqueIdentifier);
      }
      located += 1;
    }
    if (uniqueIdentifiers.length > answeredMax) throw tooLarge();
    if (uniqueIdentifiers.length < maximum) continue;
    if (left === 0 || atLimit) return { uniqueIdentifiers };
    left -= 1;
  }
  return { located, uniqueIdentifiers };
}
