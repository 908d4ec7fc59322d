import { type ManagedObject, recordTag } from "@holdfast/engine";
import { joinKeepingSeals } from "@holdfast/regions";
import { bytesOf, lookAt } from "../look.ts";
import type { RedisGroup } from "../store/redis-group.ts";

/** Whether a store has at least what a record has; undefined where nobody can tell. */
export type Has = (object: ManagedObject) => boolean | undefined;

/** What a region's store has, asked some time later: a store that was lost meanwhile need not have it. */
export function storedIn(group: Pick<RedisGroup, "losses" | "primary">): Has {
  const { losses } = group;
  return (object) => {
    const { instance, uniqueIdentifier } = object;
    if (group.losses !== losses) return undefined;
    const found = lookAt(group.primary, instance, uniqueIdentifier);
    if (found === undefined) {
      // Of the next format, or damaged.
      const isThere = bytesOf(group.primary, instance, uniqueIdentifier) !== undefined;
      return isThere ? undefined : false;
    }
    if (found.tag === recordTag(object)) return true;
    const outcome = joinKeepingSeals(found.object, object);
    return outcome.kind === "conflict" ? undefined : recordTag(outcome.object) === found.tag;
  };
}
