import { decoded, encoded, parsedJson } from "./text.ts";

/** A request for approvals: exactly what approvers sign. */
export interface ApprovalText {
  readonly policy: { readonly version: number; readonly digest: string };
  /** A UUID. */
  readonly request: string;
  /** The operation of the API, or the command at a node. */
  readonly operation: string;
  /** What the path names, with slashes between: an instance's identifier first. */
  readonly target: string;
  /** SHA-256 of the call in canonical JSON, hex. */
  readonly call: string;
  /** The identifier of the token that asked, or `node NODE`. */
  readonly by: string;
  /** Where it may be used. */
  readonly regions: readonly string[];
  /** Seconds since 1970. */
  readonly until: number;
}

const head = "holdfast-approval-1";
const textMax = 8192;
/** The largest call that can be approved, in characters of its JSON. */
export const callMax = 65_536;

/** The text that is signed. */
export function requestText(request: ApprovalText): string {
  const { policy, target, by, regions, until } = request;
  const lines = [
    head,
    `policy ${policy.version} ${policy.digest}`,
    `request ${request.request}`,
    `operation ${request.operation}`,
    `target ${encoded(target) || "-"}`,
    `call ${request.call}`,
    `by ${encoded(by)}`,
    `in ${regions.map(encoded).join(" ")}`,
    `until ${until}`,
  ];
  return `${lines.join("\n")}\n`;
}

const form =
  /^holdfast-approval-1\npolicy ([1-9]\d{0,8}) ([0-9a-f]{64})\nrequest ([0-9a-f-]{36})\noperation ([A-Za-z][A-Za-z ]{0,63})\ntarget (\S+)\ncall ([0-9a-f]{64})\nby (\S+)\nin (\S+(?: \S+){0,7})\nuntil ([1-9]\d{0,11})\n$/;

/** Reads the text of a request; undefined if the text is not a request. */
export function parseRequest(text: string): ApprovalText | undefined {
  const found = text.length > textMax ? null : form.exec(text);
  if (found === null) return undefined;
  const [, version, digest, request, operation, target, call, by, regions, until] =
    found as unknown as readonly string[] as readonly [string, ...string[]];
  const parsed = {
    policy: { version: Number(version), digest: String(digest) },
    request: String(request),
    operation: String(operation),
    target: target === "-" ? "" : (decoded(String(target)) ?? ""),
    call: String(call),
    by: decoded(String(by)) ?? "",
    regions: String(regions)
      .split(" ")
      .map((one) => decoded(one) ?? ""),
    until: Number(until),
  };
  return requestText(parsed) === text ? parsed : undefined;
}

/** The file that an approver reads: the text that is signed, an empty line, and the call. */
export function documentOf(text: string, call: string): string {
  return `${text}\n${call}\n`;
}

/** The call in such a file, whose SHA-256 the text names. */
export function callIn(document: string): string {
  return document.slice(document.indexOf("\n\n") + 2).replace(/\n$/, "");
}

/** Reads such a file with the SHA-256 of its call, hex; a text says what is wrong. */
export function readDocument(
  document: string,
  callDigest: string,
): { readonly text: string; readonly request: ApprovalText; readonly call: unknown } | string {
  const text = document.slice(0, document.indexOf("\n\n") + 1);
  const call = callIn(document);
  const request = parseRequest(text);
  if (request === undefined) return "not a request as `holdfast approval show` writes it";
  const value = parsedJson(call);
  // What a person reads must be all that is signed: no member twice, and nothing beside the value.
  if (callDigest !== request.call || canonicalJson(value) !== call) {
    return "the call below the text is not the one that the text names: do not sign it";
  }
  return { text, request, call: value };
}

/** Canonical JSON (RFC 8785) of a JSON value; members that are undefined are left out. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((one) => canonicalJson(one ?? null)).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, each]) => `${JSON.stringify(name)}:${canonicalJson(each)}`);
  return `{${members.join(",")}}`;
}
