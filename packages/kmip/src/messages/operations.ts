import type { Item } from "@holdfast/ttlv";
import type { Attribute, AttributeReference, AttributeSet } from "../attributes/attribute.ts";
import {
  askedName1,
  askedReference2,
  attribute1,
  attributeFilter1,
  attributeFilters2,
  attributeName1,
  attributeReference2,
  attributes2,
  newAttributes1,
  newAttributes2,
  oneAttribute2,
  templateAttribute,
} from "../attributes/attribute-forms.ts";
import type { ObjectTypeName } from "../attributes/attribute-row.ts";
import type { OperationErrors } from "../schema/faults.ts";
import { identifierReference } from "../schema/identifier.ts";
import {
  byVersion,
  type Field,
  type Fields,
  type Infer,
  many,
  optional,
  required,
  type Span,
  some,
  struct,
} from "../schema/schema.ts";
import {
  capabilityInformation,
  extensionInformation,
  keyWrappingSpecification,
  objectGroups,
  profileInformation,
  protectionStorageMasks,
  protocolVersion,
  revocationReason,
  rngParameters,
  serverInformation,
  validationInformation,
} from "../schema/structures.ts";
import {
  type AnyValueType,
  anyItem,
  dateTime,
  enumeration,
  integer,
  interval,
  longInteger,
  mask,
  openEnumeration,
  text,
} from "../schema/value-type.ts";
import type { Version } from "../schema/version.ts";
import { objectForm } from "./objects.ts";

/** What server and client must know about an operation in addition to its payloads. */
interface OperationFacts {
  /** It may change something, so it must not be carried out if its answer cannot be sent. */
  readonly changes: boolean;
  /** False if a client must not repeat it after a lost answer, although it changes nothing. */
  readonly repeatable?: false;
  /** The action of its audit event; none if there is nothing to report. */
  readonly audit?: string;
  /** It needs no Credential even if the instance has users (KMIP 2.1, 9.4). */
  readonly open?: true;
  /**
   * The ID Placeholder becomes the answer's identifier (`answered`), or what the handler sets
   * (`own`). If the operation fails, it is cleared: later items must not use an older object.
   */
  readonly placeholder?: "answered" | "own";
  /** The reasons in the operation's own error table that differ from the fault's row. */
  readonly errors?: OperationErrors;
}

/** An operation's row. One without `request` is not implemented: Operation Not Supported. */
export interface OperationRow extends Partial<OperationFacts> {
  readonly code: number;
  readonly since: Version;
  readonly until?: Version;
  readonly request?: AnyValueType;
  readonly response?: AnyValueType;
}

function operation<
  Request extends Fields,
  Response extends Fields,
  const Action extends string = never,
>(
  name: string,
  row: OperationFacts & {
    code: number;
    since: Version;
    audit?: Action;
    request: Request;
    response: Response;
  },
) {
  return {
    ...row,
    request: struct(`${name} request payload`, row.request),
    response: struct(`${name} response payload`, row.response),
  };
}

/** 2.0 does not list Wrong Key Lifecycle State for changes of attributes (KMIP 2.0, 6.1; added in 2.1). */
const notYetInTable = { wrongLifecycleState: { v20: "PermissionDenied" } } as const;
/** 1.x Create and Register answer any wrong attribute with Invalid Field (KMIP 1.4, 11.2, 11.4). */
const incorrectAttribute = {
  invalidObjectType: { v1: "InvalidField" },
  attributeReadOnly: { v1: "InvalidField" },
  attributeSingleValued: { v1: "InvalidField" },
  nonUniqueName: { v1: "InvalidField" },
} as const;

/**
 * A destroyed object is in one of the states that do not permit the operation (KMIP 1.4, 11.20 and 11.21; KMIP 2.1, 6.1.1
 * and 6.1.44).
 */
const destroyedState = {
  objectDestroyed: { v1: "PermissionDenied", v2: "WrongKeyLifecycleState" },
} as const;

const known = (code: number, since: Version): OperationRow => ({ code, since });

const v1 = { until: "1.4" } as const;
const v2 = { since: "2.0" } as const;

const identifierAsked = optional("UniqueIdentifier", identifierReference);
const identifierGiven = required("UniqueIdentifier", text);
const objectType = enumeration("ObjectType");

