import { randomUUID } from "node:crypto";
import {
  type Attribute,
  type AttributeName,
  type AttributeReference,
  attributeItem,
  attributes,
  attributeValue,
  type EnumerationText,
  type ObjectTypeName,
  objectItem,
  referenceOf,
  tags,
  vendorAttribute,
} from "@holdfast/kmip";
import { byteString, type Item, textString } from "@holdfast/ttlv";

/** An object that a test puts into the stand-in. */
export interface Told {
  readonly id?: string;
  readonly type?: "SymmetricKey" | "SecretData" | "OpaqueObject";
  readonly state?: EnumerationText<"State">;
  readonly names?: readonly string[];
  /** Its material in hex. */
  readonly hex: string;
  readonly algorithm?: EnumerationText<"CryptographicAlgorithm">;
  /** Values of custom attributes, `x-` left out. */
  readonly custom?: Readonly<Record<string, string>>;
  readonly extractable?: boolean;
  /** Identifiers of objects that it is linked to. */
  readonly links?: readonly string[];
  /** What it shows as its Digest, in hex. */
  readonly digest?: string;
}

/** An object of the stand-in. */
export interface Held {
  readonly id: string;
  readonly type: ObjectTypeName;
  readonly object: Item;
  items: Item[];
}

const started = 1_700_000_000;

/** The object that a test describes. */
export function heldOf(told: Told): Held {
  const { id = randomUUID(), type = "SymmetricKey", state = "Active" } = told;
  const bytes = Buffer.from(told.hex, "hex");
  const { algorithm = "AES" } = told;
  const length = 8 * bytes.length;
  const material = { keyMaterial: byteString(tags.KeyMaterial.tag, bytes) };
  const raw = { keyFormatType: "Raw", keyValue: material } as const;
  const objects = {
    SymmetricKey: () =>
      objectItem("SymmetricKey", {
        keyBlock: { ...raw, cryptographicAlgorithm: algorithm, cryptographicLength: length },
      }),
    SecretData: () => objectItem("SecretData", { secretDataType: "Password", keyBlock: raw }),
    OpaqueObject: () =>
      objectItem("OpaqueObject", { opaqueDataType: 0x80000001, opaqueDataValue: bytes }),
  };
  const name = (value: string) => attributeItem("Name", { value, type: "UninterpretedTextString" });
  const isKey = type === "SymmetricKey";
  const isStated = type !== "OpaqueObject";
  const items = [
    attributeItem("UniqueIdentifier", id),
    attributeItem("ObjectType", type),
    ...(isKey ? [attributeItem("CryptographicAlgorithm", algorithm)] : []),
    ...(isKey ? [attributeItem("CryptographicLength", length)] : []),
    ...(isStated ? [attributeItem("CryptographicUsageMask", 0x0c)] : []),
    ...(isStated ? [attributeItem("State", state)] : []),
    attributeItem("InitialDate", started),
    ...(isStated && state !== "PreActive" ? [attributeItem("ActivationDate", started + 60)] : []),
    ...(state === "Deactivated" ? [attributeItem("DeactivationDate", started + 600)] : []),
    ...(told.names ?? []).map(name),
    ...(told.links ?? []).map((linkedObjectIdentifier) =>
      attributeItem("Link", { type: "NextLink", linkedObjectIdentifier }),
    ),
    ...Object.entries(told.custom ?? {}).map(([key, value]) =>
      vendorAttribute("x", key, textString(tags.AttributeValue.tag, value)),
    ),
    ...(told.extractable === undefined ? [] : [attributeItem("Extractable", told.extractable)]),
    ...(told.digest === undefined
      ? []
      : [
          attributeItem("Digest", {
            hashingAlgorithm: "SHA_256",
            digestValue: Buffer.from(told.digest, "hex"),
            keyFormatType: "Raw",
          }),
        ]),
  ];
  return { id, type, object: objects[type](), items };
}

/** The object that a client registers or imports. */
export function heldFrom(
  id: string,
  type: ObjectTypeName,
  object: Item,
  given: readonly Item[],
): Held {
  const stated = given.filter(({ tag }) => tag !== attributes.State.tag);
  const state = attributeItem("State", "PreActive");
  const own = [attributeItem("UniqueIdentifier", id), attributeItem("ObjectType", type)];
  return { id, type, object, items: [...own, ...stated, state] };
}

/** Sets a single-valued attribute. */
export function set(held: Held, item: Item): void {
  held.items = [...held.items.filter(({ tag }) => tag !== item.tag), item];
}

/** The attributes that a request names, or all of them. */
export function shown(
  { items }: Held,
  references: readonly AttributeReference[],
): readonly Attribute[] {
  const isAsked = (item: Item) => {
    const { tag, key } = referenceOf(item);
    return references.some((one) => one.tag === tag && one.key === key);
  };
  return items.filter((item) => references.length === 0 || isAsked(item)).map((item) => ({ item }));
}

/** What the stand-in tells a test of an object. */
export function toldOf({ id, items, object }: Held) {
  const first = <N extends AttributeName>(name: N) => {
    const item = items.find(({ tag }) => tag === attributes[name].tag);
    return item === undefined ? undefined : attributeValue(name, item);
  };
  const names = items
    .filter(({ tag }) => tag === attributes.Name.tag)
    .map((item) => attributeValue("Name", item).value);
  return { id, state: first("State"), names, object: hexIn(object) };
}

/** Every byte string in an object, in hex. */
function hexIn(item: Item): string {
  if (Array.isArray(item.value)) return item.value.map(hexIn).join("");
  return item.value instanceof Uint8Array ? Buffer.from(item.value).toString("hex") : "";
}
