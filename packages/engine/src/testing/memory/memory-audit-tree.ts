import type { AuditEntry } from "../../audit/audit-log.ts";
import type { AuditTreeStore, TreeWrite } from "../../audit/transparency/audit-tree.ts";
import type { MemoryAuditHost } from "./memory-audit.ts";

/** The log over the audit trail of a store in memory. */
export class MemoryAuditTree implements AuditTreeStore {
  readonly #host: () => MemoryAuditHost;
  readonly #texts = new Map<string, string>();
  readonly #leaves = new Map<number, Uint8Array>();

  constructor(host: () => MemoryAuditHost) {
    this.#host = host;
  }

  async texts(names: readonly string[]): Promise<readonly (string | undefined)[]> {
    const { demand, barrier } = this.#host();
    demand("read");
    const found = names.map((name) => this.#texts.get(name));
    await barrier();
    return found;
  }

  async runs(from: number, limit: number): Promise<readonly AuditEntry[]> {
    this.#host().demand("read");
    return [...this.#leaves]
      .map(([number, bytes]) => ({ number, bytes }))
      .filter(({ number }) => number >= from)
      .toSorted((one, other) => one.number - other.number)
      .slice(0, limit);
  }

  async write(
    { size, anew = false, leaves, keepFrom = 0, fields }: TreeWrite,
    epoch: number,
  ): Promise<boolean> {
    const { journal, demand, fence, barrier } = this.#host();
    demand("write");
    fence(epoch);
    if (size !== undefined && (this.#texts.get("size") ?? "0") !== String(size)) return false;
    if (anew) {
      for (const name of [...this.#texts.keys()]) journal.delete(this.#texts, name);
      for (const number of [...this.#leaves.keys()]) journal.delete(this.#leaves, number);
    }
    if (leaves !== undefined) journal.set(this.#leaves, leaves.first, leaves.bytes);
    for (const number of [...this.#leaves.keys()]) {
      if (number < keepFrom) journal.delete(this.#leaves, number);
    }
    for (const [name, text] of fields) journal.set(this.#texts, name, text);
    await barrier();
    return true;
  }

  /** Forgets everything, like a store that is emptied. */
  empty(): void {
    this.#texts.clear();
    this.#leaves.clear();
  }
}
