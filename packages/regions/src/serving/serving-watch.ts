import {
  type Observer,
  type OwnStore,
  StoreUnavailable,
  systemInstance,
  type Timers,
} from "@holdfast/engine";
import { mergeInto } from "../join/merge.ts";
import type { Peer, PeerHello } from "../ports/ports.ts";
import { failureIn } from "../ports/waiting.ts";
import { type RegionRecords, regionIdentifier } from "./region-records.ts";
import {
  mustRequestResync,
  type Others,
  type Serving,
  type ServingEvent,
  type ServingState,
  serveStep,
  serving,
  servingAtStart,
} from "./serving.ts";

export interface ServingWatchOptions {
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
  readonly records: RegionRecords;
  readonly timers: Timers;
  readonly observe: Observer;
  /** How long after the start to wait for another region before it counts as unreachable. */
  readonly graceMs: number;
  /** How a state becomes a decision; `serving` in the product. */
  readonly decide?: typeof serving;
}

const tickMs = 100;
/** How soon a node sees that the store lost its level. */
const levelMs = 200;
/** How old the records of regions, as last read, may be. */
const recordsMs = 1_000;
/** How often a region that is up is asked whether it retired this one. */
const helloMs = 5_000;

const longAgo = Number.NEGATIVE_INFINITY;

type Task = "hello" | "level" | "records";

/**
 * Follows the lease of the own store, the other regions and the store's levels, and knows at any moment from where
 * clients are served. Asking it costs nothing; what takes time happens in the background.
 */
export class ServingWatch {
  readonly #options: ServingWatchOptions;
  readonly #decide: typeof serving;
  readonly #listeners = new Set<(serving: Serving) => void>();
  readonly #running = new Map<Task, Promise<void>>();
  /** When each region last answered `hello`; nothing for a region that is not up. */
  readonly #met = new Map<Peer, number>();
  /** Since when each region that would serve this one's clients has said that it does not serve. */
  readonly #idle = new Map<Peer, number>();
  /** When each region was last asked, with any result. */
  readonly #asked = new Map<Peer, number>();
  readonly #over = new AbortController();
  readonly #unsubscribe: readonly (() => void)[];
  readonly #started: number;
  readonly #loop: Promise<void>;
  #recordsAt = longAgo;
  #levelsAt = longAgo;
  #state: ServingState = servingAtStart;
  #serving: Serving;

