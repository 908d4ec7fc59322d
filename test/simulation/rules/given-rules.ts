import type { OwnStore } from "@holdfast/engine";
import type { Ears } from "./overheard.ts";
import type { Broken } from "./serving-rules.ts";

/**
 * What a node decides for its clients depends on which regions there are: each change and each reservation that it asks
 * its store for names their records, so that the store refuses it once one was retired or is back.
 */
export function givenEars(broken: Broken): Ears<OwnStore> {
  return {
    commit: (_instance, changes, _audit, options = {}) => {
      const { joined, given = [] } = options;
      if (changes.length === 0 || joined === true || given.length > 0) return undefined;
      broken("makes a change without the records of the regions that it was decided by");
      return undefined;
    },
    reserve: (_instance, _ids, _operation, given = []) => {
      if (given.length > 0) return undefined;
      broken("reserves without the records of the regions that it was decided by");
      return undefined;
    },
  };
}
