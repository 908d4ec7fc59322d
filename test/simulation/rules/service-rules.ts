import type { OwnStore } from "@holdfast/engine";
import type { PeerStore } from "@holdfast/regions";
import type { RedisGroup } from "../store/redis-group.ts";
import type { Ears } from "./overheard.ts";
import type { Broken } from "./serving-rules.ts";
import { storedIn } from "./stored.ts";

/** What a node may say to the other region. */
export class ServiceRules {
  readonly #broken: Broken;
  readonly #own: Pick<OwnStore, "state">;
  /** How often the lease has changed. */
  #leases = 0;

  constructor(own: Pick<OwnStore, "onState" | "state">, broken: Broken) {
    this.#broken = broken;
    this.#own = own;
    own.onState(() => {
      this.#leases += 1;
    });
  }

  /** Hears what the node answers, which uses this Redis. */
  ears(group: RedisGroup): Ears<PeerStore> {
    return {
      hello: () => {
        const leases = this.#leases;
        const isOut = this.#own.state() === "none";
        return {
          answered: ({ storeId }) => {
            if (storeId === "" || !isOut || leases !== this.#leases) return;
            this.#broken("names a store that it may not use, to the other region");
          },
        };
      },
      push: (objects) => {
        const has = storedIn(group);
        return {
          answered: (outcomes) => {
            const kept = objects.filter((_, at) => outcomes[at] === "durable");
            const lacking = kept.find((object) => has(object) === false);
            if (lacking === undefined) return;
            this.#broken(`says that its store has all of ${lacking.uniqueIdentifier}`);
          },
        };
      },
    };
  }
}
