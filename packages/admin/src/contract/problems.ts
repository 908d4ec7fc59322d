/** Every cause of a refusal: HTTP status and title (RFC 9457). A code never changes its meaning. */
export const problems = {
  invalid: { status: 400, title: "The request violates the contract" },
  unauthenticated: { status: 401, title: "No valid token" },
  forbidden: { status: 403, title: "The token's roles do not allow this" },
  notFound: { status: 404, title: "Not found" },
  methodNotAllowed: { status: 405, title: "The method is not allowed at this path" },
  conflict: { status: 409, title: "Another change was faster" },
  nameTaken: { status: 409, title: "The name is taken" },
  certificateTaken: { status: 409, title: "The certificate belongs to an instance already" },
  wrongState: { status: 409, title: "Not possible in this state" },
  keysRemain: { status: 409, title: "Undestroyed keys exist" },
  keyActive: { status: 409, title: "The key is Active" },
  approvalNeeded: { status: 409, title: "Approvals are needed" },
  approvalRefused: { status: 403, title: "The approvals do not allow this" },
  confirmationNeeded: { status: 409, title: "The name must be typed again" },
  declared: { status: 409, title: "Declared in the configuration file" },
  idempotencyMismatch: { status: 409, title: "The idempotency key was used for another request" },
  madeAlready: { status: 409, title: "Made by an earlier request; its secret was shown then" },
  preconditionFailed: { status: 412, title: "It has changed since it was read" },
  tooLarge: { status: 413, title: "The request is too large" },
  unsupportedMedia: { status: 415, title: "The body is not JSON" },
  certificateInvalid: { status: 422, title: "Not a usable certificate" },
  rootKeyMissing: { status: 422, title: "No usable customer root key" },
  rootDenied: { status: 422, title: "The key manager denies access" },
  rootDisabled: { status: 422, title: "The root key is disabled" },
  rootGone: { status: 422, title: "The root key is gone" },
  rootUnsupported: {
    status: 422,
    title: "This node is not configured for that kind of key manager",
  },
  preconditionRequired: { status: 428, title: "If-Match is needed" },
  tooMany: { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "Internal error" },
  rootUnavailable: { status: 503, title: "The key manager cannot be reached" },
  peerUnreachable: { status: 503, title: "The other region cannot be reached" },
  storeUnavailable: { status: 503, title: "The store cannot promise anything now" },
} as const satisfies Record<string, { readonly status: number; readonly title: string }>;

/** A stable code of a refusal. */
export type ProblemCode = keyof typeof problems;

/** A refusal: `detail` says on one line, without secrets, what is wrong and how to fix it. */
export class ManagementError extends Error {
  override readonly name = "ManagementError";
  readonly code: ProblemCode;
  /** Further members of the problem document, such as how many keys exist by state. */
  readonly extra: Readonly<Record<string, string | number | Readonly<Record<string, number>>>>;

  constructor(code: ProblemCode, detail: string, extra: ManagementError["extra"] = {}) {
    super(detail);
    this.code = code;
    this.extra = extra;
  }
}
