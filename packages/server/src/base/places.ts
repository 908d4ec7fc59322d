/** A connection that holds a place. */
export interface Placed {
  /** Whether it waits for a request, and none has begun. */
  readonly idle: boolean;
  /** When something last happened on it, on the monotonic clock. */
  readonly activeMs: number;
  /** Closes it to make room for another one; it has already lost its place. */
  displace(): void;
}

/** The most connections of all owners, and of one owner. */
export interface PlaceLimits {
  readonly all: number;
  readonly ofOwner: number;
}

/**
 * Places of connections whose owner (an instance, a token) is known. An owner at its limit loses
 * its own longest idle connection; when all places are taken, the owner with the most connections
 * loses one. So no owner can keep out another.
 */
export class Places<One extends Placed> {
  readonly #limits: PlaceLimits;
  readonly #owners = new Map<string, Set<One>>();
  #size = 0;

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  /** Gives a place; false if no connection may be displaced for it. */
  enter(owner: string, one: One): boolean {
    const own = this.#owners.get(owner);
    if (own !== undefined && own.size >= this.#limits.ofOwner) {
      const idle = longest(own, true);
      if (idle === undefined) return false;
      this.#displace(owner, idle);
    } else if (this.#size >= this.#limits.all) {
      const [largest, theirs] = this.#largest(owner);
      // An owner with no more connections than the newcomer's owner keeps its busy ones.
      const mayBeBusy = theirs.size > (own?.size ?? 0);
      const victim = longest(theirs, true) ?? (mayBeBusy ? longest(theirs, false) : undefined);
      if (victim === undefined) return false;
      this.#displace(largest, victim);
    }
    const all = this.#owners.get(owner) ?? new Set();
    this.#owners.set(owner, all.add(one));
    this.#size += 1;
    return true;
  }

  /** Gives a place back, if it is still held. */
  leave(owner: string, one: One): void {
    const own = this.#owners.get(owner);
    if (own?.delete(one) !== true) return;
    this.#size -= 1;
    if (own.size === 0) this.#owners.delete(owner);
  }

  #displace(owner: string, one: One): void {
    this.leave(owner, one);
    one.displace();
  }

  /** The owner with the most connections; the given one if no other has more. */
  #largest(preferred: string): readonly [string, ReadonlySet<One>] {
    let largest = preferred;
    let most: ReadonlySet<One> = this.#owners.get(preferred) ?? new Set();
    for (const [owner, theirs] of this.#owners) {
      if (theirs.size > most.size) [largest, most] = [owner, theirs];
    }
    return [largest, most];
  }
}

/** The connection on which nothing has happened for the longest time. */
function longest<One extends Placed>(among: ReadonlySet<One>, idleOnly: boolean): One | undefined {
  let found: One | undefined;
  for (const one of among) {
    if (idleOnly && !one.idle) continue;
    if (found === undefined || one.activeMs < found.activeMs) found = one;
  }
  return found;
}
