import { CatchUpWatch } from "./catch-up-watch.ts";
import { KekChecker } from "./kek-checker.ts";
import { ReservationChecker } from "./reservation-checker.ts";
import type { World } from "./world.ts";

/**
 * Checks of what no client sees: what must hold at each step inside a node, and between the stores. They listen beside the
 * node's parts: nothing waits for them, so that histories stay as they are.
 */
export class InnerChecks {
  readonly catchUps: CatchUpWatch;
  readonly reservations: ReservationChecker;
  readonly keks: KekChecker;

  constructor(world: World) {
    this.catchUps = new CatchUpWatch(world);
    this.reservations = new ReservationChecker(world);
    this.keks = new KekChecker(world);
  }
}
