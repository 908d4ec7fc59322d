import type { ProblemCode } from "../contract/problems.ts";

/** A refusal by the service (RFC 9457): `message` says what is wrong and how to fix it. */
export class AdminProblem extends Error {
  override readonly name = "AdminProblem";
  /** Stable. A newer service may send a code that this release does not know. */
  readonly code: ProblemCode;
  readonly status: number;
  readonly requestId: string | undefined;
  /** The whole problem document. */
  readonly document: Readonly<Record<string, unknown>>;
  /** How long to wait, if the service says so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    document: Readonly<Record<string, unknown>>,
    retryAfterSeconds: number | undefined,
  ) {
    const text = (name: string) =>
      typeof document[name] === "string" ? (document[name] as string) : undefined;
    super(text("detail") ?? text("title") ?? `the service answered ${status}`);
    this.status = status;
    this.document = document;
    this.code = (text("code") ?? "internal") as ProblemCode;
    this.requestId = text("instance")?.replace("urn:uuid:", "");
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The service gave no valid answer. It is not known whether a change was made. */
export class AdminUnreachable extends Error {
  override readonly name = "AdminUnreachable";
}
