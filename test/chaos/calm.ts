import type { Circumstances } from "./history.ts";
import { Intervals } from "./intervals.ts";

/** Of a run without faults whose nodes' logs say nothing: both regions acknowledge every change. */
export const calm: Circumstances = {
  shared: () => true,
  disturbed: { a: new Intervals(), b: new Intervals() },
  emptied: { a: [], b: [] },
  isolated: new Intervals(),
  served: () => undefined,
  levels: [],
};
