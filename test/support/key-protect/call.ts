import { timingSafeEqual } from "node:crypto";
import { Refusal } from "@holdfast/server/key-protect-refusals";
import { type ApiKey, type Key, nowMs, type Role, roles, stateOf, type World } from "./world.ts";

/** An authorised call. */
export interface Call {
  readonly world: World;
  /** The parameters in the path, in the order of the route. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Undefined without a body. */
  readonly body: unknown;
  readonly caller: ApiKey;
}

/** The body is sent as JSON; without one only the status is sent. */
export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One header, as text. */
export function headerOf({ headers }: Pick<Call, "headers">, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

/** The key in the path, by ID or alias, in the header's ring if it names one. */
export function keyOf(call: Call, what: string): Key {
  const { world, path } = call;
  const [name = ""] = path;
  const ring = headerOf(call, "x-kms-key-ring");
  if (ring !== undefined && !world.rings.some(({ id }) => id === ring)) throw noRing(ring);
  const found = world.keys.find(
    (key) => key.id === name || (key.state !== 5 && key.aliases.includes(name)),
  );
  if (found === undefined || (ring !== undefined && found.keyRing !== ring)) throw noKey(what);
  return found;
}

/** The same, but it must be a root key in one of these states. */
export function rootKeyOf(call: Call, what: string, states: readonly number[]): Key {
  const key = keyOf(call, what);
  const state = stateOf(call.world, key);
  if (state === 5) throw deleted(what);
  if (key.extractable) {
    throw new Refusal(400, what, {
      code: "KEY_ROOT_REQ_ERR",
      message: "Requested action can only be completed with a root key",
    });
  }
  if (!states.includes(state)) throw wrongState(what);
  return key;
}

export function noKey(what: string): Refusal {
  return new Refusal(404, what, { code: "KEY_NOT_FOUND_ERR", message: "Key does not exist" });
}

export function noRing(ring: string): Refusal {
  return new Refusal(404, "Key ring could not be found", {
    code: "KEY_RING_NOT_FOUND_ERR",
    message: `Key ring ${ring} does not exist`,
  });
}

export function deleted(what: string): Refusal {
  return new Refusal(410, what, {
    code: "KEY_DELETED_ERR",
    message: "Key has already been deleted: Please delete references to this key",
  });
}

export function wrongState(what: string): Refusal {
  return new Refusal(409, what, {
    code: "KEY_ACTION_INVALID_STATE_ERR",
    message: "Key is not in a valid state",
  });
}

export function tooEarly(what: string): Refusal {
  return new Refusal(409, what, {
    code: "REQ_TOO_EARLY_ERR",
    message: "The key was updated recently: Please wait and try again",
  });
}

/** The caller by its token; every refusal has the same text, as in the key manager. */
export function callerOf(
  world: World,
  headers: Call["headers"],
  tokens: { subject(token: string, atMs: number): string | undefined },
): ApiKey {
  const token = /^bearer (.+)$/i.exec(headerOf({ headers }, "authorization") ?? "")?.[1] ?? "";
  const subject = tokens.subject(token, nowMs(world));
  const caller = world.apiKeys.find(({ serviceId }) => serviceId === subject);
  const instance = headerOf({ headers }, "bluemix-instance") ?? "";
  if (caller === undefined || caller.role === "None" || !same(instance, world.instanceId)) {
    throw new Refusal(401, "The user does not have access to the specified resource");
  }
  return caller;
}

/** Whether a role includes the needed role. */
export function mayDo(role: Role, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed);
}

function same(one: string, other: string): boolean {
  return one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other));
}
