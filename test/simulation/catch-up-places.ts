import type { PeerCursor } from "@holdfast/engine";
import { Violation } from "./checker.ts";

/** Checks how one leader goes on from where the other region's changes were read. */
export class Places {
  readonly #name: string;
  /** Partition → its cursor, if it was read since the own store's last outage. */
  readonly #read = new Map<number, PeerCursor | undefined>();
  /** Processes that number the other region's changes, as far as they are or were pulled. */
  readonly #pulled = new Set<string>();
  /** Partitions and processes whose digests were compared. */
  readonly #compared = new Set<string>();

  constructor(name: string) {
    this.#name = name;
  }

  /** The own store's lease has changed: only the store knows what it has. */
  outage(): void {
    this.#read.clear();
  }

  pulls(replicationId: string): void {
    this.#pulled.add(replicationId);
  }

  read(partition: number, cursor: PeerCursor | undefined): void {
    this.#read.set(partition, cursor);
  }

  /** Digests of a partition are compared with those of the process that is pulled; which one that is, is not known. */
  compares(partition: number): void {
    for (const replicationId of this.#pulled) this.#compared.add(`${partition} ${replicationId}`);
  }

  saves(partition: number, { replicationId }: PeerCursor): void {
    if (!this.#read.has(partition)) {
      throw new Violation(`${this.#name} saves how far it had read before an outage of its store`);
    }
    const before = this.#read.get(partition);
    if (before === undefined || before.replicationId === replicationId) return;
    if (this.#compared.has(`${partition} ${replicationId}`)) return;
    throw new Violation(
      `${this.#name} goes on from a number of another process of the other region, and has not compared digests`,
    );
  }
}
