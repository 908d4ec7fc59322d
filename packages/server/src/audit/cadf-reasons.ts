import { type ProblemCode, problems } from "@holdfast/admin";
import type { AuditEvent } from "@holdfast/engine";

/** The HTTP reason phrases of the codes in events. */
export const reasonTypes: Readonly<Record<number, string>> = {
  200: "OK",
  202: "Accepted",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  424: "Failed Dependency",
  428: "Precondition Required",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** The severities of codes that are not `normal`, as IBM's services set them. */
const severities: Readonly<Record<number, "warning" | "critical">> = {
  400: "warning",
  401: "critical",
  403: "critical",
  409: "warning",
  424: "warning",
  500: "warning",
  502: "warning",
  503: "critical",
  504: "warning",
  505: "warning",
  507: "critical",
};

/** HTTP codes of KMIP's result reasons (KMIP 2.1, 11.50) and the product's own; others are 400. */
const codes: Readonly<Record<string, number>> = {
  ItemNotFound: 404,
  ObjectNotFound: 404,
  AttributeNotFound: 404,
  AttributeInstanceNotFound: 404,
  WrappingObjectNotFound: 404,
  ObjectDestroyed: 410,
  WrappingObjectDestroyed: 424,
  WrappingObjectArchived: 424,
  AuthenticationNotSuccessful: 401,
  BadPassword: 401,
  PermissionDenied: 403,
  NotAuthorised: 403,
  Sensitive: 403,
  NotExtractable: 403,
  IllegalOperation: 409,
  WrongKeyLifecycleState: 409,
  ObjectArchived: 409,
  NonUniqueNameAttribute: 409,
  ObjectAlreadyExists: 409,
  OperationUndone: 409,
  ConstraintViolation: 409,
  UsageLimitExceeded: 409,
  ResponseTooLarge: 413,
  OperationNotSupported: 501,
  FeatureNotSupported: 501,
  KeyFormatTypeNotSupported: 501,
  KeyCompressionTypeNotSupported: 501,
  KeyWrapTypeNotSupported: 501,
  UnsupportedProtocolVersion: 501,
  ServerLimitExceeded: 503,
  ProtectionStorageUnavailable: 503,
  GeneralFailure: 500,
  InternalServerError: 500,
  CryptographicFailure: 500,
  role: 403,
  scope: 403,
  instance: 403,
};

/** The codes of actions that failed without a known reason. */
const otherCodes: Readonly<Record<string, number>> = {
  "vmware-solutions.management.authorize": 401,
  "root.fail": 503,
  "audit.drop": 507,
  "audit.damage": 500,
  "backup.create": 500,
  "backup.delete": 500,
  "backup.verify": 500,
};

/** The HTTP code of an event. */
export function reasonCodeOf({ action, outcome, reason = "" }: AuditEvent): number {
  if (outcome === "success") return 200;
  if (outcome === "pending") return 202;
  // It is not known whether the change was made.
  if (outcome === "unknown") return 504;
  const problem = Object.hasOwn(problems, reason) ? problems[reason as ProblemCode] : undefined;
  return problem?.status ?? ownCode(codes, reason) ?? ownCode(otherCodes, action) ?? 400;
}

/** The severity of an event with that code. */
export function severityOf(code: number): "normal" | "warning" | "critical" {
  return severities[code] ?? "normal";
}

function ownCode(table: Readonly<Record<string, number>>, name: string): number | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
