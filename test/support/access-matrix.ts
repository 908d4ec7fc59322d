import type { Contract, Role } from "@holdfast/admin";

/**
 * Who may call what, written by hand from docs/certificates.md: the test fails if a route's row says something else.
 * v = viewer, a = auditor, o = operator, s = security-officer, m = manager; "bound": tokens that are bound too.
 */
export const accessMatrix: Readonly<Record<keyof Contract, string>> = {
  listInstances: "v-osm bound",
  createInstance: "----m",
  readInstance: "v-osm bound",
  updateInstance: "----m bound",
  rekeyInstance: "----m bound",
  deleteInstance: "----m bound",

  retrieveRootKeys: "----m",
  configureRoot: "----m bound",
  readRoot: "v-osm bound",
  revalidateRoot: "--o-m bound",
  shredInstance: "----m bound",
  rewrapRoot: "--o-m bound",
  reportRoots: "v-osm",

  listCertificates: "v-osm bound",
  addCertificate: "---s- bound",
  readCertificate: "v-osm bound",
  updateCertificate: "---s- bound",
  deleteCertificate: "---s- bound",
  adoptCertificate: "---s-",
  readAuthority: "v-osm bound",
  signRequest: "---s- bound",
  issuePair: "---s- bound",
  listRefused: "--osm",
  listServerCertificates: "v-osm",
  listUsers: "v-osm bound",
  setUser: "---s- bound",
  deleteUser: "---s- bound",

  listDenials: "v-osm",
  listPeers: "v-osm",
  addDenial: "---s-",
  removeDenial: "---s-",

  listKeys: "v-osm bound",
  countKeys: "v-osm bound",
  readKey: "v-osm bound",
  activateKey: "--o-m bound",
  revokeKey: "--o-m bound",
  destroyKey: "--o-m bound",
  restoreKey: "--o-m bound",
  importKeys: "----m bound",
  reportOrphans: "--o-m bound",

  readStorageKey: "v-osm",
  rotateStorageKey: "----m",

  whoAmI: "vaosm bound",
  listTokens: "---sm",
  createToken: "---sm",
  revokeToken: "---sm",

  listApprovals: "v-osm",
  readApproval: "v-osm",
  signApproval: "--osm",
  cancelApproval: "--osm",
  readApprovalPolicy: "v-osm",
  changeApprovalPolicy: "--osm",
  stopApprovalPolicy: "--osm",

  listEvents: "vaosm bound",
  followEvents: "vaosm bound",
  startAuditCheck: "vaosm",
  readAuditCheck: "vaosm",

  readStatus: "v-osm",
  runChecks: "v-osm",
  readBackups: "v-osm",
  runBackup: "----m",
  verifyBackup: "--o-m",
  planRestore: "--o-m",
  readOpenApi: "public",
};

const letters: Readonly<Record<Role, string>> = {
  viewer: "v",
  auditor: "a",
  operator: "o",
  "security-officer": "s",
  manager: "m",
};

/** Whether a token with this role may call an operation, and whether it may if it is bound. */
export function mayCall(operation: keyof Contract, role: Role): { may: boolean; bound: boolean } {
  const [who = "", bound] = accessMatrix[operation].split(" ");
  return { may: who.includes(letters[role]), bound: bound !== undefined };
}
