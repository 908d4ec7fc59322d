import type { ManagedObject } from "@holdfast/engine";
import { kinds, type Wish } from "./client.ts";
import { type Acknowledged, contains } from "./ledger.ts";
import type { World } from "./world.ts";

/** What was promised to a client by the answer "done". */
export class Acknowledgements {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** An "already done" promises as much as the change that did it. */
  already(object: ManagedObject, store: string): Acknowledged {
    const regions = new Set([...this.#world.durability.of(object), store]);
    return this.#known("state", object, regions);
  }

  /** A change that was made for a wish. */
  of(wish: Wish, object: ManagedObject): Acknowledged {
    const { durability, groups, record } = this.#world;
    const regions = new Set(durability.of(object));
    // A region that already has it by another way does not report it.
    const change = this.#change("state", object, regions);
    for (const { region } of wish.kind === "destroy" ? groups : []) {
      if (contains(record(region, change.id), change)) regions.add(region);
    }
    return this.#known(kinds[wish.kind] ?? "state", object, regions);
  }

  #change(kind: Acknowledged["kind"], object: ManagedObject, regions: Set<string>): Acknowledged {
    const { groups, scheduler } = this.#world;
    const shared = regions.size === groups.length;
    const id = object.uniqueIdentifier;
    return { kind, id, atMs: scheduler.nowMs, object, regions, shared, lost: false };
  }

  /** A change that these regions had; without a region that has lost it since. */
  #known(kind: Acknowledged["kind"], object: ManagedObject, regions: Set<string>): Acknowledged {
    const change = this.#change(kind, object, regions);
    const { id, shared } = change;
    // What a store made just before it was lost may be acknowledged afterwards.
    for (const region of [...regions]) {
      const { losses } = this.#world.group(region);
      const gone = losses > 0 && !contains(this.#world.record(region, id), change);
      if (gone && !shared) regions.delete(region);
    }
    return { ...this.#change(kind, object, regions), lost: regions.size === 0 };
  }
}
