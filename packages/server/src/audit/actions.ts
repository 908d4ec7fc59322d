import type { OperationAction } from "@holdfast/kmip";

/** How an action of the audit trail appears in CADF. */
export interface ActionRow {
  /** Object type and verb after the service's name: as in IBM's events, or in their style. */
  readonly cadf: string;
  /** The name of 2019, if it was different. */
  readonly cadf2019?: string;
  /** Completes "vmware-solutions: …". */
  readonly says: string;
  /** The target's type after the service's name. */
  readonly target: string;
  /** The action concerns keys, not the service itself. */
  readonly data?: true;
}

const key = { target: "kmip-key", data: true } as const;
const attributes = { target: "kmip-key/attributes", data: true } as const;

/** Actions of KMIP clients and planned dates; the operations' rows name those of clients. */
const keyActions = {
  "kmip-key.create": { cadf: "kmip-key.create", says: "create KMIP key", ...key },
  "kmip-key.register": { cadf: "kmip-key.register", says: "register KMIP key", ...key },
  "kmip-key.read": {
    cadf: "kmip-key.read",
    cadf2019: "kmip-key.retrieve",
    says: "read KMIP key",
    ...key,
  },
  "kmip-key-attributes.retrieve": {
    cadf: "kmip-key-attributes.retrieve",
    says: "retrieve KMIP key attributes",
    ...attributes,
  },
  "kmip-key-attributes.update": {
    cadf: "kmip-key-attributes.update",
    says: "update KMIP key attributes",
    ...attributes,
  },
  "kmip-key-attributes.delete": {
    cadf: "kmip-key-attributes.delete",
    says: "delete KMIP key attributes",
    ...attributes,
  },
  "kmip-key.activate": { cadf: "kmip-key.activate", says: "activate KMIP key", ...key },
  "kmip-key.deactivate": { cadf: "kmip-key.deactivate", says: "deactivate KMIP key", ...key },
  "kmip-key.revoke": { cadf: "kmip-key.revoke", says: "revoke KMIP key", ...key },
  "kmip-key.destroy": { cadf: "kmip-key.destroy", says: "destroy KMIP key", ...key },
  "kmip-key.erase": {
    cadf: "kmip-key.erase",
    says: "erase material of destroyed KMIP key",
    ...key,
  },
  "kmip-log.create": { cadf: "kmip-log.create", says: "keep a client's message", ...key },
} as const satisfies Readonly<
  Record<OperationAction | "kmip-key.deactivate" | "kmip-key.erase", ActionRow>
>;

const instance = { target: "service" } as const;
const certificate = { target: "kmip-certificate" } as const;
const authority = { target: "kmip-certificate-authority" } as const;
const denial = { target: "kmip-denial" } as const;
const user = { target: "kmip-user" } as const;
const approval = { target: "kmip-approval" } as const;
const policy = { target: "kmip-approval-policy" } as const;
const token = { target: "kmip-token" } as const;
const root = { target: "kmip-root-of-trust" } as const;
const sealing = { target: "kmip-sealing-key" } as const;
const backup = { target: "kmip-backup" } as const;
const audit = { target: "kmip-audit" } as const;

