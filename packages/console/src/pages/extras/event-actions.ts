/** Beginnings of actions, as the filter of events takes them, with what they are about. */
export const eventActions: readonly (readonly [action: string, about: string])[] = [
  ["kmip-key.*", "keys: made, read, revoked, destroyed"],
  ["kmip-key.create", "a key is made"],
  ["kmip-key.read", "a key is fetched"],
  ["kmip-key.destroy", "a key is destroyed"],
  ["kmip-key-attributes.*", "attributes of keys"],
  ["service.*", "instances: ordered, changed, deleted"],
  ["kmip-certificate.*", "certificates of clients"],
  ["kmip-denial.*", "the deny list"],
  ["kmip-user.*", "users"],
  ["kmip-token.*", "tokens"],
  ["kmip-approval*", "approvals and their policy"],
  ["kmip-root-key.*", "roots of trust"],
  ["kmip-storage-key.*", "storage keys"],
  ["kmip-backup.*", "backups"],
  ["kmip-management.*", "use of the management API"],
  ["kmip-audit.*", "the audit trail itself"],
];
