import type { OperationName, ResultReason } from "@holdfast/kmip";

/** The server answered that the operation failed (KMIP 2.1, 8.6). */
export class KmipClientError extends Error {
  override readonly name = "KmipClientError";
  readonly operation: OperationName | undefined;
  readonly status: string;
  readonly reason: ResultReason | string | undefined;
  /** Result Message: the server's own words. */
  readonly resultMessage: string | undefined;
  constructor(failure: {
    readonly operation: OperationName | undefined;
    readonly status: string;
    readonly reason: string | undefined;
    readonly message: string | undefined;
  }) {
    const { operation, status, reason, message } = failure;
    const what = [`${operation ?? "request"}: ${reason ?? status}`, message];
    super(oneLine(what.filter((part) => part !== undefined).join(": ")));
    this.operation = operation;
    this.status = status;
    this.reason = reason;
    this.resultMessage = message;
  }
}

/**
 * Why there is no answer. `unreachable`, `busy` and `closed`: the request was not sent. `lost`: the
 * connection ended before the answer. `timeout`: the client closed it because the answer was late.
 */
export type ConnectionFailure = "unreachable" | "busy" | "closed" | "lost" | "timeout";

/** There is no answer: no server could be reached, or the connection ended before the answer. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly failure: ConnectionFailure;
  /** The server's behaviour indicates that it does not accept the client certificate. */
  readonly refused: boolean;
  constructor(failure: ConnectionFailure, message: string, cause?: unknown, refused = false) {
    super(oneLine(message), cause === undefined ? undefined : { cause });
    this.failure = failure;
    this.refused = refused;
  }

  /** Whether a server may have received the request, and may have carried it out. */
  get sent(): boolean {
    return this.failure === "lost" || this.failure === "timeout";
  }
}

/** The server's answer is not a KMIP response to the request. */
export class MalformedResponseError extends Error {
  override readonly name = "MalformedResponseError";
  constructor(endpoint: string, cause: unknown) {
    super(oneLine(`${endpoint} answered no valid KMIP response: ${textOf(cause)}`), { cause });
  }
}

/** A text on one line, without control characters. */
function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, " ").trim();
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a connection could not be opened or was lost, in words that say how to fix it. */
export function failureReason(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const known = reasons.find(([pattern]) => pattern.test(code));
  return known === undefined ? textOf(error) : known[1];
}

/** Whether a TLS alert of the server says that it does not accept the client certificate. */
export function isCertificateRefused(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return refusedAlert.test(code);
}

const refusedAlert =
  /^ERR_SSL_(TLSV\d+_ALERT|SSLV3_ALERT)_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)/;

const reasons: readonly (readonly [RegExp, string])[] = [
  [/^ECONNREFUSED$/, "connection refused: nothing listens there"],
  [/^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/, "cannot be reached: check the address and the route"],
  [/^(ENOTFOUND|EAI_AGAIN)$/, "its name cannot be resolved"],
  [/^(ECONNRESET|EPIPE)$/, "the connection was reset"],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    "the server's certificate does not name this host: connect by a name or address that it lists",
  ],
  [
    /^(CERT_SIGNATURE_FAILURE|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?)$/,
    "the server's certificate does not come from the given certificate authority",
  ],
  [/^CERT_HAS_EXPIRED$/, "the server's certificate has expired"],
  [refusedAlert, "the server refused the client certificate"],
  [/^ERR_SSL_.*(WRONG_VERSION_NUMBER|PACKET_LENGTH|HTTP_REQUEST)/, "no TLS server answers there"],
];
