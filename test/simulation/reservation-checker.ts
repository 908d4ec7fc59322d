import type { OwnStore } from "@holdfast/engine";
import type { Peer } from "@holdfast/regions";
import { Violation } from "./checker.ts";
import { replaced } from "./flaws.ts";
import type { SimNode } from "./node.ts";
import type { World } from "./world.ts";

/** A leader ends a reservation only after it has seen it for so long. */
const abandonedMs = 5_000;

/** What the duty that ends abandoned reservations works with. */
export interface Resolving {
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
}

/** Checks how leaders end the reservations of abandoned operations. */
export class ReservationChecker {
  readonly #world: World;
  /** Region, instance and operation → when it first reserved something there. */
  readonly #sinceMs = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  /** An operation is about to reserve records in a region. */
  reserves(region: string, instance: string, operation: string): void {
    const key = `${region} ${instance} ${operation}`;
    if (!this.#sinceMs.has(key)) this.#sinceMs.set(key, this.#world.scheduler.nowMs);
  }

  /** The parts of a leader's duty; what it does with them is checked. */
  watched(node: SimNode, { own, peers }: Resolving): Resolving {
    /** Operations, and the regions that have released them for this leader. */
    const released = new Set<string>();
    const check = (work: () => void): void => this.#world.guard(work);
    const ends = (instance: string, operation: string): void =>
      check(() => {
        this.#requireAbandoned(node, instance, operation);
        this.#requireReleased(node, peers, (region) =>
          released.has(`${region} ${instance} ${operation}`),
        );
      });
    const watching: Partial<OwnStore> = {
      release: (...args) => {
        ends(args[0], args[1]);
        return own.release(...args);
      },
      commit: (...args) => {
        const operation = args[3]?.operation;
        if (operation !== undefined) ends(args[0], operation);
        return own.commit(...args);
      },
    };
    return {
      own: replaced(own, watching),
      peers: peers.map((peer) => this.#watchedPeer(node, peer, released)),
    };
  }

  #watchedPeer(node: SimNode, peer: Peer, released: Set<string>): Peer {
    const { region } = peer;
    /** Whether it has released something, of which the copies were not read yet, and what was read last. */
    let isReleased = false;
    let read = "";
    return replaced(peer, {
      release: (instance, operation) => {
        this.#world.guard(() => this.#requireAbandoned(node, instance, operation));
        const answer = peer.release(instance, operation);
        const done = (): void => {
          released.add(`${region} ${instance} ${operation}`);
          isReleased = true;
        };
        answer.then(done, () => undefined);
        return answer;
      },
      fetch: (...args) => {
        const asked = args[1].join();
        const what = `${node.machine.name} reads what region ${region} has before that has released`;
        // What was damaged is read again once it is repaired.
        if (!isReleased && read !== asked) this.#world.fail(new Violation(`${what} ${asked}`));
        isReleased = false;
        read = asked;
        return peer.fetch(...args);
      },
    });
  }

  /** An operation that reserved just now may still run. */
  #requireAbandoned({ region, machine }: SimNode, instance: string, operation: string): void {
    const { nowMs } = this.#world.scheduler;
    const sinceMs = this.#sinceMs.get(`${region} ${instance} ${operation}`);
    if (sinceMs === undefined || nowMs - sinceMs >= abandonedMs) return;
    const age = `${Math.round(nowMs - sinceMs)} ms`;
    throw new Violation(
      `${machine.name} ends the operation ${operation}, which reserved ${age} ago and may still run`,
    );
  }

  /** No earlier region may still decide when a later one ends a reservation. */
  #requireReleased(
    { region, machine }: SimNode,
    peers: readonly Peer[],
    isReleased: (region: string) => boolean,
  ): void {
    if (this.#world.checker.excusesAlone) return;
    const earlier = peers.filter((peer) => peer.region < region && peer.state() !== "retired");
    const first = earlier.find((peer) => !isReleased(peer.region));
    if (first === undefined) return;
    const what = `${machine.name} ends a reservation that region ${first.region} has not released`;
    throw new Violation(what);
  }
}
