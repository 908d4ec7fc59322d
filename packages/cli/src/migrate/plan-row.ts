import { createHash } from "node:crypto";
import {
  type AttributeName,
  type AttributeReference,
  type AttributeValue,
  attributeByTag,
  attributes,
  attributeValue,
  type ObjectTypeName,
  referenceOf,
  stateText,
} from "@holdfast/kmip";
import { encode, type Item, ItemType } from "@holdfast/ttlv";
import { attributeJson, byName, type Json } from "../terminal/output.ts";
import type { PlanRow } from "./files/plan-file.ts";
import { isTransportKey } from "./material.ts";
import type { Described, Refused } from "./peer.ts";

/** An object that the target instance has already. */
export interface Present {
  readonly id: string;
  readonly type: string;
  readonly state: string;
  readonly algorithm?: string | undefined;
  readonly length?: number | undefined;
  readonly names: readonly string[];
}

/** What decides whether objects can come. */
export interface Judge {
  /** The target's objects by identifier. */
  readonly present: ReadonlyMap<string, Present>;
  /** Name → the identifier at the target of the object that has it, or will have it. */
  readonly names: Map<string, string>;
  /** The source wraps keys with a transport key, so it gives sensitive ones too. */
  readonly wrapped: boolean;
  /** Objects whose identifier an instance cannot keep get a new one. */
  readonly newId: ((own: Omit<PlanRow, "comes">) => string) | undefined;
  /** Objects come without a Name that another one has. */
  readonly dropsNames: boolean;
}

/** The types that an instance takes over. */
const movable: ReadonlySet<string> = new Set<ObjectTypeName>([
  ...(["Certificate", "SymmetricKey", "PublicKey", "PrivateKey", "SplitKey"] as const),
  ...(["SecretData", "OpaqueObject", "PGPKey", "CertificateRequest"] as const),
]);
const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;
/** Attributes with a column or field of their own, and those that tell something of a weak secret. */
const elsewhere: readonly AttributeName[] = [
  ...(["UniqueIdentifier", "ShortUniqueIdentifier", "ObjectType", "State"] as const),
  ...(["CryptographicAlgorithm", "CryptographicLength", "Name", "Link", "Digest"] as const),
];

/** The first value of an attribute. */
export function firstOf<N extends AttributeName>(
  items: readonly Item[],
  name: N,
): AttributeValue<N> | undefined {
  const item = items.find(({ tag }) => tag === attributes[name].tag);
  return item === undefined ? undefined : attributeValue(name, item);
}

/** Every Name of an object. */
export function namesOf(items: readonly Item[]): readonly string[] {
  return items
    .filter(({ tag }) => tag === attributes.Name.tag)
    .map((item) => attributeValue("Name", item).value);
}

/** The line of the plan for an object, with the reason if it does not come. */
export function rowOf(read: Described | Refused, judge: Judge): PlanRow {
  if ("refused" in read) {
    const why = `the source does not show its attributes: ${read.refused}`;
    return { id: read.id, type: "", names: [], comes: false, why };
  }
  const known = factsOf(read);
  const why = standing(read.items, judge.wrapped);
  if (why !== undefined) return { ...known, comes: false, why };
  return placed(known, judge);
}

function factsOf({ id, items, unread }: Described): Omit<PlanRow, "comes"> {
  const state = firstOf(items, "State");
  const algorithm = firstOf(items, "CryptographicAlgorithm");
  const length = firstOf(items, "CryptographicLength");
  const links = items
    .filter(({ tag }) => tag === attributes.Link.tag)
    .map((item) => attributeJson(item)[1]);
  const rest = items.filter(({ tag }) => !elsewhere.some((name) => attributes[name].tag === tag));
  const isDate = ({ type }: Item) => type === ItemType.DateTime;
  const isCustom = ({ tag }: Item) => tag === attributes.VendorAttribute.tag;
  return {
    id,
    type: firstOf(items, "ObjectType") ?? "",
    ...(state === undefined ? {} : { state }),
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(length === undefined ? {} : { length }),
    names: namesOf(items),
    dates: named(rest.filter(isDate)),
    ...(links.length === 0 ? {} : { links }),
    custom: named(rest.filter(isCustom)),
    attributes: named(rest.filter((item) => !isDate(item) && !isCustom(item))),
    ...(unread.length === 0 ? {} : { unread }),
  };
}

/** Whether this may be the object that a line of the plan was made from: another source may have the same identifiers. */
export function isPlanned(items: readonly Item[], row: PlanRow): boolean {
  const names = namesOf(items).toSorted();
  return (
    firstOf(items, "ObjectType") === row.type &&
    firstOf(items, "CryptographicAlgorithm") === row.algorithm &&
    firstOf(items, "CryptographicLength") === row.length &&
    JSON.stringify(names) === JSON.stringify(row.names.toSorted())
  );
}

function named(items: readonly Item[]): Readonly<Record<string, Json>> {
  return byName(items.map(attributeJson)) as Readonly<Record<string, Json>>;
}

/** Whether nobody can miss an object that does not come: it is destroyed, or a transport key. */
export function isNoLoss(why: string): boolean {
  return /^(destroyed|a transport key)/.test(why);
}

