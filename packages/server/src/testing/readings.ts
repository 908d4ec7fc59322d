import type { NodeReadings } from "../observe/metrics/metric-row.ts";

/** The readings of a node about which nothing is known yet. */
export const unknownNode: NodeReadings = {
  build: { version: "1", region: "a", node: "a1" },
  endpoint: () => undefined,
  health: () => ({
    services: {},
    lease: "none",
    serving: { from: "none", writes: false },
    rootOfTrust: false,
    parts: {},
  }),
  peers: () => [],
  leads: () => undefined,
  quarantined: () => undefined,
  graceLeft: () => undefined,
  certificates: () => [],
};
