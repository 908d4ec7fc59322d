import type { Item } from "@holdfast/ttlv";
import { attribute1 } from "../attributes/attribute-forms.ts";
import type { ObjectTypeName } from "../attributes/attribute-row.ts";
import { opaqueDataType } from "../attributes/attribute-structures.ts";
import { enumerations, type ValueRow } from "../schema/enums.ts";
import { KmipError } from "../schema/faults.ts";
import { type Infer, optional, required, some, struct } from "../schema/schema.ts";
import { type TagName, tags } from "../schema/tags.ts";
import {
  type AnyValueType,
  bigInteger,
  bytes,
  enumeration,
  integer,
  type ValueType,
} from "../schema/value-type.ts";
import { atRest, type Version, within } from "../schema/version.ts";
import { checkKeyBlock, type KeyBlock, keyBlock } from "./key-block.ts";

const block = required("KeyBlock", keyBlock);
const key = (name: string) => struct(name, { keyBlock: block });

/** All managed objects of KMIP 1.0 to 2.1, each with its own tag (KMIP 2.1, 2; KMIP 1.4, 2.2). */
export const objects = {
  Certificate: struct("Certificate", {
    certificateType: required("CertificateType", enumeration("CertificateType")),
    certificateValue: required("CertificateValue", bytes),
  }),
  SymmetricKey: key("Symmetric Key"),
  PublicKey: key("Public Key"),
  PrivateKey: key("Private Key"),
  SplitKey: struct("Split Key", {
    splitKeyParts: required("SplitKeyParts", integer),
    keyPartIdentifier: required("KeyPartIdentifier", integer),
    splitKeyThreshold: required("SplitKeyThreshold", integer),
    splitKeyMethod: required("SplitKeyMethod", enumeration("SplitKeyMethod")),
    primeFieldSize: optional("PrimeFieldSize", bigInteger),
    keyBlock: block,
  }),
  Template: struct("Template", { attributes: some("Attribute", attribute1) }),
  SecretData: struct("Secret Data", {
    secretDataType: required("SecretDataType", enumeration("SecretDataType")),
    keyBlock: block,
  }),
  OpaqueObject: struct("Opaque Object", {
    opaqueDataType: required("OpaqueDataType", opaqueDataType),
    opaqueDataValue: required("OpaqueDataValue", bytes),
  }),
  PGPKey: struct("PGP Key", {
    pgpKeyVersion: required("PGPKeyVersion", integer),
    keyBlock: block,
  }),
  CertificateRequest: struct("Certificate Request", {
    certificateRequestType: required(
      "CertificateRequestType",
      enumeration("CertificateRequestType"),
    ),
    certificateRequestValue: required("CertificateRequestValue", bytes),
  }),
} as const satisfies Record<ObjectTypeName & TagName, AnyValueType>;

type ObjectFields<N extends ObjectTypeName> = (typeof objects)[N]["fields"];
/** The fields of a managed object. */
export type ObjectValue<N extends ObjectTypeName> = Infer<ObjectFields<N>>;

const typesByTag: ReadonlyMap<number, ObjectTypeName> = new Map(
  (Object.keys(objects) as ObjectTypeName[]).map((type) => [tags[type].tag, type]),
);

/** The tag of an object of a type. */
export function objectTag(type: ObjectTypeName): number {
  return tags[type].tag;
}

/** The type of a managed object's item, by its tag. */
export function objectTypeOf(item: Item): ObjectTypeName | undefined {
  return typesByTag.get(item.tag);
}

/** The object types of a version, in the order of their values. */
export function objectTypesOf(version: Version): readonly ObjectTypeName[] {
  return (Object.keys(enumerations.ObjectType) as ObjectTypeName[]).filter((type) => {
    const row: ValueRow = enumerations.ObjectType[type];
    return typeof row === "number" || within(version, row.since, row.until);
  });
}

/** A managed object in its stored form, from its fields. */
export function objectItem<N extends ObjectTypeName>(type: N, value: ObjectValue<N>): Item {
  const item = (objects[type] as AnyValueType).encode(objectTag(type), value, atRest);
  if (item === undefined) throw new KmipError("generalFailure", `${type} does not encode`);
  return item;
}

/** The fields of a managed object in its stored form. */
export function objectValue<N extends ObjectTypeName>(type: N, item: Item): ObjectValue<N> {
  return (objects[type] as AnyValueType).decode(item, atRest);
}

/** The Key Block of a managed object in its stored form; undefined for types that have none. */
export function keyBlockOf(item: Item): KeyBlock | undefined {
  const type = objectTypeOf(item);
  if (type === undefined) return undefined;
  return (objects[type] as AnyValueType).decode(item, atRest).keyBlock;
}

/** The object with another Key Block. */
export function withKeyBlock(item: Item, changed: KeyBlock): Item {
  const type = objectTypeOf(item);
  if (type === undefined) return item;
  const value = (objects[type] as AnyValueType).decode(item, atRest);
  return objectItem(type, { ...value, keyBlock: changed });
}

/**
 * A managed object on the wire. Decoding checks its structure by type and version, and returns its
 * stored form, the same for every version. Encoding fails if the version cannot express it.
 */
export function objectForm(type: ObjectTypeName): ValueType<Item> {
  const row: AnyValueType = objects[type];
  const tag = objectTag(type);
  return {
    itemType: row.itemType,
    decode: (item, version) => {
      const value = row.decode(item, version);
      if (value.keyBlock !== undefined) checkKeyBlock(value.keyBlock, version);
      return row.encode(tag, value, atRest) ?? item;
    },
    encode: (wanted, item, version) => {
      if (item.tag !== wanted) return undefined;
      const value = row.decode(item, atRest);
      try {
        return row.encode(tag, value, version);
      } catch (cause) {
        if (!(cause instanceof KmipError)) throw cause;
        throw new KmipError(
          "keyFormatTypeNotSupported",
          `KMIP ${version} cannot express what this object is; use a newer version`,
          { cause },
        );
      }
    },
  };
}
