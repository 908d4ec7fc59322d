import {
  attributeByTag,
  attributes,
  attributeValue,
  type IdentifierReference,
  KmipError,
  type Request,
  referenceOf,
  tags,
  type Version,
} from "@holdfast/kmip";
import { encodedLength, type Item, ItemType } from "@holdfast/ttlv";
import { attributeValues, vendorAttributes } from "../attributes/attribute-view.ts";
import { isDigest } from "../material/object-digest.ts";
import { isDestroyed } from "../record/lifecycle.ts";
import type { ManagedObject } from "../record/record.ts";
import { termFor } from "../system/index-terms.ts";
import { dateMatches, noDate, valueMatches } from "./locate-match.ts";

/** The criteria of a Locate request. */
export interface LocateFilter {
  /** Which objects to look at: those that are online, those that were destroyed. None is archived yet. */
  readonly live: boolean;
  readonly destroyed: boolean;
  /** An identifier that every match has, so that nothing else need be looked at; null when nothing can match. */
  readonly uniqueIdentifier: string | null | undefined;
  /** Index terms that every match has. Those that few objects share come first. */
  readonly terms: readonly string[];
  /** Whether an object matches, regardless of its Digest. */
  readonly matches: (object: ManagedObject) => boolean;
  /** Whether its Digest matches; undefined if none is wanted. The object must come from `withDigests`. */
  readonly digestMatches: ((object: ManagedObject) => boolean) | undefined;
}

/** What is needed to read a filter. */
interface FilterFor {
  readonly version: Version;
  /** The identifier of the object that a reference names; throws if it names no object. */
  readonly resolve: (reference: IdentifierReference) => string;
}

type Test = (object: ManagedObject) => boolean;

/** Storage Status Mask (KMIP 2.1, 12.3). */
const storage = { online: 0x01, destroyed: 0x04 } as const;

/** Each criterion is compared with the attributes of every object that the search looks at, and each of its fields with theirs. */
const criteriaMax = 64;
const fieldsMax = 256;
const bytesMax = 64 * 1024;

/** Reads the criteria of a Locate request (KMIP 2.1, 6.1.28); refuses criteria that cannot be searched for. */
export function locateFilter(request: Request<"Locate">, target: FilterFor): LocateFilter {
  const criteria = request.attributes ?? [];
  if (criteria.length > criteriaMax) {
    throw new KmipError("serverLimitExceeded", `a search has at most ${criteriaMax} attributes`);
  }
  const bytes = criteria.reduce((sum, { item }) => sum + encodedLength(item), 0);
  const fields = criteria.reduce((sum, { item }) => sum + fieldsIn(item), 0);
  if (bytes > bytesMax || fields > fieldsMax) {
    throw new KmipError(
      "serverLimitExceeded",
      `the attributes of a search have at most ${bytesMax} bytes and ${fieldsMax} fields`,
    );
  }
  const mask = request.storageStatusMask ?? storage.online;
  const live = (mask & storage.online) !== 0;
  const destroyed = (mask & storage.destroyed) !== 0;
  const wanted: Item[] = [];
  const dates = new Map<number, bigint[]>();
  let possible = true;
  // An Attribute Index has no meaning here (KMIP 1.4, 4.9).
  for (const { item } of criteria) {
    const resolved = withIdentifier(item, target);
    if (resolved === undefined) possible = false;
    else if (resolved.type !== ItemType.DateTime) wanted.push(resolved);
    else dates.set(resolved.tag, [...(dates.get(resolved.tag) ?? []), resolved.value]);
  }
  const tests: readonly Test[] = [
    ({ facts }) => (isDestroyed(facts) ? destroyed : live),
    ...memberTests(request, wanted),
    ...wanted.filter((item) => !isDigest(item)).map((item) => valueTest(item, target.version)),
    ...[...dates].map(([tag, given]) => dateTest(tag, given, target.version)),
  ];
  const digestTests = wanted.filter(isDigest).map((item) => valueTest(item, target.version));
  return {
    live,
    destroyed,
    uniqueIdentifier: possible ? identifierIn(wanted) : null,
    terms: termsOf(wanted),
    matches: (object) => tests.every((test) => test(object)),
    digestMatches:
      digestTests.length === 0 ? undefined : (object) => digestTests.every((test) => test(object)),
  };
}

