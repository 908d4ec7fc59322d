import type { z } from "zod";

/** A fault at a place in an input: `says` completes "PLACE …" and never contains the value. */
export interface InputFault {
  readonly path: readonly PropertyKey[];
  readonly says: string;
}

type Issue = z.core.$ZodIssue;

/** What a schema refuses, in our own words; an unknown field gets its own place. */
export function faultsOf(issues: readonly Issue[]): readonly InputFault[] {
  return issues.flatMap((issue) => faultOf(issue, issue.path));
}

function faultOf(issue: Issue, path: readonly PropertyKey[]): readonly InputFault[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: [...path, key], says: "is an unknown field" }));
  }
  if (issue.code === "invalid_union") return unionFaults(issue, path);
  if (issue.code === "invalid_key") {
    const [inner] = issue.issues;
    const says = inner === undefined ? "has a name that is not allowed" : saysOf(inner);
    return [{ path, says: `the name ${says}` }];
  }
  return [{ path, says: saysOf(issue) }];
}

/** If several forms are allowed: what is wrong according to the closest form. */
function unionFaults(
  issue: Extract<Issue, { readonly code: "invalid_union" }>,
  path: readonly PropertyKey[],
): readonly InputFault[] {
  const { options } = issue as { readonly options?: readonly unknown[] };
  if (options !== undefined) return [{ path, says: `must be one of ${options.join(", ")}` }];
  const depth = (issues: readonly Issue[]) => Math.max(0, ...issues.map((one) => one.path.length));
  const sorted = issue.errors.toSorted(
    (one, other) => depth(other) - depth(one) || one.length - other.length,
  );
  const [nearest] = sorted;
  if (nearest === undefined || depth(nearest) === 0) {
    // If the contract names the allowed forms, the message is in its own words.
    const forms = issue.message.startsWith("Invalid") ? undefined : issue.message;
    const says = forms ? `must be ${forms}` : "does not have an allowed form";
    return [{ path, says }];
  }
  return nearest.flatMap((one) => faultOf(one, [...path, ...one.path]));
}

const kinds: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
};

const formats: Readonly<Record<string, string>> = {
  datetime: "a time such as 2026-11-25T20:12:09Z",
  base64: "base64",
  url: "an address such as https://kms.example",
};

const units: Readonly<Record<string, string>> = { string: " characters", array: " entries" };

function saysOf(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      // The received value is not repeated; only a missing one is reported.
      if (/received undefined$/.test(issue.message)) return "is missing";
      return `must be ${kinds[issue.expected] ?? `of type ${issue.expected}`}`;
    case "too_small":
      return `must ${verbOf(issue.origin)} at least ${issue.minimum}${units[issue.origin] ?? ""}`;
    case "too_big":
      return `must ${verbOf(issue.origin)} at most ${issue.maximum}${units[issue.origin] ?? ""}`;
    case "invalid_value":
      return `must be one of ${issue.values.map(String).join(", ")}`;
    case "invalid_format":
      // The contract's own patterns come with a description.
      if (!issue.message.startsWith("Invalid")) return `must be ${issue.message}`;
      return `must be ${formats[issue.format] ?? "in the form that the documentation shows"}`;
    case "not_multiple_of":
      return "must be a whole number";
    case "custom":
      return issue.message.startsWith("Invalid") ? "is not allowed" : `allows ${issue.message}`;
    case "invalid_element":
    case "invalid_key":
    case "invalid_union":
    case "unrecognized_keys":
      return "is not allowed";
  }
}

function verbOf(origin: string): string {
  return origin in units ? "have" : "be";
}