/** Attributes of a new object: 1.x Template-Attribute, 2.x Attributes. */
const newAttributes: Field<AttributeSet, "required"> = byVersion(
  "required",
  { tag: "TemplateAttribute", type: newAttributes1, ...v1 },
  { tag: "Attributes", type: newAttributes2, ...v2 },
);

/** A list of attributes: 1.x Attribute items, 2.x one Attributes structure. */
const attributeList = byVersion<readonly Attribute[], "required">(
  "required",
  { tag: "Attribute", type: attribute1, many: true, ...v1 },
  { tag: "Attributes", type: attributes2, ...v2 },
);

/** What to search for: the same, but its structures may be incomplete. */
const attributeFilters = byVersion<readonly Attribute[], "optional">(
  "optional",
  { tag: "Attribute", type: attributeFilter1, many: true, ...v1 },
  { tag: "Attributes", type: attributeFilters2, ...v2 },
);

/** Which attributes to return: 1.x Attribute Name items, 2.x Attribute Reference items. */
const askedReferences = byVersion<readonly AttributeReference[], "required">(
  "required",
  { tag: "AttributeName", type: askedName1, many: true, ...v1 },
  { tag: "AttributeReference", type: askedReference2, many: true, ...v2 },
);

/** The same in an answer, which leaves out what the version cannot express. */
const attributeReferences = byVersion<readonly AttributeReference[], "required">(
  "required",
  { tag: "AttributeName", type: attributeName1, many: true, ...v1 },
  { tag: "AttributeReference", type: attributeReference2, many: true, ...v2 },
);

const newAttribute = byVersion<Attribute, "required">(
  "required",
  { tag: "Attribute", type: attribute1, ...v1 },
  { tag: "NewAttribute", type: oneAttribute2, ...v2 },
);

/** 1.x returns the attribute, 2.x only the identifier. */
const attributeAnswer = {
  uniqueIdentifier: identifierGiven,
  attribute: optional("Attribute", attribute1, v1),
};
const identifierAnswer = { uniqueIdentifier: identifierGiven };

const object = (tag: ObjectTypeName, span: Span = {}) => ({ tag, type: objectForm(tag), ...span });

/** The managed object itself, under the tag of its type (KMIP 2.1, 2). */
const managedObject = byVersion<Item, "optional">(
  "optional",
  object("Certificate"),
  object("CertificateRequest", v2),
  object("OpaqueObject"),
  object("PGPKey", { since: "1.2" }),
  object("PrivateKey"),
  object("PublicKey"),
  object("SecretData"),
  object("SplitKey"),
  object("SymmetricKey"),
  object("Template", v1),
);

