import { tags } from "@holdfast/kmip";
import { ItemType } from "@holdfast/ttlv";
import type { ManagedObject } from "./record.ts";

/** An object's Initial Date (KMIP 2.1, 4.24), seconds. */
export function initialDate({ fixed }: Pick<ManagedObject, "fixed">): number | undefined {
  const item = fixed.find(({ tag }) => tag === tags.InitialDate.tag);
  return item?.type === ItemType.DateTime ? Number(item.value) : undefined;
}
