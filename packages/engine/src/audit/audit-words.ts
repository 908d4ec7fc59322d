/**
 * Words that events repeat, each written as one byte: its place in the list. The list only ever grows at its end, since
 * entries of older versions are kept; a word that is not here is written out.
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
