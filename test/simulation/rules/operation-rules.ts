import type { OwnStore } from "@holdfast/engine";
import type { RedisGroup } from "../store/redis-group.ts";
import type { Ears } from "./overheard.ts";
import type { Broken } from "./serving-rules.ts";

/** Redis → the agreed operations that were carried out in it. */
const carriedOut = new WeakMap<RedisGroup, Set<string>>();

/**
 * An operation that a store has carried out holds nothing in it any more: a request that comes late, through another
 * node, would hold the record until a leader ends that.
 */
export function operationEars(group: RedisGroup, broken: Broken): Ears<OwnStore> {
  const over = carriedOut.get(group) ?? new Set<string>();
  carriedOut.set(group, over);
  return {
    commit: (_instance, _changes, _audit, { operation } = {}) => {
      if (operation === undefined) return undefined;
      return {
        answered: ({ kind }) => {
          if (kind === "committed") over.add(operation);
        },
      };
    },
    reserve: (_instance, ids, operation) => ({
      answered: ({ kind }) => {
        if (kind !== "reserved" || !over.has(operation)) return;
        broken(`reserves ${ids.join()} for an operation that its store has carried out`);
      },
    }),
  };
}
