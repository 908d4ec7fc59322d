import {
  type AttributeRow,
  attributes,
  type ObjectTypeName,
  type OperationRow,
  objectTypesOf,
  operations,
  versions,
  within,
} from "@holdfast/kmip";
import { madeFrom, table } from "./markdown.ts";

/** Where Holdfast deviates from a specification, or makes a choice that it leaves open. */
const decisions: readonly (readonly [string, string])[] = [
  [
    "Activate of an Active object",
    "Success, nothing changed, in every version. The specifications ask for an error; two hosts that race to activate one key would then lose a virtual machine's start.",
  ],
  [
    "Credentials",
    "An instance without users accepts and ignores a Credential. With users, every message but Query and Discover Versions must carry the name and password of one of them. Users of one instance share all of its objects: there is no ownership between users.",
  ],
  [
    "Access",
    "A client certificate belongs to one instance and may use all of its objects. An object of another instance is answered exactly as an unknown one.",
  ],
  [
    "Create without a Cryptographic Usage Mask",
    "Accepted; Encrypt and Decrypt (MAC Generate and Verify for HMAC keys) are assumed.",
  ],
  [
    "Asynchronous operations",
    "None. Asynchronous Indicator Mandatory is refused with Feature Not Supported; any other value is answered at once.",
  ],
  ["Batch Order Option", "Items are always carried out in their order."],
  [
    "ID Placeholder",
    "Emptied by a Create, Register or Locate that fails, so that what follows is not done to an older object.",
  ],
  [
    "Limits",
    "A message holds at most 1000 items and takes at most 30 s; a search has at most 64 attributes; the attributes of an object take at most 1 MiB together, and are at most 1000; a certificate has at most 10,000 names. Beyond: Server Limit Exceeded (1.x: General Failure; Index Out Of Bounds for attributes; Invalid Field for a certificate).",
  ],
  [
    "Unknown tags",
    "2.x: Unknown Tag. 1.x: Invalid Message. Inside a Message Extension, a critical one refuses the whole message with Feature Not Supported; any other is ignored.",
  ],
  [
    "Vendor Attributes of other vendors than x and y",
    "Have no name in 1.x, and are left out of 1.x answers.",
  ],
  [
    "Key formats",
    "The Key Block is kept as registered. Get converts between Raw and Transparent Symmetric Key only; any other format than the registered one is Key Format Type Not Supported.",
  ],
  [
    "Wrapped keys",
    "A key registered wrapped is handed out wrapped. Get with a Key Wrapping Specification is Feature Not Supported.",
  ],
  ["Lease Time", "Always 3600 seconds, in every version."],
  [
    "Server Correlation Value",
    "In 1.4 and 2.0 only for clients that send a correlation value of their own, since PyKMIP refuses a response that has one it did not expect; in 2.1 always.",
  ],
  [
    "Interop",
    "Only where the setting `kmip.interop` is on, which is for conformance runs; otherwise Operation Not Supported and absent from Query (KMIP 2.1, 6.1.26). Begin and End change nothing; Reset is refused.",
  ],
  [
    "Query Profiles",
    "Names only what is whole: profiles of 1.x where the listener offers the cipher suites that they demand (`tls.suites: kmip-basic`); no profile of 2.x, since Baseline Server 2.x demands Import, Export, Set Endpoint Role and server-to-client operations.",
  ],
  [
    '"Not found" and "cannot tell"',
    "Item Not Found (2.x: Object Not Found) is answered only when the store says so with a valid lease. Anything else is General Failure with a message: vSphere takes Item Not Found for a lost key.",
  ],
];

const mark = (has: boolean): string => (has ? "✓" : "");

function operationRows(): string[][] {
  return Object.entries<OperationRow>(operations).map(([name, row]) => [
    name,
    `0x${row.code.toString(16).padStart(2, "0")}`,
    ...versions.map((version) => {
      if (!within(version, row.since, row.until)) return "";
      return row.request === undefined ? "–" : "✓";
    }),
  ]);
}

function attributeRows(): string[][] {
  return Object.values<AttributeRow>(attributes).map((row) => [
    row.name,
    ...versions.map((version) => mark(within(version, row.since, row.until))),
    row.multi ? "many" : "one",
    row.setBy,
    [row.modifiable ? "modify" : "", row.deletable ? "delete" : ""].filter(Boolean).join(", "),
  ]);
}

function objectRows(): string[][] {
  const types = new Set<ObjectTypeName>(versions.flatMap((version) => [...objectTypesOf(version)]));
  return [...types].map((type) => [
    type,
    ...versions.map((version) => mark(objectTypesOf(version).includes(type))),
  ]);
}

/** docs/kmip-support.md. */
export function kmipSupport(): string {
  return [
    "# What Holdfast speaks of KMIP",
    "",
    madeFrom(
      "packages/kmip/src/{messages/operations,attributes/attributes,messages/objects}.ts and test/docs/kmip-support.ts",
    ),
    "",
    `Versions ${versions.join(", ")}, as binary TTLV over mutual TLS 1.2 or 1.3. An answer is in the version of its request and holds nothing newer. \`npm run conformance\` replays the OASIS documents against a server and prints a verdict for each.`,
    "",
    "## Decisions and deviations",
    "",
    table(["what", "how Holdfast does it"], decisions),
    "",
    "## Operations",
    "",
    "✓ carried out; – known, answered Operation Not Supported; empty: the version does not have it.",
    "",
    table(["operation", "code", ...versions], operationRows()),
    "",
    "## Object types",
    "",
    "Every one can be registered, read, located and destroyed. Made by the server: Symmetric Key (AES 128, 192 and 256; 3DES of length 112 and 168; HMAC keys) and, from 1.4, Secret Data.",
    "",
    table(["object type", ...versions], objectRows()),
    "",
    "## Attributes",
    "",
    "Custom attributes of 1.x (`x-…`) and Vendor Attributes of 2.x are the same thing; every object may have at least 50 of at least 512 characters.",
    "",
    table(["attribute", ...versions, "values", "first set by", "a client may"], attributeRows()),
    "",
  ].join("\n");
}
