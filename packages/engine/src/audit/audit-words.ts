/**
 * Words that events repeat, each encoded as a marker byte and its index in this list, one byte. Only append to the
 * list, since entries of older versions are kept. A word that is not listed is written out.
 */
export const auditWords: readonly string[] = [
  "kmip-key.create",
  "kmip-key.register",
  "kmip-key.read",
  "kmip-key-attributes.retrieve",
  "kmip-key-attributes.update",
  "kmip-key-attributes.delete",
  "kmip-key.activate",
  "kmip-key.revoke",
  "kmip-key.destroy",
  "kmip-key.deactivate",
  "kmip-log.create",
  "planned-date",
  "leader",
  "ItemNotFound",
  "ObjectNotFound",
  "ObjectDestroyed",
  "PermissionDenied",
  "AuthenticationNotSuccessful",
  "InvalidMessage",
  "InvalidField",
  "IllegalOperation",
  "WrongKeyLifecycleState",
  "GeneralFailure",
  "OperationNotSupported",
  "NonUniqueNameAttribute",
  "{sys}",
];
