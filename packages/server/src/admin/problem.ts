import { ManagementError, type ProblemCode, problems } from "@holdfast/admin";
import { KeyRingUnavailable, RootOfTrustError, StoreUnavailable } from "@holdfast/engine";
import { reasonOf } from "../base/operator-error.ts";

/** A refusal as it is sent (RFC 9457). */
export interface Problem {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Logged, but not sent: a fault of this node. */
  readonly cause?: unknown;
}

/** Thrown if a request is refused before its handler is called. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** The problem document. */
export function problemDocument(problem: Problem, requestId: string): Record<string, unknown> {
  const { code, detail, extra } = problem;
  const { status, title } = problems[code];
  return {
    ...extra,
    type: `urn:holdfast:problem:${code}`,
    title,
    status,
    detail,
    code,
    instance: `urn:uuid:${requestId}`,
  };
}

/** What a caller learns about a thrown error; nothing about unexpected ones. */
export function problemOf(error: unknown, requestId: string): Problem {
  if (error instanceof Refused) return error.problem;
  if (error instanceof ManagementError) {
    return { code: error.code, detail: reasonOf(error), extra: error.extra };
  }
  if (error instanceof StoreUnavailable) {
    const { failure } = error;
    const peer = failure === "peerUnreachable" || failure === "noAgreement";
    return peer
      ? {
          code: "peerUnreachable",
          detail: "the other region must take part and cannot be reached; try again when it can",
        }
      : { code: "storeUnavailable", detail: storeDetail(failure) };
  }
  if (error instanceof RootOfTrustError) {
    return { code: rootCodes[error.failure], detail: reasonOf(error) };
  }
  if (error instanceof KeyRingUnavailable) {
    const code = error.refused ? "rootDenied" : "rootUnavailable";
    return { code, detail: "the instance's keys cannot be opened now: look at its root of trust" };
  }
  return fastifyProblem(error) ?? internal(error, requestId);
}

const rootCodes = {
  unavailable: "rootUnavailable",
  denied: "rootDenied",
  disabled: "rootDisabled",
  gone: "rootGone",
} as const;

function storeDetail(failure: StoreUnavailable["failure"]): string {
  if (failure === "barrierShort" || failure === "timeout") {
    return "the change may have been made, or not; look, and try again";
  }
  if (failure === "full")
    return "the store's memory is full: it takes no changes until it has more";
  if (failure === "reserved") return "an agreed operation holds the record; try again in a moment";
  return "the store cannot be used now; try again, or ask a node of the other region";
}

/** Refusals of the HTTP framework, by their code. */
const frameworkCodes: Readonly<Record<string, Problem>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: {
    code: "tooLarge",
    detail: "the body is larger than this route takes",
  },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: "unsupportedMedia",
    detail: "send the body as application/json",
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: "invalid", detail: "the body is empty, and not JSON" },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: "invalid", detail: "the body is not JSON" },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: "invalid",
    detail: "the body is not as long as its Content-Length says",
  },
  FST_ERR_BAD_URL: { code: "invalid", detail: "the path is not well encoded" },
  FST_ERR_MAX_PARAM_LENGTH: { code: "notFound", detail: "a part of the path is too long" },
};

function fastifyProblem(error: unknown): Problem | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const known = frameworkCodes[code];
  if (known !== undefined) return known;
  const status = "statusCode" in error ? error.statusCode : undefined;
  if (status === 400) return { code: "invalid", detail: "the request cannot be read" };
  return undefined;
}

function internal(cause: unknown, requestId: string): Problem {
  const detail = `internal error; the node's log has it under request ${requestId}`;
  return { code: "internal", detail, cause };
}
