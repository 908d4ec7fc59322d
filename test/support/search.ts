import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RedisServer } from "./redis.ts";

/** A place to search: its name and all of its bytes. */
export interface Haystack {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Every form in which bytes could have been written. */
function formsOf(secret: Uint8Array): ReadonlyMap<string, Buffer> {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString("hex");
  const forms = new Map([
    ["raw", bytes],
    ["hex", Buffer.from(hex)],
    ["HEX", Buffer.from(hex.toUpperCase())],
    ["a list of numbers", Buffer.from([...bytes].join(","))],
    ["a spaced list of numbers", Buffer.from([...bytes].join(", "))],
    ["backwards", Buffer.from(bytes).reverse()],
  ]);
  // Inside a longer base64 text, bytes may begin at one of three positions.
  for (const skip of [0, 1, 2]) {
    const whole = bytes.subarray(skip, skip + 3 * Math.floor((bytes.length - skip) / 3));
    forms.set(`base64 +${skip}`, Buffer.from(whole.toString("base64")));
    forms.set(`base64url +${skip}`, Buffer.from(whole.toString("base64url")));
  }
  return forms;
}

/** `place: form of secret` for every match. */
export function findSecrets(
  haystacks: readonly Haystack[],
  secrets: ReadonlyMap<string, Uint8Array>,
): string[] {
  return [...secrets].flatMap(([name, secret]) =>
    [...formsOf(secret)].flatMap(([form, needle]) =>
      haystacks
        .filter(({ bytes }) => bytes.includes(needle))
        .map((haystack) => `${haystack.name}: ${form} of ${name}`),
    ),
  );
}

/** All data of a Redis: the files in its directory, and the value of every key of any type. */
export async function haystacksOf(redis: RedisServer): Promise<Haystack[]> {
  const files = readdirSync(redis.directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ name: path, bytes: readFileSync(path) }));
  const values: Buffer[] = [];
  for (const key of await redis.buffers("keys", "*")) {
    values.push(key);
    for (const [command, ...args] of readsOf(String(await redis.command("type", key)))) {
      values.push(...flatten(await redis.buffers(command, key, ...args)));
    }
  }
  return [...files, { name: `keys of ${redis.address}`, bytes: Buffer.concat(values) }];
}

/** The commands that read all data of a key. */
function readsOf(type: string): readonly (readonly [string, ...(string | number)[]])[] {
  switch (type) {
    case "string":
      return [["mget"]];
    case "hash":
      return [["hkeys"], ["hvals"]];
    case "zset":
      return [["zrange", 0, -1]];
    case "set":
      return [["smembers"]];
    case "stream":
      return [["xrange", "-", "+"]];
    case "none":
      // A lock, for example, that has ended since the list was made.
      return [];
    default:
      throw new Error(`a key of type ${type}`);
  }
}

function flatten(value: unknown): Buffer[] {
  // The key has ended since its type was read.
  if (value === null) return [];
  if (Array.isArray(value)) return value.flatMap(flatten);
  if (Buffer.isBuffer(value)) return [value];
  throw new TypeError("neither bytes nor a list of them");
}