/** Actions of administrators and leaders. An instance is a "service" in IBM's events. */
const administration = {
  "instance.create": { cadf: "service.create", says: "create KMIP instance", ...instance },
  "instance.configure": { cadf: "service.configure", says: "configure KMIP instance", ...instance },
  "instance.update": { cadf: "service.update", says: "update KMIP instance", ...instance },
  "instance.delete": { cadf: "service.delete", says: "delete KMIP instance", ...instance },
  "instance.rekey": {
    cadf: "service.rekey",
    says: "rotate key-encryption key of KMIP instance",
    ...instance,
  },
  "key.restore": { cadf: "kmip-key.restore", says: "restore destroyed KMIP key", ...key },
  "key.import": { cadf: "kmip-key.import", says: "import KMIP key", ...key },
  "kek.delete": {
    cadf: "kmip-key-encryption-key.delete",
    says: "remove key-encryption key that nothing needs",
    target: "kmip-key-encryption-key",
  },
  "instance.wipe": {
    cadf: "instance-secure-data.wipe",
    says: "erase keys of KMIP instance",
    ...instance,
  },
  "certificate.create": {
    cadf: "kmip-certificate.create",
    says: "add client certificate",
    ...certificate,
  },
  "certificate.read": {
    cadf: "kmip-certificate.read",
    says: "download client certificate",
    ...certificate,
  },
  "certificate.update": {
    cadf: "kmip-certificate.update",
    says: "limit client certificate",
    ...certificate,
  },
  "certificate.delete": {
    cadf: "kmip-certificate.delete",
    says: "delete client certificate",
    ...certificate,
  },
  "certificate.issue": {
    cadf: "kmip-certificate.issue",
    says: "issue client certificate",
    ...certificate,
  },
  "certificate.expire": {
    cadf: "kmip-certificate.expire",
    says: "client certificate expires",
    ...certificate,
  },
  "authority.create": {
    cadf: "kmip-certificate-authority.create",
    says: "create certificate authority",
    ...authority,
  },
  "authority.delete": {
    cadf: "kmip-certificate-authority.delete",
    says: "delete certificate authority",
    ...authority,
  },
  "denial.create": { cadf: "kmip-denial.create", says: "deny client certificate", ...denial },
  "denial.delete": { cadf: "kmip-denial.delete", says: "lift denial", ...denial },
  "crl.read": { cadf: "kmip-crl.read", says: "read revocation list", target: "kmip-crl" },
  "user.create": { cadf: "kmip-user.create", says: "add KMIP user", ...user },
  "user.update": { cadf: "kmip-user.update", says: "change KMIP user", ...user },
  "user.delete": { cadf: "kmip-user.delete", says: "delete KMIP user", ...user },
  "token.create": { cadf: "kmip-token.create", says: "create access token", ...token },
  "token.revoke": { cadf: "kmip-token.delete", says: "revoke access token", ...token },
  "approval.request": { cadf: "kmip-approval.create", says: "ask for approvals", ...approval },
  "approval.sign": { cadf: "kmip-approval.sign", says: "approve request", ...approval },
  "approval.use": { cadf: "kmip-approval.use", says: "use approvals", ...approval },
  "approval.cancel": { cadf: "kmip-approval.delete", says: "cancel request", ...approval },
  "approval.policy": { cadf: "kmip-approval-policy.set", says: "set approval policy", ...policy },
  "approval.stop": {
    cadf: "kmip-approval-policy.cancel",
    says: "cancel change of approval policy",
    ...policy,
  },
  "approval.reset": {
    cadf: "kmip-approval-policy.reset",
    says: "reset approval policy",
    ...policy,
  },
  "root.configure": { cadf: "kmip-root-key.set", says: "set customer root key", ...root },
  "storage-key.rotate": {
    cadf: "kmip-storage-key.rotate",
    says: "rotate storage key of a region's store",
    target: "kmip-storage-key",
  },
  "root.rotate": { cadf: "kmip-root-key.rotate", says: "rotate customer root key", ...root },
  "root.rewrap": { cadf: "kmip-root-key.rewrap", says: "re-wrap under customer root key", ...root },
  "root.shred": { cadf: "kmip-root-key.shred", says: "drop keys of customer root key", ...root },
  "root.revalidate": {
    cadf: "kmip-root-key.validate",
    says: "validate customer root key",
    ...root,
  },
  "root.fail": { cadf: "kmip-root-key.fail", says: "customer root key cannot be used", ...root },
  "root.allow-adopt": {
    cadf: "kmip-root-key.allow",
    says: "let the other region wrap keys again",
    ...root,
  },
  "kek.give": {
    cadf: "kmip-key-encryption-key.give",
    says: "give key-encryption key to the other region",
    target: "kmip-key-encryption-key",
  },
  "root.list": { cadf: "kmip-root-key.list", says: "list root keys", ...root },
  "sealing-key.rotate": {
    cadf: "kmip-sealing-key.rotate",
    says: "rotate sealing key",
    ...sealing,
  },
  "audit-key.rotate": {
    cadf: "kmip-audit-key.rotate",
    says: "rotate key of audit log",
    target: "kmip-audit-key",
  },
  "region.retire": {
    cadf: "kmip-region.retire",
    says: "retire region",
    target: "kmip-region",
  },
  "store.accept": {
    cadf: "kmip-store.accept",
    says: "accept an older store",
    target: "kmip-store",
  },
  "backup.create": { cadf: "kmip-backup.create", says: "create backup", ...backup },
  "backup.order": { cadf: "kmip-backup.order", says: "order work on backups", ...backup },
  "backup.delete": { cadf: "kmip-backup.delete", says: "delete backup", ...backup },
  "backup.verify": { cadf: "kmip-backup.verify", says: "verify backup", ...backup },
  "backup.restore": { cadf: "kmip-backup.restore", says: "restore backup", ...backup },
  "management.authorize": {
    cadf: "kmip-management.authorize",
    says: "use the management API",
    target: "kmip-management",
  },
  "audit.drop": { cadf: "kmip-audit.drop", says: "audit entries were given up", ...audit },
  "audit.damage": { cadf: "kmip-audit.damage", says: "an audit entry is damaged", ...audit },
} as const satisfies Record<string, ActionRow>;

/** An action of management. */
export type ManagementAction = keyof typeof administration;

/** The name of any action. */
export type ActionName = ManagementAction | keyof typeof keyActions;

/** Every action that the product audits. */
export const actions: Readonly<Record<string, ActionRow>> = { ...keyActions, ...administration };