  constructor(options: ServingWatchOptions) {
    this.#options = options;
    this.#decide = options.decide ?? serving;
    this.#serving = this.#decide(this.#state);
    this.#started = options.timers.monotonicMs();
    const { own, peers } = options;
    this.#unsubscribe = [
      own.onState((lease) => this.#apply({ type: "lease", lease, storeId: own.storeId })),
      ...peers.map((peer) => peer.onState(() => this.#look())),
      ...peers.map((peer) => peer.onHello((hello) => this.#heard(hello))),
    ];
    this.#look();
    this.#loop = this.#run();
  }

  /** From where clients are served at this moment. */
  now(): Serving {
    const { own } = this.#options;
    const lease = own.state();
    if (lease !== this.#state.lease) this.#apply({ type: "lease", lease, storeId: own.storeId });
    const doubted = own.doubted();
    if (doubted !== this.#state.doubted) this.#apply({ type: "doubt", doubted });
    return this.#serving;
  }

  /** Whether the own store has all that the others had when it came back. */
  get level(): boolean {
    return this.#state.level;
  }

  /**
   * The other regions, without those that are retired by the records, which a peer's own state only
   * follows.
   */
  others(): readonly Peer[] {
    const { peers } = this.#options;
    return peers.some((peer) => this.#isRetired(peer))
      ? peers.filter((peer) => !this.#isRetired(peer))
      : peers;
  }

  /** Notes that another region did not serve although it is up. */
  refused(): Serving {
    this.#apply({ type: "refused" });
    return this.now();
  }

  /** Checks at once whether the own store is still level. */
  async levelNow(): Promise<void> {
    // A check that is under way may have read the levels too early.
    await this.#running.get("level");
    this.#task("level", () => this.#level());
    await this.#running.get("level");
  }

  /** Calls `listener` at each change; returns a function that stops it. */
  onServing(listener: (serving: Serving) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends the work in the background. */
  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#over.abort();
    await this.#loop;
    await Promise.all(this.#running.values());
  }

  #apply(event: ServingEvent): void {
    const next = serveStep(this.#state, event);
    if (next === this.#state) return;
    this.#state = next;
    const decided = this.#decide(next);
    const { from, writes, reason, through, doubted } = this.#serving;
    this.#serving = decided;
    if (
      from === decided.from &&
      writes === decided.writes &&
      reason === decided.reason &&
      through === decided.through &&
      doubted === decided.doubted
    ) {
      return;
    }
    this.#options.observe({
      type: "serving",
      from: decided.from,
      writes: decided.writes,
      reason: decided.reason,
    });
    for (const listener of this.#listeners) listener(decided);
  }

  /** Looks at everything that can be seen without waiting. */
  #look(): void {
    const { own, peers, records } = this.#options;
    for (const peer of peers) {
      if (peer.state() === "up") continue;
      this.#met.delete(peer);
      this.#idle.delete(peer);
    }
    this.#apply({ type: "retired", retired: records.isRetired(records.region) });
    this.#apply({ type: "others", others: this.#others() });
    this.#apply({ type: "lease", lease: own.state(), storeId: own.storeId });
    this.#apply({ type: "doubt", doubted: own.doubted() });
    const now = this.#options.timers.monotonicMs();
    if (peers.some((peer) => this.#mustGreet(peer, now))) this.#task("hello", () => this.#greet());
  }

  #others(): Others {
    const { timers, graceMs, peers } = this.#options;
    const waiting = timers.monotonicMs() - this.#started < graceMs;
    const others = this.others();
    if (others.length === 0) {
      // A retired region that is back may have retired this one, whose data are old: it is asked
      // before it counts as gone.
      const asked = peers.every((peer) => this.#asked.has(peer));
      return asked || !waiting ? "absent" : "unknown";
    }
    if (others.some((peer) => this.#met.has(peer))) return "up";
    return waiting && this.#state.others === "unknown" ? "unknown" : "down";
  }

  #isRetired(peer: Peer): boolean {
    return this.#options.records.isRetired(peer.region);
  }

  async #run(): Promise<void> {
    const { timers } = this.#options;
    while (!this.#over.signal.aborted) {
      this.#look();
      this.#background();
      await timers.sleep(tickMs, this.#over.signal).catch(() => undefined);
    }
  }

  #background(): void {
    const { own, timers } = this.#options;
    if (own.state() !== "none" && timers.monotonicMs() - this.#recordsAt >= recordsMs) {
      this.#task("records", () => this.#refresh());
    }
    const { level, lease, others } = this.#state;
    // Without other regions there is nothing that it could lack.
    if (lease !== "full" || (level && others === "absent")) return;
    if (level && timers.monotonicMs() - this.#levelsAt < levelMs) return;
    this.#task("level", () => this.#level());
  }

  /** Runs one task of each kind at a time. */
  #task(name: Task, work: () => Promise<void>): void {
    if (this.#running.has(name) || this.#over.signal.aborted) return;
    const run = work()
      .catch((cause: unknown) => {
        if (cause instanceof StoreUnavailable) return;
        const message = "following the stores failed and is tried again";
        this.#options.observe({ type: "warning", message, cause });
      })
      .finally(() => this.#running.delete(name));
    this.#running.set(name, run);
  }

  async #refresh(): Promise<void> {
    const { records, timers } = this.#options;
    await records.refresh();
    this.#recordsAt = timers.monotonicMs();
    this.#look();
  }

  async #level(): Promise<void> {
    const { own, timers } = this.#options;
    const { outage, doubted } = this.#state;
    if (mustRequestResync(this.#state)) {
      // For every node of the region: one without a memory of the store sees no doubt.
      if (doubted) await own.loseLevel();
      const request = await own.requestResync();
      this.#apply({ type: "levels", outage, request, reached: 0, lost: 0 });
    } else {
      this.#levelsAt = timers.monotonicMs();
      const { reached, lost } = await own.levels();
      const levels = { type: "levels", outage, reached, lost } as const;
      // With everything that the others have, the store also has what they decided about this region meanwhile.
      if (!this.#state.level && serveStep(this.#state, levels).level) await this.#refresh();
      this.#apply(levels);
    }
  }

  /** The node that answered a greeting may know less than another one: each answer to a probe counts. */
  #heard(hello: PeerHello): void {
    const { records } = this.#options;
    records.heard(hello);
    this.#apply({ type: "retired", retired: records.isRetired(records.region) });
  }

  #mustGreet(peer: Peer, now: number): boolean {
    // A retired one is asked from time to time whether it is back, which the own store's data may
    // not show.
    if (this.#isRetired(peer)) return now - (this.#asked.get(peer) ?? longAgo) >= helloMs;
    return peer.state() === "up" && now - (this.#met.get(peer) ?? longAgo) >= helloMs;
  }

  /**
   * Asks each region whose turn has come whether it retired this one; one that is up counts as met
   * once it answered.
   */
  async #greet(): Promise<void> {
    const { peers, timers } = this.#options;
    const now = timers.monotonicMs();
    const due = peers.filter((peer) => this.#mustGreet(peer, now));
    await Promise.all(due.map((peer) => this.#hello(peer)));
    this.#look();
  }

  async #hello(peer: Peer): Promise<void> {
    const { records, timers } = this.#options;
    try {
      const hello = await peer.hello();
      this.#heard(hello);
      if (peer.state() === "up") this.#met.set(peer, timers.monotonicMs());
      this.#noteIdle(peer, hello.serving);
    } catch (error) {
      failureIn(error);
      return;
    } finally {
      this.#asked.set(peer, timers.monotonicMs());
    }
    if (records.isRetired(records.region)) await this.#keepRetired(peer);
  }

  /** Regions that wait for each other would serve nobody: a region that hears "does not serve" twice continues as in a cut. */
  #noteIdle(peer: Peer, serves: boolean): void {
    const now = this.#options.timers.monotonicMs();
    if (serves) this.#apply({ type: "serves" });
    if (serves || this.now().from !== "remote") this.#idle.delete(peer);
    else if (!this.#idle.has(peer)) this.#idle.set(peer, now);
    const long = (other: Peer) => now - (this.#idle.get(other) ?? now) >= helloMs;
    if (this.#met.has(peer) && [...this.#met.keys()].every(long)) this.#apply({ type: "refused" });
  }

  /** Stores what the other region said, so that it holds after a restart in a cut too. */
  async #keepRetired(peer: Peer): Promise<void> {
    const { own, records, timers, observe } = this.#options;
    if (own.state() !== "full") return;
    const [copy] = await peer.fetch(systemInstance, [regionIdentifier(records.region)]);
    if (copy === undefined) return;
    await mergeInto(own, [copy.object], { from: peer.region, timers, observe });
  }
}
