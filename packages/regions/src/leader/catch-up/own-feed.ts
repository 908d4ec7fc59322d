import type { ManagedObject, ReplicationSource, StorePosition } from "@holdfast/engine";

const pageRecords = 200;
const pageBytes = 256 << 10;

/** What a feed reads: a region's own store, or another region's through the peer protocol. */
type Source = Pick<ReplicationSource, "position" | "changes">;

/** How far a partition was followed. A restart forgets it, even while a page is read. */
interface Place {
  readonly replicationId: string;
  number: number;
}

/**
 * Follows what changes in the own store, one partition at a time and from the beginning: cheap
 * after the first pass, since a record has one entry however often it changes.
 */
export class OwnFeed {
  readonly #own: Source;
  readonly #partitions: readonly number[];
  readonly #places = new Map<number, Place>();

  constructor(own: Source, partitions: readonly number[]) {
    this.#own = own;
    this.#partitions = partitions;
  }

  /** Begins again at the start. */
  restart(): void {
    this.#places.clear();
  }

  /**
   * Hands over at most about `limit` changed records and identifiers of those that cannot be read; returns how many
   * changes are not read yet, up to a position or the present one.
   */
  async follow(
    limit: number,
    context: { readonly active: () => boolean },
    each: (object: ManagedObject) => void,
    unread: (identifier: string) => void = () => undefined,
    position?: StorePosition,
  ): Promise<number> {
    const { replicationId, numbers } = position ?? (await this.#own.position());
    let [room, left] = [limit, 0];
    for (const partition of this.#partitions) {
      const target = numbers[partition] ?? 0;
      const known = this.#places.get(partition);
      const place = known?.replicationId === replicationId ? known : { replicationId, number: 0 };
      this.#places.set(partition, place);
      while (place.number < target && room > 0 && context.active()) {
        const seen = await this.#page(partition, place, each, unread);
        if (seen === undefined) break;
        room -= Math.max(1, seen);
      }
      left += Math.max(0, target - place.number);
    }
    return left;
  }

  /** Returns how many records there were, readable or not; undefined where the place is no longer valid. */
  async #page(
    partition: number,
    place: Place,
    each: (object: ManagedObject) => void,
    unread: (identifier: string) => void,
  ): Promise<number | undefined> {
    const page = await this.#own.changes(partition, place.number, pageRecords, pageBytes);
    if (page.replicationId !== place.replicationId || page.upTo <= place.number) return undefined;
    for (const object of page.objects) each(object);
    for (const identifier of [...page.damaged, ...page.unknown]) unread(identifier);
    place.number = page.upTo;
    return page.objects.length + page.damaged.length + page.unknown.length;
  }
}
