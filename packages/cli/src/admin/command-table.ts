import type { Contract, ProblemCode } from "@holdfast/admin";
import type { Layout } from "../terminal/print.ts";

/** How an operation of the API is given on the command line, beyond what the contract says. */
export interface CommandRow {
  /** The words of the command, such as `instance list`. */
  readonly words: string;
  /** How its list is shown. */
  readonly list?: Layout;
  /** Body fields that are read from a file: the option's value is a path, `-` for standard input. */
  readonly files?: Readonly<Record<string, string>>;
  /** Body fields that are secrets: read from `--X-file`, or asked for at a terminal; never an argument. */
  readonly secrets?: readonly string[];
  /** Fields of the contract that have an option of another kind here. */
  readonly hidden?: readonly string[];
  /** Takes `--root`, for one region or for several. */
  readonly roots?: "rootOfTrust" | "regions" | "lookup";
  /** A field that confirms: asked for at a terminal where it is not given. */
  readonly confirm?: {
    readonly field: string;
    readonly of: string;
    readonly when?: string;
    /** Completes "nothing was …". */
    readonly does: string;
    /** It is also asked for, and `when` is sent, where the service refuses with this code. */
    readonly refused?: ProblemCode;
  };
  /** An answer's field that is written to a file, or printed alone: never in a table; or not printed at all. */
  readonly output?: readonly {
    readonly field: string;
    readonly option: string;
    readonly onlyFile?: true;
  }[];
  /** `--wait` until the instance has one of these statuses. */
  readonly wait?: readonly string[];
  readonly example?: string;
}

const deleteConfirm = {
  field: "name",
  of: "the name of the instance",
  does: "deleted",
  when: "force",
  refused: "keysRemain",
} as const;

