export {
  type Attribute,
  type AttributeReference,
  type AttributeSet,
  attributeItem,
  attributeValue,
  referenceOf,
  vendorAttribute,
  vendorKeyOf,
} from "./attribute.ts";
export {
  attributeByName,
  attributeByTag,
  attributeNameOf,
  attributeVisible,
} from "./attribute-lookup.ts";
export type { AttributeRow, ObjectTypeName } from "./attribute-row.ts";
export { type AttributeName, type AttributeValue, attributes } from "./attributes.ts";
export type { Credential } from "./credential.ts";
export { type EnumerationName, enumerations, type MaskName, masks } from "./enums.ts";
export { type Fault, faults, KmipError, type ResultReason, reasonOf } from "./faults.ts";
export { versionOfParts, versionParts } from "./header.ts";
export type { IdentifierReference } from "./identifier.ts";
export {
  checkKeyBlock,
  inKeyFormat,
  type KeyBlock,
  type KeyValue,
  plainKeyOf,
} from "./key-block.ts";
export type {
  ClientRequest,
  ClientRequestItem,
  MessageExtension,
  RequestHeader,
  RequestItem,
  RequestMessage,
  ResponseItem,
  ResponseMessage,
} from "./message.ts";
export {
  keyBlockOf,
  type ObjectValue,
  objectItem,
  objects,
  objectTag,
  objectTypeOf,
  objectTypesOf,
  objectValue,
  withKeyBlock,
} from "./objects.ts";
export {
  codeOf,
  type ImplementedOperation,
  type OperationName,
  type OperationRow,
  operationOfCode,
  operations,
  type Request,
  type Response,
} from "./operations.ts";
export { decodeRequest, encodeRequest } from "./request.ts";
export { decodeResponse, encodeResponse } from "./response.ts";
export { isKnownTag, isSecretTag, tagNameOf } from "./tag-lookup.ts";
export { type TagName, type TagRow, tags } from "./tags.ts";
export {
  enumerationOfTag,
  enumerationText,
  enumerationValue,
  maskBit,
  maskBits,
  maskOfTag,
  names,
  stateText,
} from "./value-names.ts";
export { type EnumerationText, type ValueType, valuesOf } from "./value-type.ts";
export { isVersion1, ordinal, type Version, versions, within } from "./version.ts";
export { XmlError } from "./xml-error.ts";
export { fromXml, type XmlLimits } from "./xml-read.ts";
export { toXml } from "./xml-write.ts";
