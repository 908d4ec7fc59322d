import { type Item, ItemType } from "@holdfast/ttlv";

/** The tags of a Vendor Attribute in its 2.x form (KMIP 2.1, 4.60). */
export const vendorTags = {
  VendorAttribute: 0x420008,
  VendorIdentification: 0x42009d,
  AttributeName: 0x42000a,
  AttributeValue: 0x42000b,
} as const;

/** A Vendor Attribute's register key and its value under the Attribute Value tag. */
export interface VendorValue {
  readonly key: string;
  readonly value: Item;
}

/** The register key of a Vendor Attribute: `vendorIdentification` NUL `attributeName`. */
export function vendorKey(vendorIdentification: string, attributeName: string): string {
  return `${vendorIdentification}\0${attributeName}`;
}

/** Key and value of a complete Vendor Attribute item; undefined for anything else. */
export function vendorOf(item: Item): VendorValue | undefined {
  if (item.type !== ItemType.Structure || item.tag !== vendorTags.VendorAttribute) return undefined;
  const [vendor, name, value, ...more] = item.value;
  if (!isText(vendor, vendorTags.VendorIdentification) || vendor.value.includes("\0")) {
    return undefined;
  }
  if (!isText(name, vendorTags.AttributeName)) return undefined;
  if (value?.tag !== vendorTags.AttributeValue || more.length > 0) return undefined;
  return { key: vendorKey(vendor.value, name.value), value };
}

function isText(
  item: Item | undefined,
  tag: number,
): item is Extract<Item, { type: typeof ItemType.TextString }> {
  return item?.tag === tag && item.type === ItemType.TextString;
}

/** The inverse of `vendorOf`. A key without NUL is only a Vendor Identification. */
export function vendorItem(vendor: VendorValue): Item {
  const [vendorIdentification, ...name] = vendor.key.split("\0");
  return {
    tag: vendorTags.VendorAttribute,
    type: ItemType.Structure,
    value: [
      {
        tag: vendorTags.VendorIdentification,
        type: ItemType.TextString,
        value: vendorIdentification ?? "",
      },
      { tag: vendorTags.AttributeName, type: ItemType.TextString, value: name.join("\0") },
      vendor.value,
    ],
  };
}
