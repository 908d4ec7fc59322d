import { type Item, ItemType } from "@holdfast/ttlv";
import { KmipError } from "../schema/faults.ts";
import {
  byVersion,
  type Infer,
  many,
  optional,
  required,
  some,
  struct,
  unexpected,
} from "../schema/schema.ts";
import { protocolVersion } from "../schema/structures.ts";
import { tags } from "../schema/tags.ts";
import {
  boolean,
  bytes,
  dateTime,
  type EnumerationText,
  enumeration,
  integer,
  text,
  type ValueType,
} from "../schema/value-type.ts";
import { type Version, versions } from "../schema/version.ts";
import { credential, nonce } from "./credential.ts";

type AsynchronousIndicator = EnumerationText<"AsynchronousIndicator">;

/** In 1.x, a Boolean says whether the client accepts asynchronous responses (KMIP 1.4, 6.7). */
const asynchronousIndicator1: ValueType<AsynchronousIndicator> = {
  itemType: ItemType.Boolean,
  decode: (item, version) => (boolean.decode(item, version) ? "Optional" : "Prohibited"),
  encode: (tag, value, version) => boolean.encode(tag, value !== "Prohibited", version),
};

const authentication = struct("Authentication", { credentials: some("Credential", credential) });

/** KMIP 2.1, 8.2 Request Header. */
export const requestHeader = struct("Request Header", {
  protocolVersion: required("ProtocolVersion", protocolVersion),
  maximumResponseSize: optional("MaximumResponseSize", integer),
  clientCorrelationValue: optional("ClientCorrelationValue", text, { since: "1.4" }),
  serverCorrelationValue: optional("ServerCorrelationValue", text, { since: "1.4" }),
  asynchronousIndicator: byVersion<AsynchronousIndicator, "optional">(
    "optional",
    { tag: "AsynchronousIndicator", type: asynchronousIndicator1, until: "1.4" },
    {
      tag: "AsynchronousIndicator",
      type: enumeration("AsynchronousIndicator"),
      since: "2.0",
    },
  ),
  attestationCapableIndicator: optional("AttestationCapableIndicator", boolean, { since: "1.2" }),
  attestationTypes: many("AttestationType", enumeration("AttestationType"), { since: "1.2" }),
  authentication: optional("Authentication", authentication),
  batchErrorContinuationOption: optional(
    "BatchErrorContinuationOption",
    enumeration("BatchErrorContinuationOption"),
  ),
  batchOrderOption: optional("BatchOrderOption", boolean),
  timeStamp: optional("TimeStamp", dateTime),
  batchCount: required("BatchCount", integer),
});

/** KMIP 2.1, 8.5 Response Header. */
export const responseHeader = struct("Response Header", {
  protocolVersion: required("ProtocolVersion", protocolVersion),
  timeStamp: required("TimeStamp", dateTime),
  nonce: optional("Nonce", nonce, { since: "1.2" }),
  serverHashedPassword: optional("ServerHashedPassword", bytes, { since: "2.0" }),
  attestationTypes: many("AttestationType", enumeration("AttestationType"), { since: "1.2" }),
  clientCorrelationValue: optional("ClientCorrelationValue", text, { since: "1.4" }),
  serverCorrelationValue: optional("ServerCorrelationValue", text, { since: "1.4" }),
  batchCount: required("BatchCount", integer),
});
export type WireRequestHeader = Infer<typeof requestHeader.fields>;

/** A version as in headers and Discover Versions. */
export interface VersionParts {
  readonly major: number;
  readonly minor: number;
}

const partsOf: ReadonlyMap<Version, VersionParts> = new Map(
  versions.map((version) => {
    const [major, minor] = version.split(".");
    return [version, { major: Number(major), minor: Number(minor) }];
  }),
);
/** The parts of a version. */
export function versionParts(version: Version): VersionParts {
  const parts = partsOf.get(version);
  if (parts === undefined) throw new RangeError(`${version} is not a KMIP version`);
  return parts;
}

/** The version with these parts; undefined if Holdfast does not support it. */
export function versionOfParts({ major, minor }: VersionParts): Version | undefined {
  return versions.find((version) => {
    const parts = versionParts(version);
    return parts.major === major && parts.minor === minor;
  });
}

/** A version that a client with an unsupported one may parse: the nearest of its major version. */
function nearest(major: number, minor: number): Version {
  if (major < 1 || minor < 0) return "1.0";
  return major === 1 ? "1.4" : "2.1";
}

/** The protocol version of a header; an unsupported one is a fault, answered in the nearest. */
export function versionOfHeader(header: Item): Version {
  if (header.type !== ItemType.Structure) {
    throw new KmipError("invalidMessage", "a message's header must be a structure");
  }
  const item = header.value.find((child) => child.tag === tags.ProtocolVersion.tag);
  if (item === undefined) throw new KmipError("missingField", "Protocol Version is missing");
  const { major, minor } = protocolVersion.decode(item, "2.1");
  const version = versionOfParts({ major, minor });
  if (version !== undefined) return version;
  throw new KmipError(
    "unsupportedProtocolVersion",
    `KMIP ${major}.${minor} is not supported; use one of ${versions.join(", ")}`,
    { version: nearest(major, minor) },
  );
}

/** The header of a message, which comes first, and its other items. */
export function messageParts(item: Item, tag: number, headerTag: number, name: string) {
  if (item.tag !== tag || item.type !== ItemType.Structure) {
    throw new KmipError("invalidMessage", `the message is not a ${name}`);
  }
  const [header, ...items] = item.value;
  if (header?.tag !== headerTag) {
    throw new KmipError("missingField", `a ${name} must begin with its header`);
  }
  return { header, items };
}

/** Refuses anything that is not a Batch Item. */
export function checkBatchItems(items: readonly Item[], version: Version, name: string): void {
  const other = items.find((item) => item.tag !== tags.BatchItem.tag);
  if (other !== undefined) throw unexpected(other, version, name);
}

/** The same fault, to be answered in `version`. */
export function faultIn(version: Version, error: unknown): unknown {
  if (!(error instanceof KmipError) || error.version !== undefined) return error;
  return new KmipError(error.fault, error.message, { cause: error.cause, version });
}
