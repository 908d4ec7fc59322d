import { AdminProblem } from "@holdfast/admin";
import type { Operation } from "./build.ts";
import { optionOf } from "./fields.ts";

/** Names options in place of fields in a refusal of the service; returns other errors unchanged. */
export function inOptions(operation: Operation, error: unknown): unknown {
  if (!(error instanceof AdminProblem)) return error;
  const detail = error.message.replace(
    /^(params|query|body)\.(\w+)((?:[.[][\w\]-]+)*)/,
    (_, part: string, field: string, rest: string) => placeOf(operation, part, field, rest),
  );
  const hint = detail
    .replace(/^instance not found$/, "$&: `holdfast instance list` shows the instances")
    .replaceAll(/\b(\w+)=true\b/g, (_, field: string) => optionOf(field))
    .replaceAll(
      /\b(\w+)=([A-Z]+)\b/g,
      (_, field: string, of: string) => `${optionOf(field)} ${of}`,
    );
  if (hint === error.message) return error;
  return new AdminProblem(
    error.status,
    { ...error.document, detail: hint },
    error.retryAfterSeconds,
  );
}

/** The option or argument that a field of the request came from. */
function placeOf({ row }: Operation, part: string, field: string, rest: string): string {
  if (part === "params") return `<${field}>`;
  const file = row.files?.[field];
  if (file !== undefined) return `--${file}`;
  if (row.secrets?.includes(field) === true) return `${optionOf(field)}-file:`;
  const isRoot = row.roots !== undefined && row.hidden?.includes(field) === true;
  const place = rest.replace(/^\./, "");
  if (isRoot) return `--root: ${place.replace(/^regions\./, "")}`;
  return place === "" ? optionOf(field) : `${optionOf(field)}: ${place}`;
}
