import { Metadata, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import { KeyRingUnavailable, type StoreFailure, StoreUnavailable } from "@holdfast/engine";

/** Trailers for what the status code cannot express. */
const failureKey = "holdfast-failure";
const largeKey = "holdfast-large";
const keyRingKey = "holdfast-key-ring";

/** A request that the answering side refuses from every caller: the request is wrong. */
export class InvalidRequest extends Error {
  override readonly name = "InvalidRequest";
}

/** A reply that is larger than one message may be: it must be requested as a large message. */
export class ReplyTooLarge extends Error {
  override readonly name = "ReplyTooLarge";
}

/** Why a call to one node brought no reply. */
export type CallFault =
  /** The node answered, with its store's failure. */
  | { readonly kind: "answered"; readonly error: StoreUnavailable | KeyRingUnavailable }
  /** The node was not reached; nothing was asked of it. */
  | { readonly kind: "notSent"; readonly reason: string }
  /** No answer came: what was asked may have been done. */
  | { readonly kind: "unknown"; readonly reason: string }
  /** The answer must be requested as a large message. */
  | { readonly kind: "large" };

/** A call to one node that brought no reply. */
export class CallFailed extends Error {
  override readonly name = "CallFailed";
  readonly fault: CallFault;
  constructor(fault: CallFault) {
    super(fault.kind);
    this.fault = fault;
  }
}

const failures: { readonly [Failure in StoreFailure]: true } = {
  noLease: true,
  barrierShort: true,
  timeout: true,
  full: true,
  notInitialised: true,
  corrupt: true,
  unknownFormat: true,
  formatNotAgreed: true,
  badReply: true,
  clockDoubt: true,
  doubted: true,
  unsafe: true,
  keyClosed: true,
  peerUnreachable: true,
  noAgreement: true,
  reserved: true,
  deposed: true,
  superseded: true,
  retired: true,
};

function isFailure(name: string): name is StoreFailure {
  return Object.hasOwn(failures, name);
}

/**
 * The store's failure as it came; one that this release does not know counts as `peerUnreachable`.
 */
export function failureFrom(name: string, message: string, region: string): StoreUnavailable {
  const failure = isFailure(name) ? name : "peerUnreachable";
  return new StoreUnavailable(failure, ofRegion(region, plain(message)));
}

/** Puts the region before a message, unless it begins with that. */
export function ofRegion(region: string, message: string): string {
  return message.startsWith(`region ${region}`) ? message : `region ${region}: ${message}`;
}

/**
 * One line of printable ASCII: what a header can carry, and nothing that could forge a line of a
 * log.
 */
export function plain(text: string): string {
  return text.replace(/[^ -~]+/g, " ").slice(0, 300);
}

/** The status of an error that a handler threw. Errors that the other side must not see go to `unexpected`. */
export function statusOf(error: unknown, unexpected: (error: unknown) => void): StatusObject {
  const metadata = new Metadata();
  if (error instanceof StoreUnavailable) {
    metadata.set(failureKey, error.failure);
    return { code: status.UNAVAILABLE, details: plain(error.message), metadata };
  }
  if (error instanceof KeyRingUnavailable) {
    metadata.set(keyRingKey, error.refused ? "refused" : "unreachable");
    return { code: status.FAILED_PRECONDITION, details: plain(error.message), metadata };
  }
  if (error instanceof InvalidRequest) {
    return { code: status.INVALID_ARGUMENT, details: plain(error.message), metadata };
  }
  if (error instanceof ReplyTooLarge) {
    metadata.set(largeKey, "1");
    return { code: status.RESOURCE_EXHAUSTED, details: "ask for it as a large message", metadata };
  }
  unexpected(error);
  return { code: status.INTERNAL, details: "internal error", metadata };
}

/** What a status that is not OK means for the caller. */
export function faultOf(error: ServiceError, region: string, method: string): CallFault {
  const { code, details } = error;
  // A status that grpc-js made itself may come without metadata.
  const metadata: Metadata | undefined = error.metadata;
  const trailer = (key: string) => metadata?.get(key)[0]?.toString();
  const answered = (failure: StoreFailure, message: string): CallFault => ({
    kind: "answered",
    error: new StoreUnavailable(failure, `region ${region} ${message}`),
  });
  const failure = trailer(failureKey);
  if (failure !== undefined) {
    return { kind: "answered", error: failureFrom(failure, details, region) };
  }
  const keyRing = trailer(keyRingKey);
  if (keyRing !== undefined) {
    const message = ofRegion(region, plain(details));
    return { kind: "answered", error: new KeyRingUnavailable(keyRing === "refused", message) };
  }
  if (trailer(largeKey) !== undefined) return { kind: "large" };
  if (code === status.UNIMPLEMENTED) {
    return answered(
      "peerUnreachable",
      `runs an older release, which cannot answer ${method}: upgrade it`,
    );
  }
  if (code === status.INVALID_ARGUMENT) {
    return answered("corrupt", `does not accept ${method}: ${plain(details)}`);
  }
  if (code === status.UNAVAILABLE) {
    // What grpc-js says where it could not connect; anything else counts as "may have been sent".
    const notSent = /^(No connection established|Channel closed before call started)/.test(details);
    return { kind: notSent ? "notSent" : "unknown", reason: connectionFault(details) };
  }
  const late = code === status.CANCELLED || code === status.DEADLINE_EXCEEDED;
  return { kind: "unknown", reason: late ? "no answer in time" : plain(details) };
}

/** Plain words for the messages of grpc-js, Node and the system. */
const connectionFaults: readonly (readonly [RegExp, string])[] = [
  [/\bECONNREFUSED\b/, "connection refused: nothing listens there"],
  [/\b(EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)\b/, "no route to the host: check address and route"],
  [/\b(ENOTFOUND|EAI_AGAIN)\b/, "its name cannot be resolved"],
  [
    /socket disconnected before secure TLS/,
    "it closed the connection before the TLS handshake ended",
  ],
  [/\b(ECONNRESET|EPIPE)\b|socket hang up|\bConnection dropped\b/, "the connection was lost"],
];

/** The first that matches; else the error that grpc-js wraps in its own message. */
function connectionFault(details: string): string {
  const known = connectionFaults.find(([pattern]) => pattern.test(details));
  if (known !== undefined) return known[1];
  const wrapped = /\bLast error: (?:Error: )?(.*?)\.?(?: Resolution note:.*)?$/s.exec(details);
  return plain(wrapped?.[1] ?? details).slice(0, 120);
}
