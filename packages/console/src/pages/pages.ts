import type { NodeAnswer, OperationName } from "../base/contract.ts";
import { commonNameOf } from "../base/text.ts";
import { checks, serverCertificates, storageKeys } from "./every-node.ts";

type Item = Readonly<Record<string, unknown>>;

/** An operation on a row of a list: parameters of its path from fields of the row. */
interface RowAction {
  readonly name: OperationName;
  readonly params?: Readonly<Record<string, string>>;
  /** The field that must be true, or have the value `is`. */
  readonly when?: string;
  readonly is?: string;
  /** Values that the form begins with. */
  readonly given?: (item: Item) => Item;
}

/** A page of the console: an operation that reads, and what a person can do there. */
export interface Page {
  /** The place, with the parameters of the operation's path. */
  readonly path: string;
  readonly title: string;
  readonly reads: OperationName;
  /** The first page of a group in the menu, or a page of its own there. */
  readonly menu?: true;
  /** Columns in place of those of the command line. */
  readonly columns?: readonly string[];
  /** Where the row's first column leads: a place, and its parameters from fields of the row. */
  readonly to?: readonly [path: string, params: Readonly<Record<string, string>>];
  /** Rows lead nowhere where this field is empty. */
  readonly toIf?: string;
  readonly actions?: readonly OperationName[];
  readonly rowActions?: readonly RowAction[];
  /** Shown again when the service tells of an event; else on demand. */
  readonly live?: true;
  /** Makes the rows from the answers of all nodes; one node is asked unless given. */
  readonly ofNodes?: (answers: readonly NodeAnswer[], nowMs: number) => readonly Item[];
  /** What it reads may not be there yet: then it is shown as empty. */
  readonly mayBeAbsent?: true;
  /** What to do where the list is empty, or where what it reads is not there yet. */
  readonly empty?: string;
}

const ofInstance = "/instances/{instance}";

