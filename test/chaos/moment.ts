import type { RegionName } from "../support/two-regions.ts";

/** When and where a client sent a request. */
export interface Moment {
  /** The region of the endpoint. */
  readonly region: RegionName;
  readonly node: string;
  readonly beganMs: number;
  readonly endedMs: number;
}

/** Begins a request at an endpoint; the function that it returns gives the moment, which ends when it is called. */
export function began({ node, region }: Pick<Moment, "node" | "region">): () => Moment {
  const beganMs = performance.now();
  return () => ({ node, region, beganMs, endedMs: performance.now() });
}
