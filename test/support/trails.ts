import type { RedisServer } from "./redis.ts";

/** A trail in a region's store: the numbers of its last entry and of the last one that was given up. */
export interface Trail {
  readonly keys: string;
  readonly last: number;
  readonly gone: number;
}

/** All trails of a store. */
export async function trailsIn(primary: RedisServer): Promise<readonly Trail[]> {
  const found = ["{p*}:counters", "{p*}:shares"].map((keys) => primary.command("keys", keys));
  const names = (await Promise.all(found)).flat() as string[];
  const read = names.map(async (keys): Promise<Trail> => {
    const told = primary.command("hmget", keys, "audit", "auditDropped");
    const [last, gone] = (await told) as (string | null)[];
    return { keys, last: Number(last ?? 0), gone: Number(gone ?? 0) };
  });
  return Promise.all(read);
}