/** All pages that a table can describe. */
export const pages: readonly Page[] = [
  {
    path: "/instances",
    title: "Instances",
    reads: "listInstances",
    menu: true,
    to: [ofInstance, { instance: "name" }],
    actions: ["createInstance", "retrieveRootKeys"],
    empty: "Order an instance: vCenter gets its keys from one.",
  },
  {
    path: ofInstance,
    title: "Instance",
    reads: "readInstance",
    actions: [
      ...(["updateInstance", "configureRoot", "revalidateRoot", "rewrapRoot"] as const),
      ...(["rekeyInstance", "shredInstance", "deleteInstance"] as const),
    ],
  },
  {
    path: `${ofInstance}/keys`,
    title: "Keys",
    reads: "listKeys",
    to: [`${ofInstance}/keys/{key}`, { key: "id" }],
    actions: ["reportOrphans"],
    empty: "vCenter makes keys when the first machine or host is encrypted.",
  },
  {
    path: `${ofInstance}/keys/{key}`,
    title: "Key",
    reads: "readKey",
    actions: ["activateKey", "revokeKey", "destroyKey", "restoreKey"],
  },
  {
    path: `${ofInstance}/certificates`,
    title: "Certificates",
    reads: "listCertificates",
    columns: [
      ...["NAME=name", "EXPIRY=expiry", "EXPIRES=notAfter", "KIND=kind", "SUBJECT=subject"],
      ...["CONNECTED=lastConnection.time", "REGIONS=regions"],
    ],
    to: [`${ofInstance}/certificates/{certificate}`, { certificate: "id" }],
    actions: ["addCertificate", "signRequest", "issuePair", "adoptCertificate"],
    empty: "Add vCenter's certificate, or sign its request: without one nobody gets keys.",
  },
  {
    path: `${ofInstance}/certificates/{certificate}`,
    title: "Certificate",
    reads: "readCertificate",
    actions: ["updateCertificate", "deleteCertificate"],
  },
  {
    path: `${ofInstance}/users`,
    title: "Users",
    reads: "listUsers",
    actions: ["setUser"],
    rowActions: [
      { name: "setUser", params: { user: "name" } },
      { name: "deleteUser", params: { user: "name" } },
    ],
    empty: "Without users, a client's certificate alone admits it.",
  },
  {
    path: `${ofInstance}/authority`,
    title: "Authority",
    reads: "readAuthority",
    mayBeAbsent: true,
    empty:
      "This instance has no authority yet. Holdfast makes it with the first certificate that it signs or issues.",
  },
  {
    path: `${ofInstance}/root-of-trust`,
    title: "Root of trust",
    reads: "readRoot",
    actions: ["configureRoot", "revalidateRoot", "rewrapRoot"],
  },
  {
    path: "/events",
    title: "Events",
    reads: "listEvents",
    menu: true,
    live: true,
    columns: [
      ...["TIME=eventTime", "OUTCOME=outcome", "ACTION=what", "WHO=by", "TARGET=on"],
      ...["INSTANCE=where", "REGION=region"],
    ],
  },
  {
    path: "/roots-of-trust",
    title: "Roots of trust",
    reads: "reportRoots",
    menu: true,
    to: [`${ofInstance}/root-of-trust`, { instance: "name" }],
    // The storage keys of the regions are in the list too.
    toIf: "instance",
    actions: ["retrieveRootKeys"],
  },
  {
    path: "/refused-clients",
    title: "Refused clients",
    reads: "listRefused",
    menu: true,
    rowActions: [
      {
        name: "adoptCertificate",
        when: "adoptable",
        given: ({ fingerprint, subject }) => ({
          fingerprint,
          name: commonNameOf(String(subject)),
        }),
      },
    ],
    empty: "No client was refused.",
  },
  {
    path: "/deny-list",
    title: "Deny list",
    reads: "listDenials",
    menu: true,
    actions: ["addDenial"],
    rowActions: [{ name: "removeDenial", params: { denial: "id" } }],
    empty: "No client is shut out.",
  },
  { path: "/peers", title: "Certificates of nodes", reads: "listPeers", menu: true },
  {
    path: "/server-certificates",
    title: "Server certificates",
    reads: "listServerCertificates",
    ofNodes: serverCertificates,
    menu: true,
  },
  {
    path: "/checks",
    title: "Checks",
    reads: "runChecks",
    ofNodes: checks,
    columns: ["NODE=node", "STATE=state", "CHECK=name", "DETAIL=detail", "MEND=mend"],
    menu: true,
  },
  {
    path: "/backups",
    title: "Backups",
    reads: "readBackups",
    menu: true,
    actions: ["runBackup"],
    rowActions: [
      { name: "verifyBackup", when: "ok", params: { backup: "name" } },
      { name: "planRestore", when: "ok", params: { backup: "name" } },
    ],
    empty: "No backup was made here. The page docs/backup.md says how.",
  },
  {
    path: "/storage-key",
    title: "Storage key",
    reads: "readStorageKey",
    menu: true,
    ofNodes: storageKeys,
    columns: ["REGION=region", "NUMBER=number", "SINCE=since", "ROTATION=rotation", "LEFT=left"],
    // The buttons are in the rows: each is of one region.
    rowActions: [{ name: "rotateStorageKey" }],
  },
  {
    path: "/access/tokens",
    title: "Tokens",
    reads: "listTokens",
    menu: true,
    actions: ["createToken"],
    rowActions: [{ name: "revokeToken", params: { token: "id" } }],
  },
  {
    path: "/access/approvals",
    title: "Approvals",
    reads: "listApprovals",
    menu: true,
    to: ["/access/approvals/{approval}", { approval: "id" }],
    empty: "Nothing waits for approvals.",
  },
  {
    path: "/access/approvals/{approval}",
    title: "Approval",
    reads: "readApproval",
    actions: ["signApproval", "cancelApproval"],
  },
  {
    path: "/access/approval-policy",
    title: "Approval policy",
    reads: "readApprovalPolicy",
    mayBeAbsent: true,
    menu: true,
    columns: [
      ...["VERSION=version", "STATE=state", "EFFECTIVE=effectiveAt", "NEEDED=approvals"],
      ...["APPROVERS=approvers", "BREAK-GLASS=breakGlass", "ACTIONS=actions"],
      ...["ID=id", "DIGEST=digest"],
    ],
    actions: ["changeApprovalPolicy"],
    rowActions: [
      { name: "stopApprovalPolicy", params: { policy: "id" }, when: "state", is: "waiting" },
    ],
    empty:
      "No approval policy is set. The command holdfast approval init, at a node, sets the first one.",
  },
];

/** States of a key in which an operation makes sense. */
export const allowedIn: Partial<Record<OperationName, readonly string[]>> = {
  activateKey: ["PreActive"],
  revokeKey: ["PreActive", "Active", "Deactivated"],
  destroyKey: ["PreActive", "Active", "Deactivated", "Compromised"],
};

/** The pages of one instance, in the order of its tabs. */
export const instancePages = pages.filter(
  ({ path }) => path.startsWith(ofInstance) && !/\{(key|certificate)\}/.test(path),
);

/** The page with vCenter's steps; it is not a table. */
export const connectPage = {
  path: `${ofInstance}/connect`,
  title: "Connect vCenter",
} as const;
