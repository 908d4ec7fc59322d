import {
  type KekEntry,
  type ManagedObject,
  type Observer,
  type OwnStore,
  readKekRecord,
  readRecord,
  StoreUnavailable,
  sysPartition,
} from "@holdfast/engine";
import type { Peer } from "../ports/ports.ts";
import { OwnFeed } from "./catch-up/own-feed.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";

/** The part of a key ring that wraps another region's KEK under this region's root of trust. */
export interface KekAdopter {
  /** False where the region has its wrap already. */
  adopt(instance: string, kekId: string, fetchPlain: () => Promise<Uint8Array>): Promise<boolean>;
}

export interface AdoptKeksOptions {
  readonly region: string;
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
  readonly keyRing: KekAdopter;
  readonly observe: Observer;
}

const adoptEveryMs = 1_000;
const recordsPerRun = 1_000;

/**
 * Gives every KEK this region's wrap: a KEK seals nothing before every region has wrapped and unwrapped it. Any node may
 * do it as soon as it sees a record; the leader does what was missed.
 */
export class AdoptKeks implements Duty {
  readonly name = "adopt-keks";
  readonly everyMs = adoptEveryMs;
  readonly #options: AdoptKeksOptions;
  readonly #feed: OwnFeed;
  /** By their ids. */
  readonly #missing = new Map<string, KekEntry>();
  readonly #closed = new Set<string>();
  readonly #adopting = new Map<string, Promise<boolean>>();

  constructor(options: AdoptKeksOptions) {
    this.#options = options;
    this.#feed = new OwnFeed(options.own, [sysPartition]);
  }

  async run(context: DutyContext): Promise<DutyResult> {
    const unread = await this.#feed.follow(recordsPerRun, context, (object) => this.#note(object));
    let done = 0;
    let failure: unknown;
    for (const entry of this.#missing.values()) {
      if (!context.active()) break;
      if (this.#closed.has(entry.instance)) continue;
      try {
        if (await this.#adopt(entry)) done += 1;
        this.#missing.delete(entry.kek.id);
      } catch (error) {
        failure = error;
      }
    }
    if (failure !== undefined && done === 0) throw failure;
    return { done, left: this.#left() + unread };
  }

  /**
   * How many KEKs lack the wrap. Those of an instance that is being deleted wait: the deletion may
   * be dropped.
   */
  #left(): number {
    const open = [...this.#missing.values()].filter(({ instance }) => !this.#closed.has(instance));
    return open.length;
  }

  /**
   * Called with a pushed record: a KEK without this region's wrap gets it at once. Never rejects.
   */
  async consider(object: ManagedObject): Promise<void> {
    this.#close(object);
    const entry = this.#lacking(object);
    if (entry === undefined || this.#closed.has(entry.instance)) return;
    try {
      await this.#adopt(entry);
    } catch (cause) {
      const message = `key-encryption key ${entry.kek.id} has no wrap of this region yet`;
      this.#options.observe({ type: "warning", message, cause });
    }
  }

  #note(object: ManagedObject): void {
    this.#close(object);
    const entry = this.#lacking(object);
    if (entry === undefined) this.#missing.delete(object.uniqueIdentifier);
    else this.#missing.set(object.uniqueIdentifier, entry);
  }

  /**
   * A KEK without this region's wrap. One without any wrap is erased for ever: its instance was
   * deleted.
   */
  #lacking(object: ManagedObject): KekEntry | undefined {
    if (object.facts.destroyed !== undefined) return undefined;
    const entry = readKekRecord(object);
    if (entry === undefined || entry.kek.wraps.length === 0) return undefined;
    const own = entry.kek.wraps.some(({ region }) => region === this.#options.region);
    return own ? undefined : entry;
  }

  /** Makes no more wraps for an instance whose deletion is decided. */
  #close(object: ManagedObject): void {
    const record = readRecord("Instance", object);
    if (record === undefined) return;
    const { instance, destroyed, status } = record;
    if (destroyed !== undefined || status === "Removing") this.#closed.add(instance);
    else this.#closed.delete(instance);
  }

  /** One at a time for each KEK. */
  #adopt({ instance, kek }: KekEntry): Promise<boolean> {
    const running = this.#adopting.get(kek.id);
    if (running !== undefined) return running;
    const { keyRing } = this.#options;
    const adopting = keyRing
      .adopt(instance, kek.id, () => this.#fetch(instance, kek))
      .finally(() => this.#adopting.delete(kek.id));
    this.#adopting.set(kek.id, adopting);
    return adopting;
  }

  /** Asks the regions that have a wrap. */
  async #fetch(instance: string, { id, wraps }: KekEntry["kek"]): Promise<Uint8Array> {
    const holders = new Set(wraps.map(({ region }) => region));
    let failure: unknown;
    for (const peer of this.#options.peers) {
      if (!holders.has(peer.region) || peer.state() !== "up") continue;
      try {
        return await peer.kek(instance, id);
      } catch (error) {
        failure = error;
      }
    }
    throw (
      failure ?? new StoreUnavailable("peerUnreachable", "no region that has the KEK can be asked")
    );
  }
}
