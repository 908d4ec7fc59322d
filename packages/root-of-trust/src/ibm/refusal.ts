import { RootOfTrustError, type RootOfTrustFailure, SealBroken } from "@holdfast/engine";
import { isRecord, parseJson } from "./json.ts";

/**
 * What a call is about. A refusal can mean that the root key is disabled or gone only if the call names the root key, and
 * that a wrapped key is broken only if the call sends one.
 */
export type Subject = "ciphertext" | "key" | "instance";

/** An unsuccessful response. */
export interface Refused {
  readonly status: number;
  /** `reasons[0].code`; the API of 2019, and every 401, has none. */
  readonly code?: string;
  /** Whether the key manager itself answered, and not a proxy or another server in its place. */
  readonly genuine: boolean;
}

/** `broken`: this root key did not wrap the wrapped key. */
type Meaning = RootOfTrustFailure | "broken";

const byCode: ReadonlyMap<string, readonly [Meaning, string]> = new Map([
  ["KEY_NOT_FOUND_ERR", ["gone", "the root key does not exist, or is not in that key ring"]],
  ["KEY_RING_NOT_FOUND_ERR", ["gone", "the root key's key ring does not exist"]],
  ["KEY_DELETED_ERR", ["gone", "the root key is deleted; IBM restores it within 30 days"]],
  ["KEY_ACTION_INVALID_STATE_ERR", ["disabled", "the root key is not active; enable it"]],
  ["KEY_INVALID_STATE_ERR", ["disabled", "the root key is not active; enable it"]],
  ["KEY_EXPIRED_ERR", ["disabled", "the root key has expired"]],
  ["KEY_ROOT_REQ_ERR", ["denied", "that key is a standard key; name a root key"]],
  ["KEY_ROOT_REQ_REG_ERR", ["denied", "that key is a standard key; name a root key"]],
  ["BEARER_SUB_EXTRACTION_ERR", ["denied", "the token has no subject"]],
  ["UNPROCESSABLE_CIPHERTEXT_ERR", ["broken", "this root key did not wrap it"]],
  ["KEY_VERSION_INVALID", ["broken", "no version of this root key wrapped it"]],
  ["INVALID_FIELD_ERR", ["broken", "it is not a wrapped key"]],
] as const);

const byStatus: ReadonlyMap<number, readonly [Meaning, string]> = new Map([
  [401, ["denied", "the service ID has no access to the instance"]],
  [403, ["denied", "the service ID may not do this"]],
  [404, ["gone", "the root key does not exist"]],
  [409, ["disabled", "the root key is not active"]],
  [410, ["gone", "the root key is deleted"]],
  [422, ["broken", "this root key did not wrap it"]],
] as const);

/** Whether the failure is temporary, so that the same call may succeed soon. */
export function isPassing({ status, code }: Refused): boolean {
  if (code === "INCOMPLETE_METADATA_ERR") return false;
  return status === 429 || (status >= 500 && status !== 501);
}

/** Reads an unsuccessful response. Only its status and code matter, never its text. */
export function readRefusal(status: number, body: string): Refused {
  const content = parseJson(body);
  const [resource] =
    isRecord(content) && Array.isArray(content["resources"]) ? content["resources"] : [];
  if (!isRecord(resource)) return { status, genuine: false };
  const [reason] = Array.isArray(resource["reasons"]) ? resource["reasons"] : [];
  const code: unknown = isRecord(reason) ? reason["code"] : undefined;
  const genuine = typeof resource["errorMsg"] === "string" || typeof code === "string";
  return { status, genuine, ...(typeof code === "string" && { code: code.slice(0, 80) }) };
}

/** The error for a refusal. `where` names the call and contains no secret. */
export function errorOf(refused: Refused, subject: Subject, where: string): Error {
  const { status, code } = refused;
  const [meaning, says] = meaningOf(refused, subject);
  const message = `${where}: ${says} (${[status, code].filter(Boolean).join(" ")})`;
  if (meaning === "broken") return new SealBroken(message);
  return new RootOfTrustError(meaning, message);
}

function meaningOf(refused: Refused, subject: Subject): readonly [Meaning, string] {
  const { status, code, genuine } = refused;
  const found = byCode.get(code ?? "") ?? byStatus.get(status);
  if (found === undefined || isPassing(refused)) return ["unavailable", "it is not available now"];
  // Another server's answer must not close all keys of an instance. Denied access is always reported as such.
  if (found[0] !== "denied" && !genuine) {
    return ["unavailable", "something else answers in its place; check the host name"];
  }
  const misses = found[0] === "broken" ? subject !== "ciphertext" : subject === "instance";
  if (found[0] !== "denied" && misses) return ["unavailable", "it does not accept the call"];
  return found;
}
