import {
  type Event,
  isDestroyed,
  readKekRecord,
  systemInstance,
  UnknownKek,
} from "@holdfast/engine";
import { Violation } from "./checker.ts";
import { lookAt } from "./look.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** What a key ring warns of. A key-encryption key that has lost its wraps is unknown, too. */
const notKnown = /^keys of instance (\S+): key-encryption key (\S+) is not known/;

/** Checks that a node takes a key-encryption key for unknown only where no region has it. */
export class KekChecker {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** A node's key ring reports something. */
  event(node: SimNode, event: Event): void {
    if (event.type !== "warning" || !(event.cause instanceof UnknownKek)) return;
    const [, instance, kekId] = notKnown.exec(event.message) ?? [];
    if (instance === undefined || kekId === undefined) return;
    this.#world.guard(() => this.#requireUnknown(node, instance, kekId));
  }

  #requireUnknown({ machine }: SimNode, instance: string, kekId: string): void {
    const { checker, damaged, groups, order } = this.#world;
    if (checker.excusesAlone || damaged > 0 || order?.hasRevived === true) return;
    for (const { primary, region } of groups) {
      const found = lookAt(primary, systemInstance, kekId);
      if (found?.covered !== true || isDestroyed(found.object.facts)) continue;
      const entry = readKekRecord(found.object);
      if (entry?.instance !== instance || entry.kek.wraps.length === 0) continue;
      const what = `${machine.name} takes the key-encryption key ${kekId} for unknown, which region ${region} has`;
      throw new Violation(what);
    }
  }
}

/** A key-encryption key seals only once every region has wrapped it; one that is retired need not. */
export function requireWhole({ checker, groups }: World, kekId: string | undefined): void {
  if (kekId === undefined || checker.excusesAlone) return;
  const copies = groups.map(({ primary }) => lookAt(primary, systemInstance, kekId)?.object);
  const wraps = copies.map((copy) => copy && readKekRecord(copy)?.kek.wraps);
  if (wraps.some((each) => each?.length === groups.length)) return;
  throw new Violation(`key-encryption key ${kekId} seals, and not every region has wrapped it`);
}