/** All operations of KMIP 1.0 to 2.1 (KMIP 2.1, 6.1 and 11.37). */
export const operations = {
  Create: operation("Create", {
    code: 0x01,
    since: "1.0",
    changes: true,
    audit: "kmip-key.create",
    placeholder: "answered",
    errors: incorrectAttribute,
    request: {
      objectType: required("ObjectType", objectType),
      attributes: newAttributes,
      protectionStorageMasks: optional("ProtectionStorageMasks", protectionStorageMasks),
    },
    response: {
      objectType: required("ObjectType", objectType),
      uniqueIdentifier: identifierGiven,
      attributes: optional("TemplateAttribute", templateAttribute, v1),
    },
  }),
  CreateKeyPair: known(0x02, "1.0"),
  Register: operation("Register", {
    code: 0x03,
    since: "1.0",
    changes: true,
    audit: "kmip-key.register",
    placeholder: "answered",
    errors: incorrectAttribute,
    request: {
      objectType: required("ObjectType", objectType),
      attributes: newAttributes,
      object: managedObject,
      protectionStorageMasks: optional("ProtectionStorageMasks", protectionStorageMasks),
    },
    response: {
      uniqueIdentifier: identifierGiven,
      attributes: optional("TemplateAttribute", templateAttribute, v1),
    },
  }),
  ReKey: known(0x04, "1.0"),
  DeriveKey: known(0x05, "1.0"),
  Certify: known(0x06, "1.0"),
  ReCertify: known(0x07, "1.0"),
  Locate: operation("Locate", {
    code: 0x08,
    since: "1.0",
    changes: false,
    placeholder: "own",
    errors: { templateNotFound: { v1: "InvalidField" } },
    request: {
      maximumItems: optional("MaximumItems", integer),
      offsetItems: optional("OffsetItems", integer, { since: "1.3" }),
      storageStatusMask: optional("StorageStatusMask", mask("StorageStatusMask")),
      objectGroupMember: optional("ObjectGroupMember", enumeration("ObjectGroupMember"), {
        since: "1.1",
      }),
      attributes: attributeFilters,
    },
    response: {
      locatedItems: optional("LocatedItems", integer, { since: "1.3" }),
      uniqueIdentifiers: many("UniqueIdentifier", text),
    },
  }),
  Check: operation("Check", {
    code: 0x09,
    since: "1.0",
    changes: false,
    errors: { invalidObjectType: { v2: "IllegalObjectType" } },
    request: {
      uniqueIdentifier: identifierAsked,
      usageLimitsCount: optional("UsageLimitsCount", longInteger),
      cryptographicUsageMask: optional("CryptographicUsageMask", mask("CryptographicUsageMask")),
      leaseTime: optional("LeaseTime", interval),
    },
    response: {
      /** Absent if this use of the object is not allowed. */
      uniqueIdentifier: optional("UniqueIdentifier", text),
      usageLimitsCount: optional("UsageLimitsCount", longInteger),
      cryptographicUsageMask: optional("CryptographicUsageMask", mask("CryptographicUsageMask")),
      leaseTime: optional("LeaseTime", interval),
    },
  }),
  Get: operation("Get", {
    code: 0x0a,
    since: "1.0",
    changes: false,
    audit: "kmip-key.read",
    errors: {
      badCryptographicParameters: { v1: "ItemNotFound" },
      keyValueNotPresent: { v1: "IllegalOperation" },
    },
    request: {
      uniqueIdentifier: identifierAsked,
      keyFormatType: optional("KeyFormatType", enumeration("KeyFormatType")),
      keyWrapType: optional("KeyWrapType", enumeration("KeyWrapType"), { since: "1.4" }),
      keyCompressionType: optional("KeyCompressionType", enumeration("KeyCompressionType")),
      keyWrappingSpecification: optional("KeyWrappingSpecification", keyWrappingSpecification),
    },
    response: {
      objectType: required("ObjectType", objectType),
      uniqueIdentifier: identifierGiven,
      object: managedObject,
    },
  }),
  GetAttributes: operation("Get Attributes", {
    code: 0x0b,
    since: "1.0",
    changes: false,
    audit: "kmip-key-attributes.retrieve",
    request: { uniqueIdentifier: identifierAsked, references: askedReferences },
    response: { uniqueIdentifier: identifierGiven, attributes: attributeList },
  }),
  GetAttributeList: operation("Get Attribute List", {
    code: 0x0c,
    since: "1.0",
    changes: false,
    audit: "kmip-key-attributes.retrieve",
    request: { uniqueIdentifier: identifierAsked },
    response: { uniqueIdentifier: identifierGiven, references: attributeReferences },
  }),
  AddAttribute: operation("Add Attribute", {
    code: 0x0d,
    since: "1.0",
    changes: true,
    audit: "kmip-key-attributes.update",
    errors: {
      ...notYetInTable,
      attributeReadOnly: { v2: "ReadOnlyAttribute" },
      invalidAttribute: { v1: "PermissionDenied" },
      invalidAttributeValue: { v2: "InvalidField" },
    },
    request: { uniqueIdentifier: identifierAsked, newAttribute },
    response: attributeAnswer,
  }),
  ModifyAttribute: operation("Modify Attribute", {
    code: 0x0e,
    since: "1.0",
    changes: true,
    audit: "kmip-key-attributes.update",
    errors: {
      ...notYetInTable,
      attributeNotFound: { v1: "InvalidField" },
      invalidAttribute: { v2: "AttributeNotFound" },
      invalidAttributeValue: { v2: "InvalidField" },
    },
    request: {
      uniqueIdentifier: identifierAsked,
      currentAttribute: optional("CurrentAttribute", oneAttribute2, v2),
      newAttribute,
    },
    response: attributeAnswer,
  }),
  DeleteAttribute: operation("Delete Attribute", {
    code: 0x0f,
    since: "1.0",
    changes: true,
    audit: "kmip-key-attributes.delete",
    errors: notYetInTable,
    request: {
      uniqueIdentifier: identifierAsked,
      currentAttribute: optional("CurrentAttribute", oneAttribute2, v2),
      reference: byVersion<AttributeReference, "optional">(
        "optional",
        { tag: "AttributeName", type: askedName1, required: true, ...v1 },
        { tag: "AttributeReference", type: askedReference2, ...v2 },
      ),
      attributeIndex: optional("AttributeIndex", integer, v1),
    },
    response: attributeAnswer,
  }),
  ObtainLease: known(0x10, "1.0"),
  GetUsageAllocation: known(0x11, "1.0"),
  Activate: operation("Activate", {
    code: 0x12,
    since: "1.0",
    changes: true,
    audit: "kmip-key.activate",
    errors: destroyedState,
    request: { uniqueIdentifier: identifierAsked },
    response: identifierAnswer,
  }),
  Revoke: operation("Revoke", {
    code: 0x13,
    since: "1.0",
    changes: true,
    audit: "kmip-key.revoke",
    errors: destroyedState,
    request: {
      uniqueIdentifier: identifierAsked,
      revocationReason: required("RevocationReason", revocationReason),
      compromiseOccurrenceDate: optional("CompromiseOccurrenceDate", dateTime),
    },
    response: identifierAnswer,
  }),
  Destroy: operation("Destroy", {
    code: 0x14,
    since: "1.0",
    changes: true,
    audit: "kmip-key.destroy",
    // KMIP 1.4, 11.22.
    errors: { objectDestroyed: { v1: "PermissionDenied" } },
    request: { uniqueIdentifier: identifierAsked },
    response: identifierAnswer,
  }),
  Archive: known(0x15, "1.0"),
  Recover: known(0x16, "1.0"),
  Validate: known(0x17, "1.0"),
  Query: operation("Query", {
    code: 0x18,
    since: "1.0",
    changes: false,
    open: true,
    request: {
      // Each function is a separate question: one that the version does not know has no answer.
      queryFunctions: some("QueryFunction", openEnumeration("QueryFunction")),
      objectGroups: optional("ObjectGroups", objectGroups),
    },
    response: {
      operations: many("Operation", enumeration("Operation")),
      objectTypes: many("ObjectType", objectType),
      vendorIdentification: optional("VendorIdentification", text),
      serverInformation: optional("ServerInformation", serverInformation),
      applicationNamespaces: many("ApplicationNamespace", text),
      extensions: many("ExtensionInformation", extensionInformation, { since: "1.1" }),
      attestationTypes: many("AttestationType", enumeration("AttestationType"), { since: "1.2" }),
      rngParameters: many("RNGParameters", rngParameters, { since: "1.3" }),
      profiles: many("ProfileInformation", profileInformation, { since: "1.3" }),
      validations: many("ValidationInformation", validationInformation, { since: "1.3" }),
      capabilities: many("CapabilityInformation", capabilityInformation, { since: "1.3" }),
      clientRegistrationMethods: many(
        "ClientRegistrationMethod",
        enumeration("ClientRegistrationMethod"),
        { since: "1.3" },
      ),
      defaultsInformation: optional("DefaultsInformation", anyItem),
      protectionStorageMasks: optional("ProtectionStorageMasks", protectionStorageMasks),
    },
  }),
  Cancel: known(0x19, "1.0"),
  Poll: known(0x1a, "1.0"),
  Notify: known(0x1b, "1.0"),
  Put: known(0x1c, "1.0"),
  ReKeyKeyPair: known(0x1d, "1.1"),
  DiscoverVersions: operation("Discover Versions", {
    code: 0x1e,
    since: "1.1",
    changes: false,
    open: true,
    request: { versions: many("ProtocolVersion", protocolVersion) },
    response: { versions: many("ProtocolVersion", protocolVersion) },
  }),
  Encrypt: known(0x1f, "1.2"),
  Decrypt: known(0x20, "1.2"),
  Sign: known(0x21, "1.2"),
  SignatureVerify: known(0x22, "1.2"),
  MAC: known(0x23, "1.2"),
  MACVerify: known(0x24, "1.2"),
  RNGRetrieve: known(0x25, "1.2"),
  RNGSeed: known(0x26, "1.2"),
  Hash: known(0x27, "1.2"),
  CreateSplitKey: known(0x28, "1.2"),
  JoinSplitKey: known(0x29, "1.2"),
  Import: known(0x2a, "1.4"),
  Export: known(0x2b, "1.4"),
  Log: operation("Log", {
    code: 0x2c,
    since: "2.0",
    changes: true,
    audit: "kmip-log.create",
    request: { logMessage: required("LogMessage", text) },
    response: {},
  }),
  Login: known(0x2d, "2.0"),
  Logout: known(0x2e, "2.0"),
  DelegatedLogin: known(0x2f, "2.0"),
  AdjustAttribute: operation("Adjust Attribute", {
    code: 0x30,
    since: "2.0",
    changes: true,
    audit: "kmip-key-attributes.update",
    errors: {
      ...notYetInTable,
      objectNotFound: { v2: "ItemNotFound" },
      attributeReadOnly: { v2: "ReadOnlyAttribute" },
      invalidAttribute: { v2: "UnsupportedAttribute" },
      invalidAttributeValue: { v2: "InvalidField" },
    },
    request: {
      uniqueIdentifier: identifierAsked,
      reference: required("AttributeReference", askedReference2),
      adjustmentType: required("AdjustmentType", enumeration("AdjustmentType")),
      adjustmentValue: optional("AdjustmentValue", anyItem),
    },
    response: identifierAnswer,
  }),
  SetAttribute: operation("Set Attribute", {
    code: 0x31,
    since: "2.0",
    changes: true,
    audit: "kmip-key-attributes.update",
    errors: {
      ...notYetInTable,
      attributeReadOnly: { v2: "ReadOnlyAttribute" },
      invalidAttribute: { v2: "InvalidField" },
    },
    request: { uniqueIdentifier: identifierAsked, newAttribute },
    response: identifierAnswer,
  }),
  SetEndpointRole: known(0x32, "2.0"),
  PKCS_11: known(0x33, "2.0"),
  Interop: operation("Interop", {
    code: 0x34,
    since: "2.0",
    changes: false,
    repeatable: false,
    request: {
      interopFunction: required("InteropFunction", enumeration("InteropFunction")),
      interopIdentifier: required("InteropIdentifier", text),
    },
    response: {},
  }),
  ReProvision: known(0x35, "2.0"),
  SetDefaults: known(0x36, "2.1"),
  SetConstraints: known(0x37, "2.1"),
  GetConstraints: known(0x38, "2.1"),
  QueryAsynchronousRequests: known(0x39, "2.1"),
  Process: known(0x3a, "2.1"),
  Ping: known(0x3b, "2.1"),
} as const;

