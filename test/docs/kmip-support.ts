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
    "Succeeds and changes nothing, in every version. The specifications demand an error; but then a virtual machine would fail to start if two hosts activated one key at the same time.",
  ],
  [
    "Credentials",
    "An instance without users accepts and ignores a Credential. With users, every message but Query and Discover Versions must carry the name and password of one of them. Users of one instance share all of its objects: there is no ownership between users.",
  ],
  [
    "Access",
    "A client certificate belongs to one instance and may use all of its objects. The answer for an object of another instance is exactly that for an unknown object.",
  ],
  [
    "Create without a Cryptographic Algorithm",
    "2.x: makes an AES key of 256 bits, as Query Defaults Information says. 1.x: refused with Invalid Field.",
  ],
  [
    "Create without a Cryptographic Usage Mask",
    "Accepted; the default is Encrypt and Decrypt (for HMAC keys MAC Generate and MAC Verify).",
  ],
  [
    "Asynchronous operations",
    "Not supported. A request with Asynchronous Indicator Mandatory is refused with Feature Not Supported; any other value gets a synchronous answer.",
  ],
  ["Batch Order Option", "Items are always processed in their order."],
  [
    "ID Placeholder",
    "A Create, Register or Locate that fails clears it, so that later items do not act on an older object.",
  ],
  [
    "Large answers of batches",
    "Answers that are built at the same time take up to 128 MiB of a node, half of it for one instance; a single item, and what takes little, always passes. A read beyond that is refused with General Failure: try again, with fewer items.",
  ],
  [
    "References to operations of the batch",
    "2.x: Locate, for example, in place of a Unique Identifier means the latest Locate of the batch. If that failed or found nothing, the answer is Object Not Found. If it found several objects, the item is refused with Invalid Field: it is not repeated for each of them (KMIP 2.1, 11.58). A position among the batch's identifiers refers to one of them.",
  ],
  [
    "Messages that cannot be read",
    "Answered once, after the requests before it, with Invalid Message (2.x: Codec Error), or with Server Limit Exceeded (1.x: General Failure) if it is too long. The answer has the version of the message, or 1.0 if that is not known. Then the connection is closed.",
  ],
  [
    "Limits",
    "A message has at most 1000 items and takes at most 30 s; a search has at most 64 attributes, with at most 256 fields and 64 KiB together; an object has at most 1000 attributes, of at most 1 MiB together; a certificate has at most 10,000 names. Beyond these limits: Server Limit Exceeded (1.x: General Failure; Index Out Of Bounds for attributes; Invalid Field for a certificate).",
  ],
  [
    "Unknown tags",
    "2.x: Unknown Tag. 1.x: Invalid Field. Inside a Message Extension, a critical one refuses the whole message with Feature Not Supported; any other is ignored.",
  ],
  [
    "Vendor Attributes of other vendors than x and y",
    "They have no name in 1.x, so 1.x answers leave them out.",
  ],
  [
    "Key formats",
    "The Key Block is stored as registered. Get converts between Raw and Transparent Symmetric Key only; a request for any other format than the registered one gets Key Format Type Not Supported.",
  ],
  [
    "Wrapped keys",
    "A key that was registered wrapped is returned wrapped. Get with a Key Wrapping Specification gets Feature Not Supported.",
  ],
  [
    "Link to a wrapping key",
    "From 2.0 a key that is registered wrapped gets a Wrapping Key Link. 1.x has no such Link, and its clients do not see those of 2.x.",
  ],
  [
    "Digest",
    "SHA-256 over the key in its own Key Format Type, and for symmetric keys also as Raw. The default Key Format Type of other keys (KMIP 2.1, 4.26) has no Digest of its own, since Holdfast does not convert them.",
  ],
  [
    "PKCS#12",
    "A container can be registered if it has one PKCS#12 Password Link to a password; anything else is refused with Bad Password (1.x: Invalid Field). The server makes no containers.",
  ],
  ["Lease Time", "Always 3600 seconds, in every version."],
  [
    "Server Correlation Value",
    "In 1.4 and 2.0 sent only to clients that send their own correlation value, since PyKMIP refuses a response with an unexpected one; in 2.1 always sent.",
  ],
  [
    "Interop",
    "Available only if the setting `kmip.interop` is on, which is for conformance runs; otherwise Operation Not Supported, and Query does not list it (KMIP 2.1, 6.1.26). Begin and End change nothing; Reset is refused.",
  ],
  [
    "Query with Object Groups",
    "The same answer as without: all groups have the same defaults, and a group that no object has is not refused.",
  ],
  [
    "Query Profiles",
    "Names only profiles that are supported completely: those of 1.x, if the listener offers the cipher suites that they demand (`tls.suites: kmip-basic`); none of 2.x, since Baseline Server 2.x demands Import, Export, Set Endpoint Role and server-to-client operations.",
  ],
  [
    '"Not found" and "cannot tell"',
    "Item Not Found (2.x: Object Not Found) is answered only when the store says so with a valid lease. Anything else is General Failure with a message: vSphere treats a key as lost when the answer is Item Not Found.",
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
    "# KMIP support",
    "",
    madeFrom(
      "packages/kmip/src/{messages/operations,attributes/attributes,messages/objects}.ts and test/docs/kmip-support.ts",
    ),
    "",
    `Versions ${versions.join(", ")}, as binary TTLV over mutual TLS 1.2 or 1.3. A response has the version of its request and contains nothing newer. \`npm run conformance\` replays the OASIS test cases against a server and prints a result for each.`,
    "",
    "## Decisions and deviations",
    "",
    table(["what", "how Holdfast does it"], decisions),
    "",
    "## Operations",
    "",
    "✓ supported; – known, but answered with Operation Not Supported; empty: not in this version.",
    "",
    table(["operation", "code", ...versions], operationRows()),
    "",
    "## Object types",
    "",
    "Clients can register, read, locate and destroy objects of every type. The server can create Symmetric Key (AES 128, 192 and 256; 3DES of length 112 and 168; HMAC keys) and, from 1.4, Secret Data.",
    "",
    table(["object type", ...versions], objectRows()),
    "",
    "## Attributes",
    "",
    "Custom attributes of 1.x (`x-…`) and Vendor Attributes of 2.x are the same thing; every object can have at least 50 of them, each of at least 512 characters.",
    "",
    table(["attribute", ...versions, "values", "first set by", "a client may"], attributeRows()),
    "",
  ].join("\n");
}
