import type { AdminClient, contract, Reply, RouteRequest } from "@holdfast/admin";
import { attributeItem, attributes, attributeValue, attributeVisible, tags } from "@holdfast/kmip";
import { encode, type Item, structure } from "@holdfast/ttlv";
import { type PlanRow, targetId } from "./files/plan-file.ts";
import { type Patience, patiently } from "./patience.ts";
import { attributeWord, firstOf } from "./plan-row.ts";

type Sent = NonNullable<RouteRequest<(typeof contract)["importKeys"]>["body"]>["keys"][number];
/** What the instance says of an object that was sent. */
export type Result = Reply<(typeof contract)["importKeys"]>["results"][number];

/** An object that is ready to be sent. */
export interface Ready {
  readonly row: PlanRow;
  readonly sent: Sent;
  /** Attributes that the target's version of KMIP does not have. */
  readonly left: readonly string[];
  /** SHA-256 of a symmetric key's bytes, as the source gave them. */
  readonly digest: string | undefined;
}

/** The most objects in a request, and the most characters of TTLV in it. */
export const sentMax = 50;
const sentCharactersMax = 240_000;
/** The longest TTLV of one object, in base64. */
const ttlvMax = 131_072;
/** The version in which the management API takes objects. */
const version = "2.1";

/** How objects are changed on their way, beyond their form. */
interface Changes {
  /** Identifiers at the source → those at the target, if they differ. */
  readonly becomes: ReadonlyMap<string, string>;
}

/** The object as the management API takes it, or why it does not. Overwrites nothing. */
export function readyOf(
  row: PlanRow,
  items: readonly Item[],
  object: Item,
  digest: string | undefined,
  { becomes }: Changes,
): Ready | string {
  const left: string[] = [];
  const given = items.flatMap((item) => {
    // The request itself has the identifier that the object will have.
    if (item.tag === attributes.UniqueIdentifier.tag || isDropped(item, row)) return [];
    if (attributeVisible(item.tag, version)) return [relinked(item, becomes)];
    left.push(attributeWord(item));
    return [];
  });
  const state = firstOf(items, "State") ?? "PreActive";
  const sent = {
    identifier: targetId(row),
    objectType: row.type,
    state,
    attributes: base64(structure(tags.Attributes.tag, given)),
    value: base64(object),
  } as Sent;
  if (sent.attributes.length > ttlvMax || sent.value.length > ttlvMax) {
    return "larger than the management API takes: 96 KiB of attributes, and 96 KiB of material";
  }
  return { row, sent, left: [...new Set(left)], digest };
}

/** Whether an object comes without this item: one of its names, which another object has. */
export function isDropped(item: Item, { drops = [] }: PlanRow): boolean {
  return item.tag === attributes.Name.tag && drops.includes(attributeValue("Name", item).value);
}

/** A link names its object as the target does. */
export function relinked(item: Item, becomes: ReadonlyMap<string, string>): Item {
  if (item.tag !== attributes.Link.tag) return item;
  const { type, linkedObjectIdentifier: id } = attributeValue("Link", item);
  const other = typeof id === "string" ? becomes.get(id) : undefined;
  return other === undefined
    ? item
    : attributeItem("Link", { type, linkedObjectIdentifier: other });
}

/** The copy in bytes is overwritten; a text cannot be. */
function base64(item: Item): string {
  const bytes = encode(item, (length) => Buffer.alloc(length)) as Buffer;
  const text = bytes.toString("base64");
  bytes.fill(0);
  return text;
}

/** Sends objects, in as many requests as their size needs; results in their order. */
export async function importAll(
  client: AdminClient,
  instance: string,
  ready: readonly Ready[],
  patience: Patience,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const part of partsOf(ready)) {
    const keys = part.map(({ sent }) => sent);
    const answer = await patiently(patience, () =>
      client.call("importKeys", { params: { instance }, body: { keys } }),
    );
    results.push(...answer.results);
  }
  return results;
}

function partsOf(ready: readonly Ready[]): readonly (readonly Ready[])[] {
  const parts: Ready[][] = [];
  let characters = Number.POSITIVE_INFINITY;
  for (const one of ready) {
    // The rest of a key's JSON is below 1,000 characters.
    const size = one.sent.attributes.length + one.sent.value.length + 1_000;
    characters += size;
    const last = parts.at(-1);
    if (last !== undefined && last.length < sentMax && characters <= sentCharactersMax) {
      last.push(one);
    } else {
      parts.push([one]);
      characters = size;
    }
  }
  return parts;
}
