import {
  encodeRecord,
  isMarked,
  type ManagedObject,
  type OwnStore,
  readAnyRecord,
  StoreUnavailable,
  sysPartition,
  systemInstance,
} from "@holdfast/engine";
import { nodeTimers, type StoreTimers } from "@holdfast/redis";
import { joinAll, OwnFeed, type Peer, type RegionalStore } from "@holdfast/regions";
import { reasonOf } from "../base/operator-error.ts";
import type { NodeObserver } from "../observe/events.ts";
import { RecordIndex } from "./record-index.ts";

/** Which store is complete. */
export type ViewSource = "own" | "other" | "any";

/** An own store that is not level may hold old data, in which records exist that were deleted since. */
export function viewSource({ from, through }: ReturnType<RegionalStore["serving"]>): ViewSource {
  if (from === "local") return through ? "any" : "own";
  return from === "remote" ? "other" : "any";
}

/** What a `SystemView` reads. */
export interface SystemViewOptions {
  readonly own: Pick<OwnStore, "state" | "position" | "changes">;
  /** Followed while the own store cannot be read, or may lack what they have. */
  readonly peers: readonly Pick<Peer, "state" | "position" | "changes">[];
  /**
   * Which store is complete now: the own store alone, another region's (the own one may hold old data), or any of them.
   * The own store unless given.
   */
  readonly source?: () => ViewSource;
  readonly monotonicMs: () => number;
  /** How it waits; Node's timers unless given. */
  readonly timers?: Pick<StoreTimers, "after">;
  readonly observe: NodeObserver;
  /**
   * Whether this region believes a record that another region's store shows, joined with what is known; all are believed
   * unless given. One that is not believed is looked at again when something else has changed. Before the own store was
   * read, it is taken on trust, as there is nothing else, and decided again afterwards.
   */
  readonly believes?: (object: ManagedObject) => boolean;
  /** Whether the own store was ever complete; then what is in it decides. It was, unless given. */
  readonly isFilled?: () => Promise<boolean>;
  /** Told which records the own store shows in a form that cannot be read. */
  readonly damaged?: (identifiers: readonly string[]) => void;
  /** From the end of a look to the next; 200 unless given. */
  readonly everyMs?: number;
}

/** A record that is shown until the own store is read, and what is known of it without the other region's word. */
interface Trusted {
  readonly shown: ManagedObject;
  readonly believed: ManagedObject | undefined;
}

/** A store that is followed; the first one is the own. */
interface Source {
  readonly usable: () => boolean;
  readonly feed: OwnFeed;
}

const everyDefaultMs = 200;
const recordsPerLook = 100_000;
/** How many unread denials are kept by name: one is enough to admit nobody, and another region's node may lie. */
const unreadMax = 1_000;
/** How many records of another region that are not believed are kept. */
const withheldMax = 100_000;
/** Stands for unread denials that are not kept by name. */
const unreadMore = "(more)";

/**
 * All system records, held in memory by every node and kept up to date within a moment: instances, certificates, tokens
 * and settings are read here and nowhere else. What was once seen in either region's store is never forgotten.
 */
export class SystemView extends RecordIndex implements AsyncDisposable {
  readonly #options: SystemViewOptions;
  readonly #sources: readonly Source[];
  readonly #records = new Map<string, ManagedObject>();
  readonly #listeners = new Set<(changed: readonly ManagedObject[]) => void>();
  readonly #unreadDenials = new Set<string>();
  readonly #unreadPolicies = new Set<string>();
  /** Records of another region that are not believed now. */
  readonly #withheld = new Map<string, ManagedObject>();
  /** Records of another region that are taken on trust, and what of them is believed. */
  readonly #trusted = new Map<string, Trusted>();
  #hasReadOwn = false;
  /** Whether something has changed since these were last looked at. */
  #hasChanged = false;
  /** Whether everything is being read again, to find the denials that `unreadMore` stands for. */
  #readingAgain = false;
  /** Whether there were too many once more since that began. */
  #moreUnread = false;
  #cancel: () => void = () => undefined;
  #looking: Promise<void> | undefined;
  #closed = false;
  #freshAtMs: number | undefined;
  #reported = "";

