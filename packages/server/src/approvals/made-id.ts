import { hashUuid } from "@holdfast/engine";

/** The identifier of what the use of a request creates: one request makes one thing, in all regions. */
export function madeId(operation: string, request: string): string {
  return hashUuid(`approval\0${operation}\0${request}`);
}
