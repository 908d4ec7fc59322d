import type { RegionName } from "../support/two-regions.ts";
import type { Intervals } from "./intervals.ts";
import type { Moment } from "./moment.ts";
import { Recorder } from "./recorder.ts";
import type { Level, Service } from "./serving-log.ts";

/** The rank of a destroyed object; see `rankOf`. */
const destroyed = 4;

/** A state of an object that a client knows, because it was acknowledged or shown. */
interface Known extends Moment {
  readonly rank: number;
  readonly acknowledged: boolean;
}

/** What is known about one object. */
export interface Entry {
  readonly id: string;
  /** The key bytes in hex, from the first Get. */
  bytes: string | undefined;
  readonly known: Known[];
  /** The latest state that any client asked for. */
  tried: number;
  /** A transition got no clear answer or is in progress: no other one is sent. */
  held: boolean;
  /** A Destroy of it was acknowledged to some client. */
  destroyed: boolean;
}

/** Kinds of broken promise; every one must be zero. */
export const violationKinds = [
  /** An object that cannot be read at some endpoint at the end. */
  "missing",
  "changedBytes",
  /** A state that its own region's store acknowledged or showed, and then no longer showed. */
  "backwardsInStore",
  /** A state that both regions acknowledged, but that some endpoint did not show. */
  "backwardsShared",
  "wrongNotFound",
  /** An object in the answer of a search that no client ever made match. */
  "wrongSearch",
  "destroyedWithoutAgreement",
  /** Key material that was answered after an acknowledged Destroy. */
  "readAfterDestroy",
  /** An answer that no fault excuses. */
  "wrongAnswer",
  "notRecovered",
  /** Records, reservations or digests that are not the same in both stores at the end. */
  "storesDiffer",
  /** Answers about an object that no order of the operations explains. */
  "notLinearizable",
  /** Too many orders to try: nobody knows whether one of them explains the answers. */
  "undecided",
] as const;
export type ViolationKind = (typeof violationKinds)[number];

export interface Violation {
  readonly kind: ViolationKind;
  readonly text: string;
}

/** Facts about the run that decide whether a suspicion is a violation. */
export interface Circumstances {
  /** Times for which it is certain that no change was acknowledged by one region alone. */
  readonly shared: (fromMs: number, toMs: number) => boolean;
  /** By region: times in which its nodes may have served from the other region's store, or lost their own. */
  readonly disturbed: Readonly<Record<RegionName, Intervals>>;
  /** By region: times at which its store was emptied. */
  readonly emptied: Readonly<Record<RegionName, readonly number[]>>;
  /** Times in which the regions could not agree on anything. */
  readonly isolated: Intervals;
  /** How the node served its clients during all of a request; undefined if that is not certain. */
  readonly served: (moment: Moment) => Service | undefined;
  /** When a region's store had everything that any region had acknowledged by a time. */
  readonly levels: readonly (Omit<Level, "node"> & { readonly region: RegionName })[];
}

/** A suspicion; it is judged once the circumstances are known. */
type Suspicion = (circumstances: Circumstances) => Violation | undefined;

/** Everything that clients were answered, and the contradictions in it. */
export class History {
  readonly entries = new Map<string, Entry>();
  readonly recorder = new Recorder();
  readonly #violations: Violation[] = [];
  readonly #suspicions: Suspicion[] = [];
  readonly #acknowledged: (Moment & { readonly isRepeated: boolean })[] = [];

  /** A Create was acknowledged. */
  created(id: string, moment: Moment): Entry {
    if (this.entries.has(id)) this.violation("wrongAnswer", `${id} handed out twice`);
    const known = [{ ...moment, rank: 0, acknowledged: true }];
    const entry = { id, bytes: undefined, known, tried: 0, held: false, destroyed: false };
    this.entries.set(id, entry);
    this.changed(moment);
    return entry;
  }

