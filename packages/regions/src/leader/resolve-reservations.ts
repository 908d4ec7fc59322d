import {
  type Change,
  isCorrupt,
  type ManagedObject,
  type OwnStore,
  type OwnStoredObject,
  type Reservation,
  recordTag,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { joinAll } from "../join/join.ts";
import { type Judging, judged, provenCopies } from "../join/may-join.ts";
import { mergeInto } from "../join/merge.ts";
import { readEach } from "../join/read-each.ts";
import type { Peer } from "../ports/ports.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";

export interface ResolveOptions {
  /** The own region's name. */
  readonly region: string;
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
  readonly timers: Timers;
  /** How changes of another region are judged; all are taken unless given. */
  readonly judging?: Judging;
  /**
   * How long a leader must have seen a reservation before it counts as abandoned; 5,000 unless
   * given.
   */
  readonly abandonedMs?: number;
}

/** What another region has of a reservation's records. */
interface Copies {
  readonly from: string;
  readonly found: readonly (OwnStoredObject | undefined)[];
}

const resolveEveryMs = 1_000;
const abandonedAfterMs = 5_000;
const triesMax = 8;

/**
 * Ends reservations whose agreed operation was abandoned. In the first region, in the order of
 * names, a reservation that still exists was not decided, since the decision ends it: it is
 * dropped. Every later region first makes sure that no earlier one can still decide; then it joins
 * what they have.
 */
export class ResolveReservations implements Duty {
  readonly name = "reservations";
  readonly everyMs = resolveEveryMs;
  readonly #options: ResolveOptions;
  /**
   * Operation and instance → when this leader first saw it, by the monotonic clock. The clock of
   * the node that reserved does not count: if it were behind, operations that still run would be
   * ended; if it were ahead, they would be kept for ever.
   */
  #seen: ReadonlyMap<string, number> = new Map();

  constructor(options: ResolveOptions) {
    this.#options = options;
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const all = await this.#options.own.reservations();
    const abandoned = this.#abandoned(all);
    const failures: unknown[] = [];
    let done = 0;
    for (const reservation of abandoned) {
      if (!context.active()) break;
      try {
        await this.#resolve(reservation, context);
        done += 1;
      } catch (error) {
        // One that must wait for another region does not delay the others.
        if (!(error instanceof StoreUnavailable) || error.failure === "deposed") throw error;
        failures.push(error);
      }
    }
    if (done === 0 && failures.length > 0) throw failures[0];
    return { done, left: abandoned.length - done };
  }

  #abandoned(all: readonly Reservation[]): readonly Reservation[] {
    const { timers, abandonedMs = abandonedAfterMs } = this.#options;
    const nowMs = timers.monotonicMs();
    const before = this.#seen;
    const seen = new Map(all.map((each) => [nameOf(each), before.get(nameOf(each)) ?? nowMs]));
    this.#seen = seen;
    return all.filter((each) => nowMs - (seen.get(nameOf(each)) ?? nowMs) >= abandonedMs);
  }

  async #resolve(reservation: Reservation, { epoch }: DutyContext): Promise<void> {
    const { own, peers, region } = this.#options;
    const { instance, operation } = reservation;
    const earlier = peers.filter((peer) => peer.region < region && peer.state() !== "retired");
    const copies: Copies[] = [];
    for (const peer of earlier.toSorted((a, b) => (a.region < b.region ? -1 : 1))) {
      await peer.release(instance, operation);
    }
    // Only now are the copies certain: every decision was made before the releases.
    for (const peer of earlier) copies.push(await this.#copiesAt(peer, reservation));
    for (let tries = 0; tries < triesMax; tries += 1) {
      const changes = await this.#changes(reservation, copies);
      const outcome =
        changes.length > 0 &&
        (await own.commit(instance, changes, [], { joined: true, operation }));
      // With nothing to join, or in an instance that was deleted, the reservation only has to end.
      if (outcome === false || outcome.kind === "instanceClosed") {
        await own.release(instance, operation, epoch);
        return;
      }
      if (outcome.kind === "committed" || outcome.kind === "reservationLost") return;
    }
    throw new StoreUnavailable("reserved", `operation ${operation} is not resolved yet`);
  }

  /** What an earlier region has; records that do not decode there are first repaired with the own copies. */
  async #copiesAt(peer: Peer, { instance, ids }: Reservation): Promise<Copies> {
    const { region: from } = peer;
    try {
      return { from, found: await peer.fetch(instance, ids) };
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      const mine = await readEach(this.#options.own, instance, ids);
      await peer.push(mine.flatMap((copy) => (typeof copy === "object" ? [copy.object] : [])));
      return { from, found: await peer.fetch(instance, ids) };
    }
  }

  /** The changes that make the own copies the joins of all copies. */
  async #changes(
    { instance, ids }: Reservation,
    copies: readonly Copies[],
  ): Promise<readonly Change[]> {
    if (copies.length === 0) return [];
    const mine = await this.#mine(instance, ids, copies);
    const changes: Change[] = [];
    for (const at of ids.keys()) {
      const others = copies.flatMap(({ from, found }) => {
        const stored = found[at];
        return stored === undefined ? [] : [{ from, stored }];
      });
      const about = ({ from, stored }: (typeof others)[number]) => ({
        from,
        object: stored.object,
      });
      const proven = await provenCopies(mine[at]?.object, others, about, this.#options.judging);
      const change = changeOf(
        mine[at],
        proven.map(({ stored }) => stored),
      );
      if (change !== undefined) changes.push(await this.#inTime(change, others[0]?.from ?? ""));
    }
    return changes;
  }

  /** The own copies; a damaged one, or one that is older than it was, is replaced by that of an earlier region first. */
  async #mine(
    instance: string,
    ids: readonly string[],
    copies: readonly Copies[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    const { own, timers, judging = { observe: () => undefined } } = this.#options;
    const found = await readEach(own, instance, ids);
    for (const { from, found: theirs } of copies) {
      const objects = theirs.flatMap((copy, at) =>
        copy !== undefined && found[at] === "damaged" ? [copy.object] : [],
      );
      await mergeInto(own, objects, { from, timers, ...judging });
    }
    return await own.read(instance, ids);
  }

  /** The change as this region makes it: a delay begins no earlier than it is seen here. */
  async #inTime(change: Change, from: string): Promise<Change> {
    const { judging } = this.#options;
    if (change.kind === "create" || judging === undefined) return change;
    const { taken } = await judged(change.before.object, change.after, from, judging);
    return taken === undefined ? change : { ...change, after: taken };
  }
}

function changeOf(
  before: OwnStoredObject | undefined,
  others: readonly OwnStoredObject[],
): Change | undefined {
  const objects: readonly ManagedObject[] = [...(before ? [before] : []), ...others].map(
    ({ object }) => object,
  );
  const outcome = joinAll(objects);
  // Catch-up puts aside copies that cannot be joined.
  if (outcome?.kind !== "joined") return undefined;
  const after = outcome.object;
  if (before === undefined) return { kind: "create", after };
  return recordTag(after) === before.tag ? undefined : { kind: "update", before, after };
}

function nameOf({ instance, operation }: Reservation): string {
  return `${operation} ${instance}`;
}
