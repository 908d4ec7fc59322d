import { randomBytes } from "node:crypto";
import { badBody, badField, Refusal } from "@holdfast/server/key-protect-refusals";
import { type Answer, type Call, deleted, keyOf, rootKeyOf, tooEarly, wrongState } from "./call.ts";
import { base64Field, decrypt, encrypt, isNewest } from "./ciphertext.ts";
import { type Key, newestOf, newVersion, nowMs, stateOf } from "./world.ts";

const [active, deactivated] = [1, 3];
const weekMs = 7 * 86_400_000;

/** Wraps the given plaintext, or 32 new random bytes; only then the answer has the plaintext. */
export function wrap(call: Call): Answer {
  const what = "Wrap with key could not be performed";
  const key = rootKeyOf(call, what, [active]);
  const fields = bodyOf(call, what, ["plaintext", "aad"]);
  const given = fields?.["plaintext"];
  const plaintext =
    given === undefined
      ? randomBytes(32)
      : base64Field(what, "plaintext", given, "a base64 encoded key material");
  if (typeof given === "string" && given.length > 4096) {
    throw badField(what, "plaintext", "at most 4096 characters");
  }
  const version = newestOf(key);
  const ciphertext = encrypt(call.world, version, plaintext, aadOf(call, what, fields));
  const made = given === undefined && { plaintext: plaintext.toString("base64") };
  return { status: 200, body: { ...made, ciphertext, keyVersion: { id: version.id } } };
}

/** Unwraps; after a rotation the answer also has a ciphertext under the newest version. */
export function unwrap(call: Call): Answer {
  const what = "Unwrap with key could not be performed";
  const { key, plaintext, version, aad } = opened(call, what);
  const body = { plaintext: plaintext.toString("base64"), keyVersion: { id: version.id } };
  if (isNewest(key, version)) return { status: 200, body };
  const newest = newestOf(key);
  const ciphertext = encrypt(call.world, newest, plaintext, aad);
  return { status: 200, body: { ...body, ciphertext, rewrappedKeyVersion: { id: newest.id } } };
}

/** Wraps the content of a ciphertext under the newest version. */
export function rewrap(call: Call): Answer {
  const { key, plaintext, version, aad } = opened(call, "Rewrap with key could not be performed");
  const newest = newestOf(key);
  const ciphertext = encrypt(call.world, newest, plaintext, aad);
  const versions = { keyVersion: { id: version.id }, rewrappedKeyVersion: { id: newest.id } };
  return { status: 200, body: { ciphertext, ...versions } };
}

/** Makes a new version; an imported key needs new material, and other keys must not have it. */
export function rotate(call: Call): Answer {
  const what = "Action could not be performed on key";
  const { world } = call;
  const states = world.kind === "hpcs" ? [active] : [active, deactivated];
  const key = rootKeyOf(call, what, states);
  const payload = bodyOf(call, what, ["payload"])?.["payload"];
  if (key.imported && payload === undefined) {
    throw new Refusal(400, what, {
      code: "KEY_PAYLOAD_REQ_ERR",
      message:
        "This root key was created with user-supplied key material: Key material is required to perform a 'rotate' action",
      target: { type: "field", name: "payload" },
    });
  }
  if (!key.imported && payload !== undefined) {
    throw new Refusal(400, what, {
      code: "INVALID_QUERY_PARAM_ERR",
      message: "The query_param 'payload' must be: provided only if key is imported",
      target: { type: "query_param", name: "payload" },
    });
  }
  if (nowMs(world) < newestOf(key).createdMs + world.settings.rotationMs) {
    throw new Refusal(409, what, {
      code: "KEY_ROTATION_NOT_PERMITTED",
      message:
        "This root key has been rotated within the last hour: Only one 'rotate' action per hour is permitted",
    });
  }
  const material = payload === undefined ? undefined : rootMaterial(what, payload);
  addVersion(call.world, key, material);
  return { status: 204 };
}

/** Adds a version without checking the rules. */
export function addVersion(world: Call["world"], key: Key, material?: string): void {
  key.versions.push(newVersion(world, material));
  key.rotatedMs = nowMs(world);
}