/** One row an operation; a test holds that none is missing. */
export const commandTable: Readonly<Record<keyof Contract, CommandRow>> = {
  listInstances: {
    words: "instance list",
    list: {
      columns: [
        "NAME=name",
        "STATUS=status",
        "KEYS=keys",
        "REGIONS=regions",
        "CERTIFICATES=certificates",
        "CREATED=createdAt",
      ],
      wide: ["ID=id"],
    },
  },
  createInstance: {
    words: "instance order",
    roots: "rootOfTrust",
    hidden: ["rootOfTrust"],
    wait: ["Installed", "Inactive"],
    example:
      "holdfast instance order --name kmip-prod --root a:key-protect,instanceId=UUID,rootKey=UUID,apiKey=@key.txt --root b:local --wait",
  },
  readInstance: { words: "instance show" },
  updateInstance: {
    words: "instance update",
    example: "holdfast instance update kmip-prod --labels group=finance",
  },
  deleteInstance: {
    words: "instance delete",
    confirm: deleteConfirm,
    wait: ["Deleted"],
    example: "holdfast instance delete kmip-prod --force --name kmip-prod --wait",
  },
  retrieveRootKeys: {
    words: "root-of-trust retrieve",
    roots: "lookup",
    hidden: ["root", "region"],
    list: {
      columns: [
        "NAME=name",
        "ID=id",
        "STATE=state",
        "USABLE=usable",
        "RING=keyRing",
        "ALIASES=aliases",
      ],
    },
    example: "holdfast root-of-trust retrieve --root a:key-protect,instanceId=UUID,apiKey=@key.txt",
  },
  configureRoot: {
    words: "root-of-trust configure",
    roots: "regions",
    hidden: ["regions"],
    wait: ["Installed"],
    example:
      "holdfast root-of-trust configure kmip-prod --root a:pkcs11,token=kmip,rootKey=crk,pin=@pin.txt",
  },
  readRoot: { words: "root-of-trust show" },
  revalidateRoot: { words: "root-of-trust revalidate" },
  shredInstance: {
    words: "root-of-trust shred",
    confirm: { field: "name", of: "the name of the instance", does: "shredded" },
  },
  rewrapRoot: {
    words: "root-of-trust rewrap",
    list: { columns: ["REGION=region", "STALE=stale", "VERSION=currentVersion", "ROOT=root"] },
  },
  reportRoots: {
    words: "root-of-trust report",
    list: {
      columns: [
        "INSTANCE=name",
        "REGION=region",
        "STATE=state",
        "STALE=stale",
        "VERSION=currentVersion",
        "VERSIONS=versions",
        "ROOT=root",
      ],
    },
  },
  listCertificates: {
    words: "certificate list",
    list: {
      columns: [
        "NAME=name",
        "EXPIRY=expiry",
        "EXPIRES=notAfter",
        "KIND=kind",
        "SUBJECT=subject",
        "REGIONS=regions",
      ],
      wide: ["FINGERPRINT=fingerprint"],
    },
  },
  addCertificate: {
    words: "certificate add",
    files: { pem: "file" },
    example: "holdfast certificate add kmip-prod --name vcenter-1 --file vcenter.pem",
  },
  readCertificate: {
    words: "certificate show",
    output: [{ field: "pem", option: "pem-out" }],
    example: "holdfast certificate show kmip-prod vcenter-1 --pem-out vcenter.pem",
  },
  deleteCertificate: { words: "certificate delete" },
  adoptCertificate: {
    words: "certificate adopt",
    example: "holdfast certificate adopt kmip-prod --name vcenter-1 --fingerprint SHA256",
  },
  readAuthority: {
    words: "authority show",
    output: [{ field: "certificate", option: "pem-out" }],
  },
  signRequest: {
    words: "authority sign",
    files: { csr: "csr" },
    output: [
      { field: "pem", option: "pem-out" },
      { field: "authority", option: "authority-out", onlyFile: true },
    ],
    example:
      "holdfast authority sign kmip-prod --name vcenter-1 --csr vcenter.csr --pem-out vcenter.pem",
  },
  issuePair: {
    words: "authority issue",
    output: [
      { field: "pem", option: "pem-out" },
      { field: "authority", option: "authority-out", onlyFile: true },
      { field: "privateKey", option: "key-out" },
    ],
    example:
      "holdfast authority issue kmip-prod --name vcenter-1 --pem-out vcenter.pem --key-out vcenter.key",
  },
  listRefused: {
    words: "refused list",
    list: {
      columns: [
        "TIME=time",
        "REASON=reason",
        "FROM=remote",
        "SUBJECT=subject",
        "TIMES=times",
        "NODE=node",
      ],
      below: ["MEND=advice"],
      wide: ["FINGERPRINT=fingerprint"],
    },
  },
  listServerCertificates: {
    words: "certificate server",
    list: {
      columns: ["NODE=node", "REGION=region", "KEY=keyType", "EXPIRES=notAfter", "SUBJECT=subject"],
      wrap: "SUBJECT",
      below: ["NAMES=names", "SHA-1=sha1|colons", "SHA-256=sha256", "TOLD=told"],
    },
  },
  listUsers: {
    words: "user list",
    list: { columns: ["NAME=name", "CREATED=createdAt", "ORIGIN=origin"] },
  },
  setUser: { words: "user set", secrets: ["password"] },
  deleteUser: { words: "user delete" },
  listKeys: {
    words: "key list",
    list: {
      columns: [
        "ID=id",
        "STATE=state",
        "NAMES=names",
        "CREATED=createdAt",
        "ALGORITHM=algorithm",
        "BITS=length",
        "X-IDENTIFIER=xIdentifier",
      ],
    },
  },
  countKeys: { words: "key count" },
  readKey: { words: "key show" },
  activateKey: { words: "key activate" },
  revokeKey: {
    words: "key revoke",
    example: "holdfast key revoke kmip-prod UUID --reason CessationOfOperation",
  },
  destroyKey: {
    words: "key destroy",
    confirm: {
      field: "confirm",
      of: "the identifier of the key",
      when: "force",
      does: "destroyed",
    },
  },
  reportOrphans: {
    words: "key orphans",
    files: { inUse: "in-use" },
    list: { columns: ["ID=id", "STATE=state", "NAMES=names", "CREATED=createdAt"] },
    example: "holdfast key orphans kmip-prod --in-use identifiers.txt",
  },
  whoAmI: { words: "whoami" },
  listTokens: {
    words: "token list",
    list: {
      columns: [
        "NAME=name",
        "ROLE=role",
        "STATE=state",
        "EXPIRES=expiresAt",
        "INSTANCES=instances",
      ],
      wide: ["ID=id"],
    },
  },
  createToken: {
    words: "token create",
    output: [{ field: "secret", option: "secret-out" }],
    example: "holdfast token create --name ci --role operator --secret-out ci.token",
  },
  revokeToken: { words: "token revoke" },
  listEvents: {
    words: "events",
    list: {
      columns: [
        "TIME=time|short",
        "OUTCOME=outcome",
        "ACTION=action|whole",
        "WHO=who",
        "TARGET=target",
        "INSTANCE=instance",
      ],
      wide: ["SEVERITY=severity", "REGION=region", "WHO-ID=whoId", "INSTANCE-ID=instanceId"],
    },
    example: "holdfast events --follow --action 'vmware-solutions.kmip-key.*'",
  },
  followEvents: { words: "events --follow" },
  readStatus: { words: "status" },
  runChecks: {
    words: "doctor",
    list: {
      columns: ["STATE=state", "CHECK=name", "DETAIL=detail"],
      below: ["MEND=mend"],
      wrap: "DETAIL",
    },
  },
  readBackups: {
    words: "backups",
    list: {
      columns: [
        "STARTED=startedAt",
        "REGION=region",
        "OK=ok",
        "RECORDS=records",
        "BYTES=bytes",
        "REASON=reason",
        "FILE=file",
      ],
    },
  },
  readOpenApi: { words: "openapi" },
};
