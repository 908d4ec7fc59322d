export type { Attribute, AttributeReference, AttributeSet } from "./attribute.ts";
export { type EnumerationName, enumerations, type MaskName, masks } from "./enums.ts";
export { type Fault, faults, KmipError, reasonOf } from "./faults.ts";
export type { IdentifierReference } from "./identifier.ts";
export {
  type ImplementedOperation,
  type OperationName,
  type OperationRow,
  operations,
  type Request,
  type Response,
} from "./operations.ts";
export { type TagName, type TagRow, tags } from "./tags.ts";
export { type EnumerationText, type ValueType, valuesOf } from "./value-type.ts";
export { isVersion1, ordinal, type Version, versions, within } from "./version.ts";
