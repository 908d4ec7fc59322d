import { randomUUID } from "node:crypto";
import { badBody, badField, Refusal } from "@holdfast/server/key-protect-refusals";
import { rootMaterial } from "./actions.ts";
import { type Answer, type Call, deleted, headerOf, keyOf, noRing, tooEarly } from "./call.ts";
import { base64Field } from "./ciphertext.ts";
import { envelope, keyText, versionText } from "./render.ts";
import { addAlias } from "./rings.ts";
import { pageOf } from "./search.ts";
import { type Key, newVersion, nowMs, stateOf, type World } from "./world.ts";

const dayMs = 86_400_000;
const createFields = [
  "type",
  "name",
  "aliases",
  "description",
  "expirationDate",
  "payload",
  "extractable",
  "tags",
];

/** The number of keys, in a header. */
export function headKeys(call: Call): Answer {
  const { total } = pageOf(call);
  return { status: 200, headers: { "key-total": String(total) } };
}

/** A page of keys; destroyed ones only if the query asks for them. */
export function listKeys(call: Call): Answer {
  const { keys, total } = pageOf(call);
  const asked = call.query.get("totalCount") === "true" && { totalCount: total };
  const texts = keys.map((key) => keyText(call.world, key));
  return { status: 200, body: envelope("key", texts, asked || {}) };
}

/** Makes one key. */
export function createKey(call: Call): Answer {
  const { world, caller } = call;
  const what = "Key could not be created";
  const fields = resourceOf(call, what);
  const ring = headerOf(call, "x-kms-key-ring") ?? "default";
  if (!world.rings.some(({ id }) => id === ring)) throw noRing(ring);
  const key = keyFrom(world, fields, { ring, by: caller.serviceId });
  world.keys.push(key);
  try {
    const aliases = Array.isArray(fields["aliases"]) ? fields["aliases"] : [];
    for (const alias of aliases) addAlias(world, key, String(alias));
  } catch (error) {
    world.keys.pop();
    throw error;
  }
  if (headerOf(call, "prefer") === "return=minimal") {
    const { id, name, crn, state, extractable, type } = keyText(world, key);
    return { status: 201, body: envelope("key", [{ type, id, name, crn, state, extractable }]) };
  }
  return { status: 201, body: envelope("key", [keyText(world, key)]) };
}

/** A key, with the payload of a standard one. */
export function getKey(call: Call): Answer {
  const key = keyOf(call, "Key could not be retrieved");
  const payload = key.payload !== undefined && key.state !== 5 && { payload: key.payload };
  return { status: 200, body: envelope("key", [{ ...keyText(call.world, key), ...payload }]) };
}

export function getMetadata(call: Call): Answer {
  const key = keyOf(call, "Key metadata could not be retrieved");
  return { status: 200, body: envelope("key", [keyText(call.world, key)]) };
}

/** Moves a key to another ring. */
export function patchKey(call: Call): Answer {
  const what = "Key could not be updated";
  const key = keyOf(call, what);
  const ring = (call.body as { keyRingID?: unknown } | undefined)?.keyRingID;
  if (typeof ring !== "string") throw badField(what, "keyRingID", "the id of a key ring");
  if (!call.world.rings.some(({ id }) => id === ring)) throw noRing(ring);
  key.keyRing = ring;
  return { status: 200, body: envelope("key", [keyText(call.world, key)]) };
}

/** Destroys a key, which can be restored for 30 days. */
export function deleteKey(call: Call): Answer {
  const { world, caller } = call;
  const what = "Key could not be deleted";
  const key = keyOf(call, what);
  if (stateOf(world, key) === 5) throw deleted(what);
  const set = key.setForDeletion;
  const agreed = set !== undefined && set.by !== caller.serviceId && set.untilMs > nowMs(world);
  if (key.dualAuthDelete && !agreed) {
    throw new Refusal(409, `1 prior authorization(s) are required for deletion: ${what}`, {
      code: "AUTHORIZATIONS_NOT_MET",
      message: "Number of authorizations required to delete is not met",
    });
  }
  destroy(world, key, caller.serviceId);
  if (headerOf(call, "prefer") !== "return=representation") return { status: 204 };
  return { status: 200, body: envelope("key", [keyText(world, key)]) };
}

/** Destroys a key without checking the rules. */
export function destroy(world: World, key: Key, by: string): void {
  key.state = 5;
  key.deletedMs = nowMs(world);
  key.changedMs = nowMs(world);
  key.deletedBy = by;
  key.aliases = [];
}

/** Restores a destroyed root key. */
export function restoreKey(call: Call): Answer {
  const { world } = call;
  const what = "Key could not be restored";
  const key = keyOf(call, what);
  const deletedMs = key.deletedMs;
  if (key.state !== 5 || deletedMs === undefined || key.extractable) {
    throw new Refusal(409, what, {
      code: "KEY_ACTION_INVALID_STATE_ERR",
      message: "Key is not in a valid state",
    });
  }
  if (nowMs(world) < key.changedMs + world.settings.settleMs) throw tooEarly(what);
  if (nowMs(world) > deletedMs + 30 * dayMs) {
    throw new Refusal(400, what, {
      code: "KEY_RESTORE_EXPIRED",
      message: "The key can no longer be restored",
    });
  }
  if (key.expiresMs !== undefined && key.expiresMs <= nowMs(world)) {
    throw new Refusal(400, what, { code: "KEY_EXPIRED_ERR", message: "The key has expired" });
  }
  key.state = 1;
  key.changedMs = nowMs(world);
  delete key.deletedMs;
  delete key.deletedBy;
  return { status: 201, body: envelope("key", [keyText(world, key)]) };
}

