import { hashUuid, type ManagedObject } from "@holdfast/engine";

/** The identifier of what the use of a request creates: one request makes one thing, in all regions. */
export function madeId(operation: string, request: string): string {
  return hashUuid(`approval\0${operation}\0${request}`);
}

/** The region that made a request, as its record says: its call was written then. */
export function madeIn(request: ManagedObject | undefined): string | undefined {
  return request?.registers.find(({ key }) => key === "call")?.stamp.region;
}
