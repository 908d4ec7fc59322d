import { badField, Refusal } from "@holdfast/server/key-protect-refusals";
import { type Answer, type Call, deleted, keyOf, noKey, noRing } from "./call.ts";
import { dateText, envelope } from "./render.ts";
import { type Key, nowMs, stateOf, type World } from "./world.ts";

const reserved = new Set(
  "allowed_ip key keys metadata policy policies registration registrations ring rings rotate wrap unwrap rewrap version versions".split(
    " ",
  ),
);
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Adds an alias to a key; a key has at most five, and each alias is unique. */
export function addAlias(world: World, key: Key, alias: string): void {
  const what = "Key alias could not be created";
  const sound = /^[A-Za-z0-9_-]{2,90}$/.test(alias) && !uuid.test(alias) && !reserved.has(alias);
  if (!sound) throw badField(what, "alias", "2 to 90 letters, digits, - or _; no UUID");
  if (world.keys.some(({ aliases }) => aliases.includes(alias))) {
    throw new Refusal(409, what, {
      code: "KEY_ALIAS_NOT_UNIQUE_ERR",
      message: "One or more aliases are already associated with a key in the instance",
    });
  }
  if (key.aliases.length >= 5) {
    throw new Refusal(409, what, {
      code: "KEY_ALIAS_QUOTA_ERR",
      message: "The key has reached the number of aliases it may have",
    });
  }
  key.aliases.push(alias);
}

export function createAlias(call: Call): Answer {
  const what = "Key alias could not be created";
  const key = keyOf(call, what);
  if (stateOf(call.world, key) === 5) throw deleted(what);
  const alias = call.path[1] ?? "";
  addAlias(call.world, key, alias);
  const { id } = key;
  const creationDate = dateText(nowMs(call.world));
  const resource = { keyId: id, alias, createdBy: call.caller.serviceId, creationDate };
  return { status: 201, body: envelope("alias", [resource]) };
}

export function deleteAlias(call: Call): Answer {
  const what = "Key alias could not be deleted";
  const key = keyOf(call, what);
  const at = key.aliases.indexOf(call.path[1] ?? "");
  if (at < 0) throw noKey(what);
  key.aliases.splice(at, 1);
  return { status: 204 };
}

export function listRings({ world }: Call): Answer {
  const rings = world.rings.map(({ id, createdMs, createdBy }) => ({
    id,
    creationDate: dateText(createdMs),
    createdBy,
  }));
  return { status: 200, body: envelope("key_ring", rings) };
}

export function createRing({ world, path, caller }: Call): Answer {
  const what = "Key ring could not be created";
  const [id = ""] = path;
  if (!/^[A-Za-z0-9-]{2,100}$/.test(id)) {
    throw badField(what, "key-ring-id", "2 to 100 letters, digits or -");
  }
  if (world.rings.some((ring) => ring.id === id)) {
    throw new Refusal(409, what, {
      code: "KEY_RING_NOT_UNIQUE_ERR",
      message: "A key ring with this id exists",
    });
  }
  if (world.rings.length >= 50) {
    throw new Refusal(409, what, {
      code: "KEY_RING_QUOTA_ERR",
      message: "The instance has reached the number of key rings it may have",
    });
  }
  world.rings.push({ id, createdMs: nowMs(world), createdBy: caller.serviceId });
  return { status: 201 };
}

/** Deletes a ring, which must be empty and not the default one. */
export function deleteRing({ world, path }: Call): Answer {
  const what = "Key ring could not be deleted";
  const [id = ""] = path;
  const at = world.rings.findIndex((ring) => ring.id === id);
  if (at < 0) throw noRing(id);
  const holds = world.keys.some(({ keyRing, state }) => keyRing === id && state !== 5);
  if (id === "default" || holds) {
    throw new Refusal(409, what, {
      code: "KEY_RING_KEYS_EXIST_ERR",
      message: "Please move or delete all keys of the key ring",
    });
  }
  world.rings.splice(at, 1);
  return { status: 204 };
}