function fieldsIn(item: Item): number {
  if (item.type !== ItemType.Structure) return 1;
  return item.value.reduce((sum, field) => sum + fieldsIn(field), 1);
}

function isVendor({ tag }: Item): boolean {
  return tag === attributes.VendorAttribute.tag;
}

/** Fresh members of a group (KMIP 2.1, 11.38). The default member is chosen later, among all that match. */
function memberTests(
  { objectGroupMember }: Request<"Locate">,
  wanted: readonly Item[],
): readonly Test[] {
  switch (objectGroupMember) {
    case undefined:
      return [];
    case "GroupMemberFresh":
      return [({ facts }) => facts.served === undefined];
    case "GroupMemberDefault":
      if (wanted.some(({ tag }) => tag === attributes.ObjectGroup.tag)) return [];
      throw new KmipError("invalidField", "a default member needs an Object Group");
    default:
      throw new KmipError("invalidField", "the Object Group Member is not known");
  }
}

function valueTest(wanted: Item, version: Version): Test {
  if (isVendor(wanted)) {
    return (object) =>
      vendorAttributes(object, version).some(({ item }) => valueMatches(wanted, item));
  }
  const reference = referenceOf(wanted);
  return (object) =>
    attributeValues(object, reference, version).some(({ item }) => valueMatches(wanted, item));
}

/** One date must match exactly, two are the limits of a range. */
function dateTest(tag: number, given: readonly bigint[], version: Version): Test {
  if (given.length > 2) {
    const name = attributeByTag(tag)?.name ?? "a date";
    throw new KmipError("invalidField", `${name} is given more than twice`);
  }
  const [first = noDate, second = first] = given;
  const [least, most] = first <= second ? [first, second] : [second, first];
  const reference = { tag, key: "" };
  return (object) => dateMatches(least, most, attributeValues(object, reference, version)[0]?.item);
}

/** The item with its reference resolved to an identifier; undefined if it refers to no object. */
function withIdentifier(item: Item, { resolve }: FilterFor): Item | undefined {
  const text = (part: Item): Item => {
    if (part.type === ItemType.TextString) return part;
    const value = resolve(attributeValue("UniqueIdentifier", part));
    return { tag: part.tag, type: ItemType.TextString, value };
  };
  try {
    if (item.tag === attributes.UniqueIdentifier.tag) return text(item);
    if (item.tag !== attributes.Link.tag || item.type !== ItemType.Structure) return item;
    const { tag } = tags.LinkedObjectIdentifier;
    return { ...item, value: item.value.map((part) => (part.tag === tag ? text(part) : part)) };
  } catch (error) {
    if (error instanceof KmipError && error.fault === "objectNotFound") return undefined;
    throw error;
  }
}

function identifierIn(wanted: readonly Item[]): string | undefined {
  const { tag } = attributes.UniqueIdentifier;
  const item = wanted.find((candidate) => candidate.tag === tag);
  return item?.type === ItemType.TextString ? item.value : undefined;
}

/** Indexed attributes: the fewer objects share a value of an attribute, the earlier it comes. */
const narrowing: readonly number[] = [
  attributes.Name.tag,
  attributes.AlternativeName.tag,
  attributes.ApplicationSpecificInformation.tag,
  attributes.VendorAttribute.tag,
  attributes.ObjectGroup.tag,
];

function termsOf(wanted: readonly Item[]): readonly string[] {
  const terms = narrowing.flatMap((tag) =>
    wanted.filter((item) => item.tag === tag).flatMap((item) => termFor(item) ?? []),
  );
  return [...new Set(terms)];
}