export type OperationName = keyof typeof operations;

/** Operations with a request and a response: the engine must handle these. */
export type ImplementedOperation = {
  [N in OperationName]: (typeof operations)[N] extends { request: { fields: Fields } } ? N : never;
}[OperationName];

/** The actions of the operations' audit events. */
export type OperationAction = NonNullable<(typeof operations)[ImplementedOperation]["audit"]>;

type FieldsOf<T> = T extends { fields: infer F extends Fields } ? F : never;
export type Request<N extends ImplementedOperation> = Infer<
  FieldsOf<(typeof operations)[N]["request"]>
>;
export type Response<N extends ImplementedOperation> = Infer<
  FieldsOf<(typeof operations)[N]["response"]>
>;

const byCode: ReadonlyMap<number, OperationName> = new Map(
  (Object.keys(operations) as OperationName[]).map((name) => [operations[name].code, name]),
);

/** The row of an operation by its name; undefined for a name that no version has. */
export function operationRow(name: string | undefined): OperationRow | undefined {
  return name !== undefined && Object.hasOwn(operations, name)
    ? operations[name as OperationName]
    : undefined;
}

/** The operation with a code, in any version; undefined for a code that no version has. */
export function operationOfCode(code: number): OperationName | undefined {
  return byCode.get(code);
}

/** An operation's value in the Operation enumeration. */
export function operationCodeOf(operation: OperationName): number {
  return operations[operation].code;
}