/** Removes a destroyed key for good. */
export function purgeKey(call: Call): Answer {
  const { world } = call;
  const what = "Key could not be purged";
  const key = keyOf(call, what);
  if (key.state !== 5 || key.deletedMs === undefined) {
    throw new Refusal(409, what, {
      code: "KEY_ACTION_INVALID_STATE_ERR",
      message: "Key is not in a valid state",
    });
  }
  if (nowMs(world) < key.deletedMs + world.settings.purgeMs) throw tooEarly(what);
  world.keys.splice(world.keys.indexOf(key), 1);
  if (headerOf(call, "prefer") !== "return=representation") return { status: 204 };
  return { status: 200, body: envelope("key", [keyText(world, key)]) };
}

/** Versions of a root key, newest first. */
export function listVersions(call: Call): Answer {
  const { world, query } = call;
  const key = keyOf(call, "Key versions could not be retrieved");
  if (stateOf(world, key) !== 1 && query.get("allKeyStates") !== "true") {
    throw new Refusal(409, "Key versions could not be retrieved", {
      code: "KEY_ACTION_INVALID_STATE_ERR",
      message: "Key is not in a valid state",
    });
  }
  const [limit, offset] = [Number(query.get("limit") ?? 200), Number(query.get("offset") ?? 0)];
  const page = key.versions.toReversed().slice(offset, offset + limit);
  const asked = query.get("totalCount") === "true" && { totalCount: key.versions.length };
  return { status: 200, body: envelope("key.version", page.map(versionText), asked || {}) };
}

/** A key from the fields of a request. */
export function keyFrom(
  world: World,
  fields: Readonly<Record<string, unknown>>,
  { ring, by }: { readonly ring: string; readonly by: string },
): Key {
  const what = "Key could not be created";
  const { expirationDate, payload } = fields;
  const name = textField(fields, "name", 90) ?? "";
  const description = textField(fields, "description", 240);
  // A key without this field is a standard key, as with IBM.
  const extractable = fields["extractable"] !== false;
  const expiresMs = expirationDate === undefined ? undefined : Date.parse(String(expirationDate));
  if (expiresMs !== undefined && !(expiresMs > nowMs(world))) {
    throw badField(what, "expirationDate", "a date in the future");
  }
  const material = payload === undefined || extractable ? undefined : rootMaterial(what, payload);
  if (extractable && payload !== undefined) {
    base64Field(what, "payload", payload, "a base64 encoded key material");
  }
  const first = newVersion(world, material);
  return {
    id: randomUUID(),
    name,
    ...(description !== undefined && { description }),
    extractable,
    imported: payload !== undefined,
    createdMs: first.createdMs,
    createdBy: by,
    ...(extractable && { payload: payload === undefined ? first.material : String(payload) }),
    ...(expiresMs !== undefined && { expiresMs }),
    keyRing: ring,
    aliases: [],
    state: 1,
    changedMs: first.createdMs,
    versions: extractable ? [] : [first],
    dualAuthDelete: dualAuthPolicy(world),
  };
}

function textField(
  fields: Readonly<Record<string, unknown>>,
  name: "name" | "description",
  most: number,
): string | undefined {
  const value = fields[name];
  if (value === undefined && name !== "name") return undefined;
  if (typeof value === "string" && value.length >= 2 && value.length <= most) return value;
  throw badField("Key could not be created", name, `2 to ${most} characters`);
}

function dualAuthPolicy(world: World): boolean {
  const policy = world.policies.find((one) => one["policy_type"] === "dualAuthDelete");
  return (policy?.["policy_data"] as { enabled?: boolean } | undefined)?.enabled === true;
}

/** The single resource of a request's envelope. */
function resourceOf({ body }: Call, what: string): Readonly<Record<string, unknown>> {
  if (body === undefined) {
    throw new Refusal(400, what, { code: "NO_BODY_ERR", message: "Missing body in request" });
  }
  const { metadata, resources } = body as {
    metadata?: { collectionType?: string; collectionTotal?: number };
    resources?: Record<string, unknown>[];
  };
  if (metadata?.collectionType === undefined) {
    throw badBody(what, "Invalid body data was passed: CollectionMetadata is empty");
  }
  const [resource, ...others] = resources ?? [];
  if (metadata.collectionTotal !== resources?.length) {
    throw new Refusal(400, what, {
      code: "COLLECTION_TOTAL_MISMATCH_ERR",
      message: "Collection total does not match number of resources",
    });
  }
  if (resource === undefined || others.length > 0) {
    throw badBody(what, "Invalid body data was passed: only one key may be created per request");
  }
  const unknown = Object.keys(resource).find((name) => !createFields.includes(name));
  if (unknown !== undefined) throw badBody(what, `json: unknown field "${unknown}"`);
  return resource;
}