/** Base64 of 16, 24 or 32 bytes. */
export function rootMaterial(what: string, payload: unknown): string {
  const must = "a base64 encoded key material";
  const bytes = base64Field(what, "payload", payload, must);
  if (![16, 24, 32].includes(bytes.length)) {
    throw badField(what, "payload", `${must} of 16, 24 or 32 bytes`);
  }
  return bytes.toString("base64");
}

export function disable(call: Call): Answer {
  return move(call, 1, 2, "Key is not in active state: Key could not be disabled");
}

export function enable(call: Call): Answer {
  return move(call, 2, 1, "Key is not in suspended state: Key could not be enabled");
}

/** The first half of a deletion that needs two people. */
export function setForDeletion(call: Call): Answer {
  const what = "Key could not be set for deletion";
  const key = dualAuthKey(call, what);
  key.setForDeletion = { by: call.caller.serviceId, untilMs: nowMs(call.world) + weekMs };
  return { status: 204 };
}

export function unsetForDeletion(call: Call): Answer {
  const key = dualAuthKey(call, "Key could not be unset for deletion");
  delete key.setForDeletion;
  return { status: 204 };
}

/** Does nothing: the stand-in has no registrations to notify. */
export function sync(call: Call): Answer {
  keyOf(call, "Key could not be synced");
  return { status: 204 };
}

/** The body, which must be an object with only these fields; undefined without a body. */
function bodyOf(
  { body }: Call,
  what: string,
  fields: readonly string[],
): Readonly<Record<string, unknown>> | undefined {
  if (body === undefined) return undefined;
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw badBody(
      what,
      "Invalid body data was passed. Please ensure the data passed is valid JSON",
    );
  }
  const unknown = Object.keys(body).find((name) => !fields.includes(name));
  if (unknown !== undefined) {
    throw badBody(what, `Invalid body data was passed: json: unknown field "${unknown}"`);
  }
  return body as Readonly<Record<string, unknown>>;
}

function opened(call: Call, what: string) {
  const key = rootKeyOf(call, what, [active, deactivated]);
  const fields = bodyOf(call, what, ["ciphertext", "aad"]);
  if (fields === undefined) {
    throw new Refusal(400, what, { code: "NO_BODY_ERR", message: "Missing body in request" });
  }
  const must = "the original base64 encoded ciphertext from the wrap operation";
  const text = fields["ciphertext"];
  if (typeof text !== "string" || text === "") throw badField(what, "ciphertext", must);
  const aad = aadOf(call, what, fields);
  return { key, aad, ...decrypt(call.world, key, text, aad) };
}

function aadOf(
  { world }: Call,
  what: string,
  fields: Readonly<Record<string, unknown>> | undefined,
): readonly string[] {
  const aad = fields?.["aad"];
  if (aad === undefined) return [];
  if (world.kind === "hpcs") throw badBody(what, 'json: unknown field "aad"');
  const sound =
    Array.isArray(aad) &&
    aad.length <= 126 &&
    aad.every((one) => typeof one === "string" && one.length <= 255);
  if (!sound) throw badField(what, "aad", "at most 126 texts of at most 255 characters");
  return aad;
}

function move(call: Call, from: 1 | 2, to: 1 | 2, wrong: string): Answer {
  const { world } = call;
  const key = rootKeyOf(call, wrong, [0, 1, 2, 3]);
  if (stateOf(world, key) !== from) throw wrongState(wrong);
  if (from === 2 && nowMs(world) < key.changedMs + world.settings.settleMs) {
    throw tooEarly("Key could not be enabled");
  }
  key.state = to;
  key.changedMs = nowMs(world);
  return { status: 204 };
}

function dualAuthKey(call: Call, what: string): Key {
  const key = keyOf(call, what);
  if (stateOf(call.world, key) === 5) throw deleted(what);
  if (!key.dualAuthDelete) {
    throw new Refusal(409, what, {
      code: "NOT_DUAL_AUTH_ERR",
      message: "The key is not dual auth enabled and cannot be set for deletion",
    });
  }
  return key;
}
