import type { Event } from "@holdfast/engine";
import { describe, Violation } from "./checker.ts";
import { instance } from "./client.ts";
import { type Acknowledged, contains } from "./ledger.ts";
import { bytesOf } from "./look.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** By then a node has noticed that its store was lost: with the next marker, if the processes run on. */
export const noticedMs = 1_000;

/** Checks that a node which serves from its region's store as a level one finds everything there. */
export class LevelChecker {
  readonly #world: World;
  /** Process → since when it has a full lease. */
  readonly #leasedMs = new WeakMap<object, number>();
  /** Process → since when it serves from a store that it takes for level. */
  readonly #levelMs = new WeakMap<object, number>();

  constructor(world: World) {
    this.#world = world;
  }

  event(name: string, event: Event): void {
    const node = this.#world.nodes.find(({ machine }) => machine.name === name);
    const life = node?.machine.life;
    if (node === undefined || life === undefined) return;
    const nowMs = this.#world.scheduler.nowMs;
    if (event.type === "lease") {
      if (event.state !== "full") this.#leasedMs.delete(life);
      else if (!this.#leasedMs.has(life)) this.#leasedMs.set(life, nowMs);
    }
    if (event.type !== "serving") return;
    this.#levelMs.delete(life);
    if (event.from !== "local" || event.reason !== "own store") return;
    this.#levelMs.set(life, nowMs);
    // The event of a lease that has just begun comes a moment later.
    this.#requireAll(node, this.#leasedMs.get(life) ?? nowMs);
  }

  /** A node has acknowledged a change. If it took its store for level all the time, the store has it. */
  acknowledged(node: SimNode, askedMs: number, change: Acknowledged): void {
    const { life } = node.machine;
    const sinceMs = life && this.#levelMs.get(life);
    if (sinceMs === undefined || sinceMs > askedMs || !this.#lacks(node.region, change)) return;
    const who = `${node.machine.name} takes its store for level, which lacks what it acknowledged`;
    throw new Violation(`${who}: ${describe(change)}`);
  }

  /** What was acknowledged before its lease began is there: it was asked for after that. */
  #requireAll({ region, machine }: SimNode, leasedMs: number): void {
    for (const change of this.#world.checker.kept) {
      if (change.atMs >= leasedMs || !this.#lacks(region, change)) continue;
      throw new Violation(
        `${machine.name} takes its store for level, which lacks ${describe(change)}`,
      );
    }
  }

  #lacks(region: string, change: Acknowledged): boolean {
    const world = this.#world;
    const { checker, damaged, isSettled, olderRecords, scheduler } = world;
    if (scheduler.nowMs - world.group(region).lostMs < noticedMs) return false;
    // A node that remembers what was in the old store alone neither takes nor hands out other states of that record until an
    // operator accepts that it is lost.
    if (olderRecords.has(change.id)) return false;
    // Without one region, or with two stores of one, a store cannot have everything.
    if (change.lost || isSettled || damaged > 0 || checker.excusesAlone) return false;
    const found = world.record(region, change.id);
    if (found !== undefined) return !contains(found, change);
    return bytesOf(world.group(region).primary, instance, change.id) === undefined;
  }
}
