import { hash } from "node:crypto";
import { Refused } from "./problem.ts";

const checkBytes = 9;

/**
 * A cursor as callers get it: the handler's text with a checksum of it and of the list that it
 * continues. It is not secret and grants nothing; handlers must treat its text as untrusted input.
 */
export function sealCursor(said: string, list: string): string {
  const bytes = Buffer.from(said, "utf8");
  return Buffer.concat([check(bytes, list), bytes]).toString("base64url");
}

/** The handler's text; throws a `Refused` if the cursor is not valid for this list. */
export function openCursor(cursor: string, list: string): string {
  const all = /^[\w-]+$/.test(cursor) ? Buffer.from(cursor, "base64url") : Buffer.alloc(0);
  const bytes = all.subarray(checkBytes);
  const good = all.length > checkBytes && all.subarray(0, checkBytes).equals(check(bytes, list));
  if (good) return bytes.toString("utf8");
  throw new Refused({
    code: "invalid",
    detail:
      "query.cursor: belongs to another list; start without it, and keep the filters unchanged",
  });
}

/** Names a list: the operation, its parameters and its filters, but neither cursor nor limit. */
export function listName(
  operation: string,
  params: object | undefined,
  query: Readonly<Record<string, unknown>>,
): string {
  const filters = Object.entries(query)
    .filter(([name]) => name !== "cursor" && name !== "limit")
    .toSorted(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify([operation, params ?? {}, filters]);
}

function check(bytes: Buffer, list: string): Buffer {
  const text = `holdfast cursor\0${list}\0${bytes.toString("base64url")}`;
  return Buffer.from(hash("sha256", text, "hex"), "hex").subarray(0, checkBytes);
}
