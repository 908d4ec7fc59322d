import type { LoadPlan, Target } from "./load-plan.ts";

/** A measured server. */
export interface Side {
  readonly name: "holdfast" | "bare" | "pykmip";
  /** Its addresses; clients use them in turn. */
  readonly targets: readonly Target[];
  /** The processes whose processor time is read: `server`, and those behind it. */
  readonly pids: () => LoadPlan["pids"];
}
