/** What goes wrong with calls, until it is healed or has happened so often. */
export interface Fault {
  /** The key manager itself (default), or IAM. */
  readonly at?: "kms" | "iam";
  /** Only this action, such as `wrap` or `keys.list` (`routes.ts` names them); all without it. */
  readonly action?: string;
  /** How often; without it until healed. */
  readonly times?: number;
  /** Waits before anything else. */
  readonly delayMs?: number;
  /** Answers this status and does nothing. */
  readonly status?: number;
  /** `reasons[0].code` of that answer, or IAM's `errorCode`; without it there are no reasons. */
  readonly code?: string;
  /** Header `retry-after` of that answer. */
  readonly retryAfter?: string;
  /** What stands in that answer: the key manager's envelope (default), nothing, or what a proxy or a broken one would say. */
  readonly body?: "envelope" | "none" | "html" | "truncated" | "huge";
  /** The connection ends: before anything was done, or after it was done and before the answer. */
  readonly cut?: "before" | "after";
  /** Nothing is ever answered. */
  readonly hang?: true;
}

/** The faults that are switched on. */
export class Faults {
  #list: { readonly fault: Fault; left: number }[] = [];

  add(fault: Fault): void {
    this.#list.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY });
  }

  heal(): void {
    this.#list = [];
  }

  /** The first that concerns a call, which counts as one time. */
  take(at: "kms" | "iam", action: string): Fault | undefined {
    const found = this.#list.find(
      ({ fault, left }) =>
        left > 0 &&
        (fault.at ?? "kms") === at &&
        (fault.action === undefined || fault.action === action),
    );
    if (found !== undefined) found.left -= 1;
    return found?.fault;
  }
}
