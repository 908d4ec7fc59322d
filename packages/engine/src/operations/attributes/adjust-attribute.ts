import { attributes, KmipError, type Request } from "@holdfast/kmip";
import type { Item } from "@holdfast/ttlv";
import { adjusted, unset } from "../../attributes/adjustment.ts";
import { withAdded, withModified } from "../../attributes/attribute-change.ts";
import { requireAllowed } from "../../attributes/attribute-rules.ts";
import { attributeValues } from "../../attributes/attribute-view.ts";
import type { Handler } from "../../ports/operation-context.ts";
import { vendorItem, vendorOf } from "../../record/vendor-attribute.ts";

/** Increments, decrements or negates an attribute's one value (KMIP 2.1, 6.1.3). */
export const adjustAttribute: Handler<"AdjustAttribute"> = async (context, request) => {
  const { reference } = request;
  const { version } = context;
  const { uniqueIdentifier } = await context.objects.change(request.uniqueIdentifier, (object) => {
    const [only, ...others] = attributeValues(object, reference, version);
    requireAllowed(object, reference, only === undefined ? "add" : "modify", version);
    if (others.length > 0) {
      throw new KmipError("attributeMultiValued", "the attribute has several values");
    }
    const item = adjustedAttribute(only?.item ?? unset(reference.tag), request);
    return only === undefined
      ? withAdded(object, item, context).object
      : withModified(object, item, only.index ?? 0, context).object;
  });
  return { uniqueIdentifier };
};

/** The attribute after its adjustment; in a Vendor Attribute, the value that it holds is adjusted. */
function adjustedAttribute(item: Item, request: Request<"AdjustAttribute">): Item {
  const { adjustmentType, adjustmentValue } = request;
  const vendor = item.tag === attributes.VendorAttribute.tag ? vendorOf(item) : undefined;
  if (vendor === undefined) return adjusted(item, adjustmentType, adjustmentValue);
  const value = adjusted(vendor.value, adjustmentType, adjustmentValue);
  return vendorItem({ ...vendor, value });
}
