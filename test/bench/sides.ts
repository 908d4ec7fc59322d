import type { LoadPlan, Target } from "./load-plan.ts";

/** A server that is measured. */
export interface Side {
  readonly name: "holdfast" | "bare" | "pykmip";
  /** Its addresses; clients take them in turn. */
  readonly targets: readonly Target[];
  /** Whose processor time is read: `server`, and what stands behind it. */
  readonly pids: () => LoadPlan["pids"];
}
