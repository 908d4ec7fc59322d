import { ManagementError, parseRequest } from "@holdfast/admin";
import type { ClockDoubt } from "@holdfast/engine";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import type { Records } from "../records/records.ts";
import type { SystemView } from "../records/system-view.ts";
import { standingOf } from "./policies.ts";
import { continueMs, type RequestRecord } from "./requests.ts";

export interface ApprovalsDutyOptions {
  readonly region: string;
  readonly view: Pick<SystemView, "all">;
  readonly records: Pick<Records, "change" | "destroy">;
  readonly wallMs: () => number;
  /** See `ApprovalsOptions`. */
  readonly policyMs: () => number;
  /** See `Clock.doubt`. */
  readonly doubt: () => ClockDoubt | undefined;
  /** Whether every region that takes part can be reached; true unless given. */
  readonly isTogether?: () => boolean;
}

/** How long a request is kept: much longer than one can be used, so that none is used twice. */
const keptMs = 7 * 86_400_000;
const perRun = 100;
/** Requests stay for so long after a cut: the other region needs them for what it has not taken yet. */
const togetherMs = 3_600_000;

/** Notes when the region first saw a change of the policy that waits, and deletes requests that are long over. */
export class ApprovalsDuty implements Duty {
  readonly name = "approvals";
  readonly everyMs = 10_000;
  readonly #options: ApprovalsDutyOptions;
  #apartAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ApprovalsDutyOptions) {
    this.#options = options;
  }

  async run({ active }: DutyContext): Promise<DutyResult> {
    const [unseen, over] = [this.#unseen(), this.#over()];
    const due = [...unseen, ...over];
    let done = 0;
    for (const work of due.slice(0, perRun)) {
      if (!active()) break;
      await work();
      done += 1;
    }
    return { done, left: due.length - done };
  }

  /** A clock that differs from the others begins no wait: it could end it too early. */
  #unseen() {
    const { region, view, records, wallMs, policyMs, doubt } = this.#options;
    if (doubt() !== undefined) return [];
    const all = view.all("ApprovalPolicy");
    const waiting = new Set(standingOf(all, policyMs()).waiting.map(({ id }) => id));
    return all
      .filter(({ id, seen }) => waiting.has(id) && seen[region] === undefined)
      .map(({ id }) => async () => {
        const now = { [region]: wallMs() };
        await records.change(
          "ApprovalPolicy",
          id,
          ({ seen }) => (seen[region] === undefined ? { seen: now } : undefined),
          [],
        );
      });
  }

  #over() {
    const { view, records, wallMs, isTogether } = this.#options;
    const nowMs = wallMs();
    if (isTogether?.() === false) this.#apartAtMs = nowMs;
    if (nowMs - this.#apartAtMs < togetherMs) return [];
    return view
      .all("ApprovalRequest")
      .filter((record) => record.destroyed === undefined && isOver(record, nowMs))
      .map(({ id }) => async () => {
        const leaving = { call: "" };
        await records.destroy("ApprovalRequest", id, [], { leaving }).catch((error: unknown) => {
          if (!(error instanceof ManagementError && error.code === "notFound")) throw error;
        });
      });
  }
}

function isOver({ text, createdMs }: RequestRecord, nowMs: number): boolean {
  const untilMs = (parseRequest(text)?.until ?? 0) * 1000 + continueMs;
  return createdMs < nowMs - keptMs && untilMs < nowMs;
}
