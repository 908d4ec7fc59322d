import type { Names } from "@holdfast/ttlv";
import { type EnumerationName, enumerations, type MaskName, masks } from "../schema/enums.ts";
import { isSecretTag, tagNameOf } from "../schema/tag-lookup.ts";
import { type TagName, tags } from "../schema/tags.ts";
import { valuesOf } from "../schema/value-type.ts";

/** Tags whose enumeration has a different name; all others share their enumeration's name. */
const renamed: Partial<Record<TagName, EnumerationName>> = {
  MaskGeneratorHashingAlgorithm: "HashingAlgorithm",
  ExtensionType: "ItemType",
  LinkedObjectIdentifier: "UniqueIdentifier",
  PrivateKeyUniqueIdentifier: "UniqueIdentifier",
  PublicKeyUniqueIdentifier: "UniqueIdentifier",
  ReplacedUniqueIdentifier: "UniqueIdentifier",
  CertificateRequestUniqueIdentifier: "UniqueIdentifier",
};

/** Tags whose enumeration values are tags themselves (KMIP 2.1, 5.5 and 11.56). */
const ofTags: ReadonlySet<number> = new Set([tags.AttributeReference.tag, tags.Tag.tag]);

/** Texts that peers and older documents use for a value of the tables. */
const aliases: Partial<Record<EnumerationName | MaskName, Readonly<Record<string, string>>>> = {
  SplitKeyMethod: {
    PolynomialSharingGF216: "PolynomialSharingGF2_16",
    PolynomialSharingGF28: "PolynomialSharingGF2_8",
  },
  ResultReason: { NotAuthorized: "NotAuthorised" },
  MaskGenerator: { MFG1: "MGF1" },
  CryptographicUsageMask: { ContentCommitmentNonRepudiation: "ContentCommitment" },
};

interface Texts {
  readonly byText: ReadonlyMap<string, number>;
  readonly byNumber: ReadonlyMap<number, string>;
}

function textsOf(name: EnumerationName | MaskName, values: ReadonlyMap<string, number>): Texts {
  const byText = new Map(values);
  for (const [alias, text] of Object.entries(aliases[name] ?? {})) {
    byText.set(alias, values.get(text) as number);
  }
  return { byText, byNumber: new Map([...values].map(([text, value]) => [value, text])) };
}

const enumerationTexts: ReadonlyMap<string, Texts> = new Map(
  Object.entries(enumerations).map(([name, rows]) => [
    name,
    textsOf(name as EnumerationName, valuesOf(rows)),
  ]),
);
const maskTexts: ReadonlyMap<string, Texts> = new Map(
  Object.entries(masks).map(([name, rows]) => [name, textsOf(name as MaskName, valuesOf(rows))]),
);

/** The enumeration of the values under this tag. */
export function enumerationOfTag(tag: number): EnumerationName | undefined {
  const name = tagNameOf(tag);
  if (name === undefined) return undefined;
  return renamed[name] ?? (name in enumerations ? (name as EnumerationName) : undefined);
}

/** The bit mask of the Integers under this tag. */
export function maskOfTag(tag: number): MaskName | undefined {
  const name = tagNameOf(tag);
  return name !== undefined && name in masks ? (name as MaskName) : undefined;
}

/** A State for people, as the KMIP specification prints it. */
export function stateText(state: string): string {
  return state === "PreActive" ? "Pre-Active" : state;
}

/** The text of an Enumeration's value under a tag, in the XML and JSON encodings. */
export function enumerationText(tag: number, value: number): string | undefined {
  if (ofTags.has(tag)) return tagNameOf(value);
  return enumerationTexts.get(enumerationOfTag(tag) ?? "")?.byNumber.get(value);
}

/** The value of an Enumeration's text under a tag; aliases included. */
export function enumerationValue(tag: number, text: string): number | undefined {
  if (ofTags.has(tag)) return Object.hasOwn(tags, text) ? tags[text as TagName].tag : undefined;
  return enumerationTexts.get(enumerationOfTag(tag) ?? "")?.byText.get(text);
}

/** The texts of a mask's bits under a tag, and the bits that have none. */
export function maskBits(tag: number, value: number): readonly (string | number)[] {
  const texts = maskTexts.get(maskOfTag(tag) ?? "");
  const bits: (string | number)[] = [];
  for (let bit = 1, at = 0; at < 32; at++, bit = (bit << 1) >>> 0) {
    if ((value & bit) >>> 0 !== 0) bits.push(texts?.byNumber.get(bit) ?? bit);
  }
  return bits;
}

/** The bit of a mask's text under a tag; aliases included. */
export function maskBit(tag: number, text: string): number | undefined {
  return maskTexts.get(maskOfTag(tag) ?? "")?.byText.get(text);
}

/** What `print` of `packages/ttlv` needs to show KMIP. */
export const names: Names = {
  tag: tagNameOf,
  enumeration: (tag, value) => {
    const text = enumerationText(tag, value);
    return text === undefined ? undefined : stateText(text);
  },
  secret: isSecretTag,
};
