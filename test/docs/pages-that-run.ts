/** Pages whose blocks test/cluster/documents.test.ts runs; every one has a row in `setups` there. */
export const pagesThatRun: readonly string[] = [
  "README.md",
  "docs/api.md",
  "docs/backup.md",
  "docs/certificates.md",
  "docs/from-ibm.md",
  "docs/keys.md",
  "docs/quick-start.md",
  "docs/re-keying.md",
  "docs/root-of-trust-hpcs.md",
  "docs/root-of-trust-key-protect.md",
  "docs/root-of-trust-local.md",
  "docs/root-of-trust-pkcs11.md",
  "docs/support.md",
  "docs/try-it.md",
  "docs/vcenter-alarms.md",
];
