import {
  type AttributeName,
  type AttributeSet,
  type AttributeValue,
  attributeItem,
} from "@holdfast/kmip";

/** Attributes of a request by name, for tests. */
export function attributeSet(
  given: {
    readonly [N in AttributeName]?: AttributeValue<N>;
  },
): AttributeSet {
  const attributes = Object.entries(given).map(([name, value]) => ({
    item: attributeItem(name as "Name", value as AttributeValue<"Name">),
  }));
  return { attributes, templateNames: [] };
}

/** An AES-256 key for Encrypt and Decrypt, with the given attributes. */
export function aesKey(given: Parameters<typeof attributeSet>[0] = {}) {
  const attributes = attributeSet({
    CryptographicAlgorithm: "AES",
    CryptographicLength: 256,
    CryptographicUsageMask: 0x0c,
    ...given,
  });
  return { objectType: "SymmetricKey", attributes } as const;
}

/** A Name. */
export function named(value: string): AttributeValue<"Name"> {
  return { value, type: "UninterpretedTextString" };
}
