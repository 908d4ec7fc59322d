/** Waiting entries: each owner's entries leave in order, and the owners take turns. */
export class FairQueue<Owner, Entry> {
  /** The owner whose turn it is comes first. */
  readonly #queues = new Map<Owner, Entry[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The number of an owner's waiting entries. */
  sizeOf(owner: Owner): number {
    return this.#queues.get(owner)?.length ?? 0;
  }

  push(owner: Owner, entry: Entry): void {
    const queue = this.#queues.get(owner);
    if (queue === undefined) this.#queues.set(owner, [entry]);
    else queue.push(entry);
    this.#size += 1;
  }

  /** Takes the next entry; its owner then comes last. */
  shift(): Entry | undefined {
    const [first] = this.#queues;
    if (first === undefined) return undefined;
    const [owner, queue] = first;
    const entry = queue.shift();
    this.#queues.delete(owner);
    if (queue.length > 0) this.#queues.set(owner, queue);
    this.#size -= 1;
    return entry;
  }

  /** Removes an entry that no longer waits. */
  delete(owner: Owner, entry: Entry): void {
    const queue = this.#queues.get(owner);
    const at = queue?.indexOf(entry) ?? -1;
    if (queue === undefined || at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.#queues.delete(owner);
    this.#size -= 1;
  }
}
