/** Remembers how to undo what was written and is not covered yet, as a fail-over does. */
export class MemoryJournal {
  #undo: (() => void)[] = [];
  #forgotten = 0;

  /** Sets an entry of a map. */
  set<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
    const had = map.has(key);
    const old = map.get(key) as Value;
    map.set(key, value);
    this.#undo.push(() => {
      if (had) map.set(key, old);
      else map.delete(key);
    });
  }

  /** Deletes an entry of a map. */
  delete<Key, Value>(map: Map<Key, Value>, key: Key): void {
    if (!map.has(key)) return;
    const old = map.get(key) as Value;
    map.delete(key);
    this.#undo.push(() => map.set(key, old));
  }

  /** The number of writes so far. */
  get position(): number {
    return this.#forgotten + this.#undo.length;
  }

  /** Notes that everything written before `position` is covered. */
  forget(position: number): void {
    const count = position - this.#forgotten;
    if (count <= 0) return;
    this.#undo.splice(0, count);
    this.#forgotten = position;
  }

  /** Undoes everything that is not covered. */
  takeBack(): void {
    for (const undo of this.#undo.toReversed()) undo();
    this.#undo = [];
  }
}