/** Why an object cannot come as it is at the source; undefined if it can. */
export function standing(items: readonly Item[], wrapped: boolean): string | undefined {
  const type = firstOf(items, "ObjectType");
  const state = firstOf(items, "State") ?? "";
  if (type === undefined) return "unknown type: the source does not say it";
  if (!movable.has(type)) return `unknown type: an instance takes no ${type}`;
  if (isTransportKey(namesOf(items))) return "a transport key of an earlier run";
  if (state.startsWith("Destroyed")) return "destroyed: it has no material any more";
  if (firstOf(items, "ArchiveDate") !== undefined)
    return "archived: recover it at the source first";
  if (firstOf(items, "KeyValuePresent") === false) return "its key is kept outside the source";
  if (firstOf(items, "Extractable") === false) {
    return "not extractable: the source never gives it";
  }
  if (firstOf(items, "Sensitive") === true && !wrapped) {
    return "sensitive: the source gives it only wrapped, which --transport-key asks for";
  }
  return undefined;
}

/** The line of an object that can come, if its identifier and its names can. */
function placed(known: Omit<PlanRow, "comes">, judge: Judge): PlanRow {
  const { id, names } = known;
  const kept = uuid.test(id);
  if (!kept && judge.newId === undefined) {
    const why =
      "wrong identifier form: an instance keeps only UUIDs in lower case; --new-identifiers gives it a new one";
    return { ...known, comes: false, why };
  }
  const target = kept || judge.newId === undefined ? id : judge.newId(known);
  const clash = clashOf(known, judge.present.get(target));
  if (clash !== undefined) return { ...known, comes: false, why: clash };
  const taken = [...new Set(names)].filter((name) => (judge.names.get(name) ?? target) !== target);
  const [first] = taken;
  if (first !== undefined && !judge.dropsNames) {
    const why = `clash: the name ${first} is also that of ${judge.names.get(first)}; --drop-taken-names moves it without this name`;
    return { ...known, comes: false, why };
  }
  for (const name of names) if (!taken.includes(name)) judge.names.set(name, target);
  return {
    ...known,
    ...(kept ? {} : { becomes: target }),
    ...(taken.length === 0 ? {} : { drops: taken }),
    comes: true,
  };
}

/**
 * The identifier that an object gets in an instance in place of its own. It follows from what never changes, so that a later plan
 * finds the object there, and does not move it again.
 */
export function newIdentifier(instance: string, own: Omit<PlanRow, "comes">): string {
  const { id, type, algorithm = null, length = null, dates } = own;
  const what = [instance, id, type, algorithm, length, dates?.["InitialDate"] ?? null];
  const hex = createHash("sha256").update(JSON.stringify(what)).digest("hex");
  // A UUID of version 8 (RFC 9562, 5.8).
  return [
    ...[hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`],
    ...[`8${hex.slice(17, 20)}`, hex.slice(20, 32)],
  ].join("-");
}

function clashOf(known: Omit<PlanRow, "comes">, there: Present | undefined): string | undefined {
  if (there === undefined) return undefined;
  if (there.state.startsWith("Destroyed")) {
    return "clash: the instance has destroyed an object of this identifier";
  }
  const differs =
    there.type !== known.type ||
    there.algorithm !== known.algorithm ||
    (there.length !== undefined && known.length !== undefined && there.length !== known.length);
  return differs ? "clash: the instance has another object of this identifier" : undefined;
}

/** Whether no client can get the object after the move: an instance gives a Sensitive one only wrapped, and wraps none. */
export function isSensitive({ attributes: shown }: Pick<PlanRow, "attributes">): boolean {
  return shown?.["Sensitive"] === true;
}

/** What the plan shows of a line in its table. */
export function shownRow({ id, type, state, algorithm, length, names, ...row }: PlanRow): Json {
  return {
    id,
    type,
    state: stateText(state ?? ""),
    algorithm: algorithm ?? null,
    length: length ?? null,
    names,
    comes: row.comes
      ? [
          "yes",
          ...(row.becomes === undefined ? [] : [`as ${row.becomes}`]),
          ...(isSensitive(row) ? ["but no client can get it: sensitive"] : []),
          ...(row.drops === undefined ? [] : [`without the name ${row.drops.join(", ")}`]),
          ...(row.unread === undefined ? [] : [`without ${row.unread.join(", ")}`]),
        ].join(", ")
      : `no: ${row.why ?? ""}`,
  };
}

/** Those of `wanted` that an object does not show with the same value. */
export function lacking(wanted: readonly Item[], shown: readonly Item[]): readonly Item[] {
  const has = new Set(shown.map(textOf));
  return wanted.filter((item) => !has.has(textOf(item)));
}

function textOf(item: Item): string {
  return Buffer.from(encode(item)).toString("latin1");
}

/** The attribute's name as the specification and the management API have it; custom ones as `x-Name`. */
export function attributeWord(item: Item): string {
  return referenceWord(referenceOf(item));
}

/** The same of a reference; one that is not understood has only the server's name. */
export function referenceWord({ tag, key }: AttributeReference): string {
  if (tag === 0) return key;
  if (tag === attributes.VendorAttribute.tag) return key.replace("\0", "-");
  return attributeByTag(tag)?.name ?? `0x${tag.toString(16)}`;
}
