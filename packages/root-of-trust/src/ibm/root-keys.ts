import { type RootKey, RootOfTrustError, type RootOfTrustFailure } from "@holdfast/engine";
import { isRecord, type JsonRecord, textOf } from "./json.ts";
import type { KeyManagerClient } from "./key-manager-client.ts";

/** The API allows 5,000; 1,000 make a response of about one megabyte. */
const pageKeys = 1000;
/** HPCS allows 50,000 keys of all kinds; a longer list is a fault of the key manager. */
const mostPages = 200;

const dayMs = 86_400_000;

const stateNames: Readonly<Record<number, string>> = {
  0: "Pre-Active",
  1: "Active",
  2: "Suspended",
  3: "Deactivated",
  5: "Destroyed",
};

/** Every root key that the service ID can see, except destroyed ones: what Retrieve shows in the order form. */
export async function listRootKeys(
  client: Pick<KeyManagerClient, "call">,
): Promise<readonly RootKey[]> {
  const found = new Map<string, RootKey>();
  for (let page = 0; page < mostPages; page++) {
    const query = new URLSearchParams({
      extractable: "false",
      sort: "id",
      limit: String(pageKeys),
      offset: String(page * pageKeys),
    });
    const answer = await client.call({
      action: "list",
      about: "instance",
      method: "GET",
      path: `/keys?${query}`,
    });
    const keys = resourcesOf(answer);
    // A key created between two pages moves others to the next page, so remove duplicates by id.
    for (const key of keys.filter(isRootKey)) {
      const id = textOf(key, "id");
      if (id !== undefined) found.set(id, rootKeyOf(id, key));
    }
    if (keys.length < pageKeys) return [...found.values()];
  }
  const most = mostPages * pageKeys;
  throw new RootOfTrustError("unavailable", `the list of root keys is longer than ${most}`);
}

/** The only key in a response. */
export function keyOf(answer: JsonRecord): JsonRecord {
  const [key] = resourcesOf(answer);
  if (key !== undefined) return key;
  throw new RootOfTrustError("unavailable", "the answer holds no key");
}

/** The version that wraps now; the API of 2019 does not return one. */
export function currentVersionOf(key: JsonRecord): string {
  return textOf(key["keyVersion"], "id") ?? "1";
}

/** Why a key cannot serve an instance at all; undefined if it can. */
export function keyState(
  key: JsonRecord,
): { readonly failure: RootOfTrustFailure; readonly says: string } | undefined {
  const { state } = key;
  if (state === 5) return { failure: "gone", says: "the root key is deleted" };
  if (!isRootKey(key)) return { failure: "denied", says: "that key is a standard key" };
  if (state === 1 || isExpired(key)) return undefined;
  const name = typeof state === "number" ? stateNames[state] : undefined;
  return { failure: "disabled", says: `the root key is ${name ?? "in an unknown state"}` };
}

/** Deactivated: it still unwraps, so that an expiry date loses no key, but no longer wraps. */
export function isExpired({ state }: JsonRecord): boolean {
  return state === 3;
}

/** A warning if the root key has expired, or expires within 30 days. */
export function expiryWarning(key: JsonRecord, nowMs: number): string | undefined {
  const date = textOf(key, "expirationDate") ?? "";
  if (isExpired(key)) {
    return "the root key has expired: it still opens keys but wraps none; move its instances to another one";
  }
  const days = Math.floor((Date.parse(date) - nowMs) / dayMs);
  return days < 30
    ? `the root key expires in ${days} days (${date}); move its instances to another one before`
    : undefined;
}

function rootKeyOf(id: string, key: JsonRecord): RootKey {
  const state = typeof key["state"] === "number" ? key["state"] : -1;
  const aliases = Array.isArray(key["aliases"]) ? key["aliases"] : [];
  const keyRing = textOf(key, "keyRingID");
  const version = textOf(key["keyVersion"], "id");
  const createdMs = Date.parse(textOf(key, "creationDate") ?? "");
  return {
    id,
    name: textOf(key, "name") ?? "",
    aliases: aliases.filter((alias) => typeof alias === "string"),
    ...(keyRing !== undefined && { keyRing }),
    state: stateNames[state] ?? "Unknown",
    usable: state === 1,
    ...(version !== undefined && { currentVersion: version }),
    ...(!Number.isNaN(createdMs) && { createdMs }),
  };
}

/** A root key's material never leaves the key manager. */
function isRootKey(key: JsonRecord): boolean {
  return key["extractable"] === false;
}

function resourcesOf({ resources }: JsonRecord): readonly JsonRecord[] {
  return Array.isArray(resources) ? resources.filter(isRecord) : [];
}
