import type { NodeEvent } from "./events.ts";

/** Counts the changes that this node acknowledged without another region since that region was last lost. */
export class AloneChanges {
  readonly #counts = new Map<string, number>();

  observe(event: NodeEvent): void {
    if (event.type === "peer" && event.state === "down") this.#counts.set(event.region, 0);
    if (event.type !== "push" || event.result === "shared") return;
    this.#counts.set(event.region, this.of(event.region) + event.records);
  }

  /** How many changes; those that the region has fetched since count too. */
  of(region: string): number {
    return this.#counts.get(region) ?? 0;
  }
}
