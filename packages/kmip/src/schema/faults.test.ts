import { describe, expect, test } from "vitest";
import { operationRow, operations } from "../messages/operations.ts";
import { enumerations, type ValueRow } from "./enums.ts";
import { type Fault, faults, resultReasonOf } from "./faults.ts";
import { type Version, versions, within } from "./version.ts";

type Operation = keyof typeof operations;
const operationNames = Object.keys(operations) as Operation[];
const errorsOf = (operation: Operation | undefined) => operationRow(operation)?.errors;

describe("resultReasonOf", () => {
  test("returns a reason that the version has, for every fault, operation and version", () => {
    for (const fault of Object.keys(faults) as Fault[]) {
      for (const version of versions) {
        for (const operation of [undefined, ...operationNames]) {
          const reason = resultReasonOf(fault, version, errorsOf(operation));
          const row: ValueRow = enumerations.ResultReason[reason];
          const has = typeof row === "number" || within(version, row.since, row.until);
          expect(has, `${reason} for ${fault} in ${version}`).toBe(true);
        }
      }
    }
  });

  const rows: readonly [Fault, Operation | undefined, Version, string][] = [
    ["objectNotFound", "Get", "1.0", "ItemNotFound"],
    ["objectNotFound", "Get", "2.1", "ObjectNotFound"],
    ["objectNotFound", "AdjustAttribute", "2.1", "ItemNotFound"],
    ["objectDestroyed", "Get", "1.4", "ItemNotFound"],
    ["objectDestroyed", "Get", "2.1", "ObjectDestroyed"],
    ["objectDestroyed", "Destroy", "1.1", "PermissionDenied"],
    ["objectDestroyed", "Activate", "1.4", "PermissionDenied"],
    ["objectDestroyed", "Revoke", "1.0", "PermissionDenied"],
    ["objectDestroyed", "Activate", "2.0", "WrongKeyLifecycleState"],
    ["objectDestroyed", "Revoke", "2.1", "WrongKeyLifecycleState"],
    ["objectDestroyed", "Destroy", "2.0", "ObjectDestroyed"],
    ["wrongLifecycleState", "Destroy", "1.4", "PermissionDenied"],
    ["wrongLifecycleState", "Destroy", "2.0", "WrongKeyLifecycleState"],
    ["wrongLifecycleState", "ModifyAttribute", "2.0", "PermissionDenied"],
    ["wrongLifecycleState", "ModifyAttribute", "2.1", "WrongKeyLifecycleState"],
    ["unknownTag", undefined, "1.1", "InvalidField"],
    ["unknownTag", undefined, "2.0", "UnknownTag"],
    ["unsupportedProtocolVersion", undefined, "1.0", "InvalidMessage"],
    ["unsupportedProtocolVersion", undefined, "2.1", "UnsupportedProtocolVersion"],
    ["attributeReadOnly", "ModifyAttribute", "2.1", "AttributeReadOnly"],
    ["attributeReadOnly", "AddAttribute", "2.1", "ReadOnlyAttribute"],
    ["attributeReadOnly", "AddAttribute", "1.4", "PermissionDenied"],
    ["attributeReadOnly", "Create", "1.2", "InvalidField"],
    ["attributeSingleValued", "AddAttribute", "1.0", "IllegalOperation"],
    ["attributeSingleValued", "Register", "1.0", "InvalidField"],
    ["attributeNotFound", "DeleteAttribute", "1.3", "ItemNotFound"],
    ["attributeNotFound", "ModifyAttribute", "1.3", "InvalidField"],
    ["nonUniqueName", "Create", "1.4", "InvalidField"],
    ["nonUniqueName", "AddAttribute", "1.4", "IllegalOperation"],
    ["nonUniqueName", "AddAttribute", "2.1", "NonUniqueNameAttribute"],
    ["invalidObjectType", "Check", "1.2", "IllegalOperation"],
    ["invalidObjectType", "Check", "2.0", "IllegalObjectType"],
    ["invalidObjectType", "Create", "1.0", "InvalidField"],
    ["invalidObjectType", "Revoke", "2.1", "InvalidObjectType"],
    ["tooManyAttributes", "AddAttribute", "1.4", "IndexOutOfBounds"],
    ["tooManyAttributes", "AddAttribute", "2.0", "ServerLimitExceeded"],
    ["encodingOptionError", "Get", "1.0", "FeatureNotSupported"],
    ["encodingOptionError", "Get", "1.1", "EncodingOptionError"],
    ["keySensitive", "Get", "1.3", "PermissionDenied"],
    ["keySensitive", "Get", "1.4", "Sensitive"],
    ["keyValueNotPresent", "Get", "1.4", "IllegalOperation"],
    ["keyValueNotPresent", "Get", "2.0", "KeyValueNotPresent"],
    ["unknownObjectGroup", "Query", "2.0", "InvalidField"],
    ["unknownObjectGroup", "Query", "2.1", "UnknownObjectGroup"],
    ["internalError", undefined, "1.0", "GeneralFailure"],
    ["internalError", undefined, "2.0", "InternalServerError"],
    ["wrappingObjectDestroyed", "Get", "1.1", "PermissionDenied"],
  ];
  test.each(rows)("for %s of %s in %s is %s", (fault, operation, version, reason) => {
    expect(resultReasonOf(fault, version, errorsOf(operation))).toBe(reason);
  });
});