  constructor(options: SystemViewOptions) {
    super();
    this.#options = options;
    const { own, peers } = options;
    this.#sources = [
      { usable: () => own.state() !== "none", feed: new OwnFeed(own, [sysPartition]) },
      ...peers.map((peer) => ({
        usable: () => peer.state() === "up",
        feed: new OwnFeed(peer, [sysPartition]),
      })),
    ];
    this.#again(0);
  }

  /** When the last complete look began: monotonic; undefined before the first. */
  get freshAtMs(): number | undefined {
    return this.#freshAtMs;
  }

  /** Identifiers of denials that no store shows in a form that can be read; "(more)" stands for those above 1,000. */
  get unreadDenials(): ReadonlySet<string> {
    return this.#unreadDenials;
  }

  /** Identifiers of versions of the approval policy that no store shows in a form that can be read, up to 1,000. */
  get unreadPolicies(): ReadonlySet<string> {
    return this.#unreadPolicies;
  }

  /** One record as it was last seen. */
  record(id: string): ManagedObject | undefined {
    return this.#records.get(id);
  }

  /** The same without what is taken on trust. */
  believed(id: string): ManagedObject | undefined {
    const trusted = this.#trusted.get(id);
    return trusted === undefined ? this.#records.get(id) : trusted.believed;
  }

  /** Whether the own store was ever read completely, and was complete itself: only then another region's word is judged. */
  get hasReadOwn(): boolean {
    return this.#hasReadOwn;
  }

  /** Every record as it was last seen. */
  records(): Iterable<ManagedObject> {
    return this.#records.values();
  }

  /**
   * Calls `listener` with the records that changed, after each look, and with none if only `unreadDenials` changed;
   * answers how to stop that.
   */
  onChange(listener: (changed: readonly ManagedObject[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes records that were written here or pushed by another region, without waiting for a look. */
  take(objects: readonly ManagedObject[]): void {
    const unreadBefore = this.#unreadDenials.size;
    const changed = objects.filter((object) => this.#note(object));
    if (changed.length > 0 || this.#unreadDenials.size > unreadBefore) this.#report(changed);
  }

  /** Resolves when everything that was in the store at the call is seen; rejects where no store can be read. */
  async refresh(): Promise<void> {
    await this.#looking?.catch(() => undefined);
    await this.#look();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancel();
    this.#listeners.clear();
    await this.#looking?.catch(() => undefined);
  }

  #again(ms: number): void {
    if (this.#closed) return;
    const { timers = nodeTimers, everyMs = everyDefaultMs } = this.#options;
    const look = (): void => {
      void this.#look()
        .then(
          () => this.#settle(""),
          (cause: unknown) => this.#settle(reasonOf(cause), cause),
        )
        .finally(() => this.#again(everyMs));
    };
    this.#cancel = timers.after(ms, look, true);
  }

  /** Reports once why the records cannot be read; a store without a lease is reported elsewhere. */
  #settle(reason: string, cause?: unknown): void {
    if (reason !== "" && reason !== this.#reported && !(cause instanceof StoreUnavailable)) {
      this.#options.observe({ type: "warning", message: `system records: ${reason}`, cause });
    }
    this.#reported = reason;
  }

  #look(): Promise<void> {
    this.#looking ??= this.#follow().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #follow(): Promise<void> {
    const startedMs = this.#options.monotonicMs();
    this.#readAgain();
    const wanted = this.#options.source?.() ?? "own";
    let failure: unknown = new StoreUnavailable("noLease", "no region's store can be read");
    let whole = false;
    const [own, ...others] = this.#sources;
    // Others first: their deletions must be known before old data of the own store show the records.
    const sources = wanted === "own" ? this.#sources : [...others, ...(own ? [own] : [])];
    for (const source of sources) {
      // Where the own store is complete, another region is asked only if that fails, or for a damaged denial or policy.
      const unread = this.#unreadDenials.size + this.#unreadPolicies.size;
      const enough = whole && wanted === "own" && unread === 0;
      if (!source.usable() || enough) continue;
      try {
        const told = await this.#read(source);
        whole ||= told && (wanted !== "other" || source !== own);
      } catch (error) {
        failure = error;
      }
    }
    if (!whole) throw failure;
    this.#hasChanged ||= this.#freshAtMs === undefined || !this.#hasReadOwn;
    this.#freshAtMs = startedMs;
    this.#lookAtWithheld();
    this.#hasReadAll();
  }

  /** From now on the own store decides: what was taken on trust is looked at again. */
  async #judge(): Promise<void> {
    const { peers, isFilled } = this.#options;
    if (peers.length > 0 && (await isFilled?.()) === false) return;
    this.#hasReadOwn = true;
    this.#hasChanged = true;
    const trusted = [...this.#trusted];
    this.#trusted.clear();
    for (const [id, { shown, believed }] of trusted) {
      this.#withheld.set(id, shown);
      if (believed === undefined) {
        this.#records.delete(id);
        this.drop(id);
      } else {
        this.#records.set(id, believed);
        this.put(believed);
      }
    }
    this.#lookAtWithheld();
    if (trusted.length > 0) this.#report(trusted.map(([, { shown }]) => shown));
  }

  #lookAtWithheld(): void {
    if (!this.#hasChanged || this.#withheld.size === 0) return;
    this.#hasChanged = false;
    const all = [...this.#withheld.values()];
    this.#withheld.clear();
    const changed = all.filter((object) => this.#note(object, false, !this.#hasReadOwn));
    if (changed.length > 0) this.#report(changed);
  }

  /** Once there is room for unread denials that were not kept by name, has everything read again. */
  #readAgain(): void {
    const unread = this.#unreadDenials;
    if (this.#readingAgain || !unread.has(unreadMore) || unread.size > unreadMax) return;
    [this.#readingAgain, this.#moreUnread] = [true, false];
    for (const { feed } of this.#sources) feed.restart();
  }

  #hasReadAll(): void {
    if (!this.#readingAgain) return;
    this.#readingAgain = false;
    if (!this.#moreUnread && this.#unreadDenials.delete(unreadMore)) this.#report([]);
  }

  /** Whether a store was read completely. */
  async #read(source: Source): Promise<boolean> {
    const { usable, feed } = source;
    const changed: ManagedObject[] = [];
    const unread: string[] = [];
    const active = (): boolean => !this.#closed && usable();
    const unreadBefore = this.#unreadDenials.size;
    const left = await feed.follow(
      recordsPerLook,
      { active },
      (object) => {
        if (this.#note(object, source === this.#sources[0])) changed.push(object);
      },
      (id) => {
        unread.push(id);
        this.#noteUnread(id);
      },
    );
    const isOwn = source === this.#sources[0];
    if (unread.length > 0 && isOwn) this.#options.damaged?.(unread);
    if (changed.length > 0 || this.#unreadDenials.size > unreadBefore) this.#report(changed);
    if (left === 0 && isOwn && !this.#hasReadOwn) await this.#judge();
    return left === 0;
  }

  /** A record that was read before stays known. */
  #noteUnread(id: string): void {
    if (this.#records.has(id)) return;
    if (isMarked("Deny", id)) this.#addUnread(id);
    if (isMarked("ApprovalPolicy", id)) this.#addUnreadPolicy(id);
  }

  #addUnreadPolicy(id: string): void {
    if (this.#unreadPolicies.size < unreadMax) this.#unreadPolicies.add(id);
  }

  #addUnread(id: string): void {
    const unread = this.#unreadDenials;
    if (unread.has(id)) return;
    if (unread.size < unreadMax) unread.add(id);
    else {
      unread.add(unreadMore);
      this.#moreUnread = true;
    }
  }

  /** Notes a record of the own store, or of another region's; answers whether it brought anything new. */
  #note(object: ManagedObject, isOwn = true, onTrust = false): boolean {
    if (object.instance !== systemInstance) return false;
    const { uniqueIdentifier: id } = object;
    const known = this.#records.get(id);
    const joined = joinAll(known === undefined ? [object] : [known, object]);
    // The store refuses or quarantines it, and reports it; what was known stays here.
    if (joined?.kind !== "joined") {
      this.#noteUnread(id);
      return false;
    }
    const now = joined.object;
    if (!this.#isTaken(object, now, isOwn, onTrust)) return false;
    if (isMarked("Deny", id)) this.#noteDenial(now);
    if (isMarked("ApprovalPolicy", id)) {
      if (readAnyRecord(now)?.type === "ApprovalPolicy") this.#unreadPolicies.delete(id);
      else this.#addUnreadPolicy(id);
    }
    // A push and a look bring the same record twice: listeners should get it once.
    if (known !== undefined && sameRecord(known, now)) return false;
    this.#records.set(id, now);
    this.put(now);
    return true;
  }

  /** Whether a record is shown as it would be with `object`. */
  #isTaken(object: ManagedObject, now: ManagedObject, isOwn: boolean, onTrust: boolean): boolean {
    const { uniqueIdentifier: id } = object;
    const trusted = this.#trusted.get(id);
    if (isOwn) {
      if (trusted === undefined) return true;
      const both = joinAll([...(trusted.believed ? [trusted.believed] : []), object]);
      const believed = both?.kind === "joined" ? both.object : trusted.believed;
      this.#trusted.set(id, { shown: now, believed });
      return true;
    }
    // What follows on trust is not more than that.
    if (trusted === undefined && this.#options.believes?.(now) !== false) return true;
    if (onTrust) {
      const believed = trusted === undefined ? this.#records.get(id) : trusted.believed;
      this.#trusted.set(id, { shown: now, believed });
    } else if (this.#withheld.size < withheldMax) this.#withheld.set(id, object);
    return onTrust;
  }

  #noteDenial(denial: ManagedObject): void {
    const isKnown = denial.facts.destroyed !== undefined || readAnyRecord(denial)?.type === "Deny";
    if (isKnown) this.#unreadDenials.delete(denial.uniqueIdentifier);
    else this.#addUnread(denial.uniqueIdentifier);
  }

  #report(changed: readonly ManagedObject[]): void {
    this.#hasChanged ||= changed.length > 0;
    const now = changed.map((object) => this.#records.get(object.uniqueIdentifier) ?? object);
    for (const listener of this.#listeners) listener(now);
  }
}

function sameRecord(one: ManagedObject, other: ManagedObject): boolean {
  return Buffer.compare(encodeRecord(one), encodeRecord(other)) === 0;
}