  /**
   * A transition to this state was acknowledged. If an earlier try had no answer, that one may have made it, alone, and the
   * answer only says that it is made. Destroy is never made alone; its moment is that of all tries.
   */
  reached(entry: Entry, rank: number, moment: Moment, isRepeated = false): void {
    const acknowledged = !isRepeated || rank >= destroyed;
    entry.known.push({ ...moment, rank, acknowledged });
    this.changed(moment, !acknowledged);
    if (rank < destroyed) return;
    entry.destroyed = true;
    this.#suspicions.push(({ isolated }) =>
      isolated.covers(moment.beganMs, moment.endedMs)
        ? {
            kind: "destroyedWithoutAgreement",
            text: `${entry.id} at ${moment.node}, while the regions could not agree`,
          }
        : undefined,
    );
  }

  /** Another change was acknowledged, perhaps only after an earlier try without an answer had made it. */
  changed(moment: Moment, isRepeated = false): void {
    this.#acknowledged.push({ ...moment, isRepeated });
  }

  /** An answer showed this state. */
  sawState(entry: Entry, rank: number, moment: Moment): void {
    const { node } = moment;
    if (rank > entry.tried) {
      const kind = rank >= destroyed ? "destroyedWithoutAgreement" : "wrongAnswer";
      this.violation(kind, `${entry.id}: state ${rank} at ${node}, never asked for`);
    }
    for (const known of entry.known) {
      if (known.rank <= rank || known.endedMs > moment.beganMs) continue;
      // While a Destroy is under way, a read shows what either region's copy has.
      const isOneCopy = entry.tried < destroyed;
      this.#suspicions.push((circumstances) =>
        backwards(entry, known, { ...moment, rank, isOneCopy }, circumstances),
      );
    }
    // Higher states known before say more; one entry for each state and region is enough.
    const told = entry.known.some((one) => one.rank === rank && one.region === moment.region);
    if (!told) entry.known.push({ ...moment, rank, acknowledged: false });
  }

  /** An answer had these bytes. */
  sawBytes(entry: Entry, bytes: string, moment: Moment): void {
    entry.bytes ??= bytes;
    if (bytes !== entry.bytes) this.violation("changedBytes", `${entry.id} at ${moment.node}`);
    const gone = entry.known.some(
      ({ rank, acknowledged, endedMs }) =>
        acknowledged && rank >= destroyed && endedMs < moment.beganMs,
    );
    if (gone) this.violation("readAfterDestroy", `${entry.id} at ${moment.node}`);
  }

  /** The answer was that the object does not exist. */
  notFound(entry: Entry, moment: Moment, inTheEnd: boolean): void {
    const text = `${entry.id} at ${moment.node}`;
    const kind = inTheEnd ? "missing" : "wrongNotFound";
    this.#suspicions.push((circumstances) =>
      isExcused(entry, moment, circumstances) ? undefined : { kind, text },
    );
  }

  violation(kind: ViolationKind, text: string): void {
    this.#violations.push({ kind, text });
  }

  /** How many violations of a kind are already certain. */
  count(kind: ViolationKind): number {
    return this.#violations.filter((one) => one.kind === kind).length;
  }

  /** How many changes both regions certainly acknowledged, and how many perhaps one alone. */
  acknowledged({ shared }: Circumstances): { readonly shared: number; readonly alone: number } {
    const certain = this.#acknowledged.filter(
      ({ beganMs, endedMs, isRepeated }) => !isRepeated && shared(beganMs, endedMs),
    );
    return { shared: certain.length, alone: this.#acknowledged.length - certain.length };
  }

  /** All violations. */
  judge(circumstances: Circumstances): readonly Violation[] {
    const judged = this.#suspicions.map((suspicion) => suspicion(circumstances));
    return [...this.#violations, ...judged.filter((one) => one !== undefined)];
  }
}

/** Whether a state is lower than one that was known before. */
function backwards(
  entry: Entry,
  known: Known,
  seen: Moment & { readonly rank: number; readonly isOneCopy: boolean },
  { shared, disturbed, emptied }: Circumstances,
): Violation | undefined {
  const text = `${entry.id}: state ${seen.rank} at ${seen.node}, after ${known.rank} at ${known.node} ${Math.round(seen.beganMs - known.endedMs)} ms before`;
  if (known.acknowledged && shared(known.beganMs, known.endedMs)) {
    return { kind: "backwardsShared", text };
  }
  const { region } = known;
  const lost = emptied[region].some((atMs) => atMs >= known.beganMs && atMs <= seen.endedMs);
  if (lost || region !== seen.region || !seen.isOneCopy) return undefined;
  const whole = !disturbed[region].touches(known.beganMs, seen.endedMs);
  return whole ? { kind: "backwardsInStore", text } : undefined;
}

/** Whether the only region that acknowledged the object lost its store afterwards. */
function isExcused(
  entry: Entry,
  moment: Moment,
  { disturbed, emptied, shared }: Circumstances,
): boolean {
  const [created] = entry.known;
  if (created === undefined) return false;
  const { beganMs, endedMs, region } = created;
  if (shared(beganMs, endedMs)) return false;
  // A node whose region was disturbed may have made it in the other region's store.
  const times = disturbed[region].touches(beganMs, endedMs)
    ? Object.values(emptied).flat()
    : emptied[region];
  return times.some((atMs) => atMs >= beganMs && atMs <= moment.endedMs);
}
