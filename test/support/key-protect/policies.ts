import { generateKeyPairSync, randomBytes } from "node:crypto";
import { badBody, badField, Refusal } from "@holdfast/server/key-protect-refusals";
import { type Answer, type Call, deleted, keyOf } from "./call.ts";
import { crnOf, dateText, envelope, mediaType } from "./render.ts";
import { type Key, nowMs, stateOf, type World } from "./world.ts";

/** Policies of a key: who must agree to its deletion, and how often it is rotated. */
export function getPolicies(call: Call): Answer {
  const key = keyOf(call, "Key policies could not be retrieved");
  return { status: 200, body: envelope("policy", policiesOf(call, key)) };
}

/** Sets policies; a deletion policy of two people cannot be changed back to one. */
export function putPolicies(call: Call): Answer {
  const what = "Key policies could not be updated";
  const key = keyOf(call, what);
  if (stateOf(call.world, key) === 5) throw deleted(what);
  const resources = (call.body as { resources?: PolicyResource[] } | undefined)?.resources;
  if (resources === undefined) throw badBody(what, "CollectionMetadata is empty");
  for (const { dualAuthDelete, rotation } of resources) {
    if (dualAuthDelete?.enabled === true) key.dualAuthDelete = true;
    if (rotation !== undefined) key.rotationMonths = monthsOf(what, rotation);
  }
  return { status: 200, body: envelope("policy", policiesOf(call, key)) };
}

interface PolicyResource {
  readonly dualAuthDelete?: { readonly enabled?: boolean };
  readonly rotation?: { readonly enabled?: boolean; readonly interval_month?: number };
}

function monthsOf(what: string, { interval_month: months }: { interval_month?: number }): number {
  if (months === undefined || !Number.isInteger(months) || months < 1 || months > 12) {
    throw badField(what, "interval_month", "1 to 12");
  }
  return months;
}

function policiesOf({ world, query }: Call, key: Key) {
  const asked = query.get("policy");
  const common = {
    type: mediaType("policy"),
    crn: crnOf(world, key.id),
    createdBy: key.createdBy,
    creationDate: dateText(key.createdMs),
  };
  const dual = { ...common, dualAuthDelete: { enabled: key.dualAuthDelete } };
  const months = key.rotationMonths;
  const rotation =
    months === undefined
      ? []
      : [{ ...common, rotation: { enabled: true, interval_month: months } }];
  if (asked === "dualAuthDelete") return [dual];
  return asked === "rotation" ? rotation : [dual, ...rotation];
}

/** Policies of the instance; existing keys keep theirs. */
export function getInstancePolicies({ world, query }: Call): Answer {
  const asked = query.get("policy");
  const found = world.policies.filter((one) => asked === null || one["policy_type"] === asked);
  return { status: 200, body: envelope("policy", found) };
}

export function putInstancePolicies({ world, query, body }: Call): Answer {
  const what = "Instance policies could not be updated";
  const resources = (body as { resources?: Record<string, unknown>[] } | undefined)?.resources;
  if (resources === undefined) throw badBody(what, "CollectionMetadata is empty");
  const asked = query.get("policy");
  if (asked !== null && resources.length !== 1) {
    throw new Refusal(400, what, {
      code: "NUM_COLLECTION_RESOURCE_ERR",
      message: "Only a single instance policy may be created per query parameter",
    });
  }
  if (asked !== null && resources[0]?.["policy_type"] !== asked) {
    throw new Refusal(400, what, {
      code: "BODY_QUERY_PARAM_MISMATCH_ERR",
      message: "Data in body does not match data required by query parameter",
    });
  }
  for (const resource of resources) {
    const others = world.policies.filter((one) => one["policy_type"] !== resource["policy_type"]);
    world.policies = [...others, resource];
  }
  return { status: 204 };
}

export function allowedIpPort(): Answer {
  return { status: 200, body: envelope("allowed_ip_metadata", [{ private_endpoint_port: 443 }]) };
}

/** Lists no registrations: nothing registers with a key here. */
export function listRegistrations(call: Call): Answer {
  if (call.path.length > 0) keyOf(call, "Registrations could not be retrieved");
  return { status: 200, body: envelope("registration", []) };
}

/** Makes a key pair for the encryption of imported material. */
export function postImportToken({ world, body }: Call): Answer {
  const what = "Import token could not be created";
  const asked = (body ?? {}) as { expiration?: number; maxAllowedRetrievals?: number };
  const [seconds, allowed] = [asked.expiration ?? 600, asked.maxAllowedRetrievals ?? 1];
  if (!(seconds >= 300 && seconds <= 86_400)) throw badField(what, "expiration", "300 to 86400");
  if (!(allowed >= 1 && allowed <= 500)) throw badField(what, "maxAllowedRetrievals", "1 to 500");
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const createdMs = nowMs(world);
  world.importToken = {
    createdMs,
    untilMs: createdMs + seconds * 1000,
    allowed,
    remaining: allowed,
    privateKey,
    publicKey,
    nonce: randomBytes(12).toString("base64"),
  };
  return { status: 200, body: importTokenText(world) };
}

export function getImportToken({ world }: Call): Answer {
  const token = world.importToken;
  if (token === undefined || token.untilMs <= nowMs(world) || token.remaining <= 0) {
    throw new Refusal(409, "Import token could not be retrieved", {
      code: "IMPORT_TOKEN_EXPIRED_ERR",
      message: "The import token has expired",
    });
  }
  token.remaining -= 1;
  const payload = Buffer.from(token.publicKey).toString("base64");
  return { status: 200, body: { ...importTokenText(world), payload, nonce: token.nonce } };
}

function importTokenText({ importToken: token }: World) {
  return {
    creationDate: dateText(token?.createdMs ?? 0),
    expirationDate: dateText(token?.untilMs ?? 0),
    maxAllowedRetrievals: token?.allowed,
    remainingRetrievals: token?.remaining,
  };
}
