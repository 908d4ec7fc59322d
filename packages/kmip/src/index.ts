export {
  type Attribute,
  type AttributeReference,
  type AttributeSet,
  attributeItem,
  attributeValue,
  inVersion,
  referenceOf,
  vendorAttribute,
  vendorKeyOf,
} from "./attributes/attribute.ts";
export {
  attributeByName,
  attributeByTag,
  attributeNameOf,
  attributeVisible,
} from "./attributes/attribute-lookup.ts";
export type { AttributeRow, ObjectTypeName } from "./attributes/attribute-row.ts";
export { type AttributeName, type AttributeValue, attributes } from "./attributes/attributes.ts";
export type { Credential } from "./messages/credential.ts";
export { versionOfParts, versionParts } from "./messages/header.ts";
export {
  checkKeyBlock,
  inKeyFormat,
  type KeyBlock,
  type KeyValue,
  plainKeyOf,
} from "./messages/key-block.ts";
export type {
  ClientRequest,
  ClientRequestItem,
  MessageExtension,
  RequestHeader,
  RequestItem,
  RequestMessage,
  ResponseItem,
  ResponseMessage,
} from "./messages/message.ts";
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
} from "./messages/objects.ts";
export {
  type ImplementedOperation,
  type OperationAction,
  type OperationName,
  type OperationRow,
  operationCodeOf,
  operationOfCode,
  operationRow,
  operations,
  type Request,
  type Response,
} from "./messages/operations.ts";
export { decodeRequest, encodeRequest } from "./messages/request.ts";
export { decodeResponse, encodeResponse } from "./messages/response.ts";
export { type EnumerationName, enumerations, type MaskName, masks } from "./schema/enums.ts";
export {
  type Fault,
  faults,
  KmipError,
  type ResultReason,
  resultReasonOf,
} from "./schema/faults.ts";
export type { IdentifierReference } from "./schema/identifier.ts";
export { isKnownTag, isSecretTag, tagNameOf } from "./schema/tag-lookup.ts";
export { type TagName, type TagRow, tags } from "./schema/tags.ts";
export { type EnumerationText, type ValueType, valuesOf } from "./schema/value-type.ts";
export { isVersion1, ordinal, type Version, versions, within } from "./schema/version.ts";
export {
  enumerationOfTag,
  enumerationText,
  enumerationValue,
  maskBit,
  maskBits,
  maskOfTag,
  names,
  stateText,
} from "./xml/value-names.ts";
export { XmlError } from "./xml/xml-error.ts";
export { fromXml, type XmlLimits } from "./xml/xml-read.ts";
export { toXml } from "./xml/xml-write.ts";
