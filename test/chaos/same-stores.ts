import { allPartitions } from "../../packages/redis/src/connection/keys.ts";
import { headerAt, isReserved } from "../../packages/redis/src/connection/record-header.ts";
import type { RedisServer } from "../support/redis.ts";

/** Bytes of a tag, by which records are the same: the first ones of a record's digest. */
const tagLength = 16;
/** So many records are read with one command. */
const together = 500;
/** So many differences are told. */
const toldMax = 3;
/** A partition's digests: one for each first byte of an identifier. */
const firstBytes = 256;

/** A region's records of clients' objects, and what its store says of them. */
interface Records {
  /** Key of the record in hex → its tag. */
  readonly tags: ReadonlyMap<string, string>;
  /** What is wrong with this store alone. */
  readonly wrong: readonly string[];
}

/**
 * What is wrong with two regions' stores when nothing is under way any more: records that differ or are reserved, and
 * digests that are not those of the records. Nothing if the list is empty.
 */
export async function differences(a: RedisServer, b: RedisServer): Promise<readonly string[]> {
  const [one, other] = await Promise.all([recordsOf(a), recordsOf(b)]);
  const keys = [...new Set([...one.tags.keys(), ...other.tags.keys()])];
  const different = keys.filter((key) => one.tags.get(key) !== other.tags.get(key));
  const told = different.slice(0, toldMax).map((key) => {
    const identifier = key.slice(-2 * tagLength);
    return `record ${identifier}: tag ${one.tags.get(key) ?? "none"} in region a, ${other.tags.get(key) ?? "none"} in region b`;
  });
  const more = different.length > toldMax ? [`${different.length} records differ`] : [];
  const wrongIn = (region: string, wrong: readonly string[]) =>
    wrong.slice(0, toldMax).map((line) => `region ${region}: ${line}`);
  return [...told, ...more, ...wrongIn("a", one.wrong), ...wrongIn("b", other.wrong)];
}

async function recordsOf(redis: RedisServer): Promise<Records> {
  const tags = new Map<string, string>();
  const wrong: string[] = [];
  for (const keys of allPartitions.filter(({ prefix }) => prefix.startsWith("{p"))) {
    const { digests, prefix, record, reserved } = keys;
    const expected = Buffer.alloc(firstBytes * tagLength);
    for await (const [key, value] of valuesOf(redis, `${record}*`)) {
      const tag = value.subarray(headerAt.digest, headerAt.digest + tagLength);
      const identifier = key.subarray(record.length);
      tags.set(key.toString("hex"), tag.toString("hex"));
      mix(expected, identifier[0] ?? 0, tag);
      if (isReserved(value)) wrong.push(`record ${identifier.toString("hex")} is reserved`);
    }
    const kept = Buffer.alloc(expected.length);
    const [found] = await redis.buffers("mget", digests);
    found?.copy(kept);
    if (!kept.equals(expected)) wrong.push(`the digests of ${prefix} are not those of its records`);
    const held = Number(await redis.command("hlen", reserved));
    if (held > 0) wrong.push(`${held} reservations in ${prefix}`);
  }
  return { tags, wrong };
}

async function* valuesOf(
  redis: RedisServer,
  pattern: string,
): AsyncGenerator<readonly [key: Buffer, value: Buffer]> {
  const keys = await redis.buffers("keys", pattern);
  for (let at = 0; at < keys.length; at += together) {
    const some = keys.slice(at, at + together);
    const values = (await redis.buffers("mget", ...some)) as readonly (Buffer | null)[];
    for (const [place, key] of some.entries()) {
      const value = values[place];
      if (value !== null && value !== undefined) yield [key, value];
    }
  }
}

/** Changes the digest of a first byte by a tag. */
function mix(digests: Buffer, first: number, tag: Buffer): void {
  for (const [at, byte] of tag.entries()) {
    const place = first * tagLength + at;
    digests[place] = (digests[place] ?? 0) ^ byte;
  }
}
