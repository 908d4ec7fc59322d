import { type ProblemCode, problems } from "@holdfast/admin";
import { type Problem, problemOf } from "../problem.ts";
import { errorBody, Refusal, unauthorized } from "./refusals.ts";

/** What a route is about, and what failed if it fails. */
export interface About {
  readonly of: "adapter" | "certificate" | "object";
  /** Such as `KMIP adapter could not be created`. */
  readonly what: string;
}

/** An answer of an error, as it is sent. */
interface RefusedAnswer {
  readonly status: number;
  readonly body: object;
  readonly headers: Readonly<Record<string, string>>;
  /** Logged, but not sent. */
  readonly cause?: unknown;
}

const codesOf = {
  adapter: {
    missing: "KMIP_ADAPTER_NOT_FOUND_ERR",
    named: "KMIP_ADAPTER_DUPLICATE_NAME_ERR",
    conflict: "KMIP_ADAPTER_CONFLICT_ERR",
  },
  certificate: {
    missing: "KMIP_CERT_NOT_FOUND_ERR",
    named: "KMIP_CERT_DUPLICATE_NAME_ERR",
    conflict: "KMIP_CERT_CONFLICT_ERR",
  },
  object: {
    missing: "KMIP_OBJECT_NOT_FOUND_ERR",
    named: "KMIP_OBJECT_CONFLICT_ERR",
    conflict: "KMIP_OBJECT_CONFLICT_ERR",
  },
} as const;

const invalidRoot = { status: 400, code: "NATIVE_INVALID_CRK_ERR" } as const;
const away = { status: 503, code: "SERVICE_UNAVAILABLE_ERR" } as const;
const conflict = (of: About["of"]) => ({ status: 409, code: codesOf[of].conflict });

/** Holdfast's causes of a refusal in IBM's codes and statuses. IBM publishes no code for some of them. */
const translated: Readonly<
  Partial<
    Record<
      ProblemCode,
      | { readonly status: number; readonly code: string }
      | ((of: About["of"]) => { readonly status: number; readonly code: string })
    >
  >
> = {
  invalid: { status: 400, code: "BAD_REQUEST_ERR" },
  forbidden: { status: 403, code: "FORBIDDEN_ERR" },
  notFound: (of) => ({ status: 404, code: codesOf[of].missing }),
  methodNotAllowed: { status: 405, code: "METHOD_NOT_ALLOWED_ERR" },
  nameTaken: (of) => ({ status: 409, code: codesOf[of].named }),
  certificateTaken: { status: 409, code: "KMIP_CERT_DUPLICATE_ERR" },
  keysRemain: { status: 409, code: "KMIP_ADAPTER_HAS_OBJECTS_ERR" },
  keyActive: { status: 409, code: "KMIP_OBJECT_ACTIVE_ERR" },
  approvalNeeded: { status: 409, code: "APPROVAL_NEEDED_ERR" },
  approvalRefused: { status: 403, code: "APPROVAL_REFUSED_ERR" },
  tooLarge: { status: 413, code: "BODY_TOO_LARGE_ERR" },
  unsupportedMedia: { status: 415, code: "UNSUPPORTED_MEDIA_TYPE_ERR" },
  rootKeyMissing: invalidRoot,
  rootDenied: invalidRoot,
  rootDisabled: invalidRoot,
  rootGone: invalidRoot,
  rootUnsupported: invalidRoot,
  tooMany: { status: 429, code: "TOO_MANY_REQUESTS_ERR" },
  internal: { status: 500, code: "INTERNAL_SERVER_ERR" },
  rootUnavailable: away,
  peerUnreachable: away,
  storeUnavailable: away,
};

/** How a route of IBM's API answers an error. Without `about`, no route was found. */
export function refusedAnswer(
  error: unknown,
  about: About | undefined,
  requestId: string,
): RefusedAnswer {
  if (error instanceof Refusal) return { ...bodyOf(error), headers: {} };
  const problem = problemOf(error, requestId);
  const { headers = {}, cause } = problem;
  return { ...bodyOf(refusalOf(problem, about)), headers, ...(cause !== undefined && { cause }) };
}

function bodyOf({ status, message, text }: Refusal) {
  return { status, body: errorBody(status, message, text) };
}

function refusalOf({ code, detail }: Problem, about: About | undefined): Refusal {
  if (code === "unauthenticated") return unauthorized();
  const { of = "adapter", what = problems[code].title } = about ?? {};
  if (about === undefined && code === "notFound") {
    return new Refusal(404, what, { code: "NOT_FOUND_ERR", message: detail });
  }
  if (code === "certificateInvalid") {
    const target = { type: "field", name: "certificate" } as const;
    return new Refusal(400, what, { code: "INVALID_FIELD_ERR", message: detail, target });
  }
  const row = translated[code] ?? conflict;
  const { status, code: ibmCode } = typeof row === "function" ? row(of) : row;
  return new Refusal(status, what, { code: ibmCode, message: detail });
}
