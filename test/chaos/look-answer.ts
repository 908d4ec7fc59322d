import { createHash } from "node:crypto";
import { attributeItem, objectItem, tags } from "@holdfast/kmip";
import { byteString } from "@holdfast/ttlv";

const material = createHash("sha256").update("key").digest();

/** What a server in memory shows of an object. */
export interface Shown {
  readonly state: "PreActive" | "Active" | "Destroyed";
  readonly groups: Iterable<string>;
  readonly note: string | undefined;
}

/** The answer of a server in memory to one of the two requests of a look. */
export function lookAnswer(operation: string, { state, groups, note }: Shown) {
  if (operation === "Get" && state === "Destroyed") {
    return { status: "OperationFailed", reason: "ItemNotFound", operation } as const;
  }
  const success = { status: "Success", operation } as const;
  if (operation === "Get") {
    const keyValue = { keyMaterial: byteString(tags.KeyMaterial.tag, material) };
    const keyBlock = { keyFormatType: "Raw", keyValue } as const;
    return { ...success, payload: { object: objectItem("SymmetricKey", { keyBlock }) } };
  }
  const items = [
    attributeItem("State", state),
    ...[...groups].map((group) => attributeItem("ObjectGroup", group)),
    ...(note === undefined ? [] : [attributeItem("ContactInformation", note)]),
  ];
  return { ...success, payload: { attributes: items.map((item) => ({ item })) } };
}
