/** A fault of calls; it ends when it is healed or has happened so often. */
export interface Fault {
  /** The faulty service: the key manager itself (default), or IAM. */
  readonly at?: "kms" | "iam";
  /** Only this action, such as `wrap` or `keys.list` (see `routes.ts`); all unless given. */
  readonly action?: string;
  /** How often; until healed unless given. */
  readonly times?: number;
  /** The wait before anything else. */
  readonly delayMs?: number;
  /** The status of an answer instead of carrying out the call. */
  readonly status?: number;
  /** `reasons[0].code` of that answer, or IAM's `errorCode`; unless given, there are no reasons. */
  readonly code?: string;
  /** The header `retry-after` of that answer. */
  readonly retryAfter?: string;
  /** The body of that answer: the envelope (default), none, or that of a proxy or broken server. */
  readonly body?: "envelope" | "none" | "html" | "truncated" | "huge";
  /** Cuts the connection: before the call is carried out, or after it and before the answer. */
  readonly cut?: "before" | "after";
  /** The call is never answered. */
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

  /** The first fault that applies to a call; counts it as one time. */
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
