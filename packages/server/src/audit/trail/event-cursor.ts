import { hash } from "node:crypto";
import { ManagementError } from "@holdfast/admin";
import { trailCount } from "@holdfast/engine";

/** The order of a list of events. */
export type EventOrder = "newest" | "oldest";

/** Where a page ended: the last number read, by partition; finished partitions are left out. */
export type Positions = ReadonlyMap<number, number>;

const orders: readonly EventOrder[] = ["newest", "oldest"];
const storeLength = 3;

/** Writes a cursor: order, mark of the store, then the position plus 1, or 0, of each partition. */
export function writeCursor(storeId: string, order: EventOrder, positions: Positions): string {
  return written([orders.indexOf(order), ...storeMark(storeId)], positions);
}

function written(head: readonly number[], positions: Positions): string {
  const bytes = [...head];
  for (let partition = 0; partition < trailCount; partition += 1) {
    const position = positions.get(partition);
    let rest = position === undefined ? 0 : position + 1;
    for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    bytes.push(rest);
  }
  return Buffer.from(bytes).toString("base64url");
}

/** Reads a cursor; throws a `ManagementError` for one of another order or store. */
export function readCursor(cursor: string, storeId: string, order: EventOrder): Positions {
  const bytes = Buffer.from(cursor, "base64url");
  if (bytes[0] !== orders.indexOf(order) || !isOf(bytes, storeId)) throw stale();
  return positionsIn(bytes);
}

/** Whether a cursor belongs to this store. */
export function isCursorOf(cursor: string, storeId: string): boolean {
  return isOf(Buffer.from(cursor, "base64url"), storeId);
}

/**
 * The cursor after these entries, which directly follow `cursor`; throws a `ManagementError` for a
 * malformed one.
 */
export function cursorAfter(
  cursor: string,
  entries: readonly { readonly partition: number; readonly number: number }[],
): string {
  const bytes = Buffer.from(cursor, "base64url");
  const positions = new Map(positionsIn(bytes));
  for (const { partition, number } of entries) positions.set(partition, number);
  return written([...bytes.subarray(0, 1 + storeLength)], positions);
}

function isOf(bytes: Buffer, storeId: string): boolean {
  return bytes.subarray(1, 1 + storeLength).equals(storeMark(storeId));
}

function positionsIn(bytes: Buffer): Positions {
  const positions = new Map<number, number>();
  let at = 1 + storeLength;
  for (let partition = 0; partition < trailCount; partition += 1) {
    let [value, scale] = [0, 1];
    for (let byte = 128; byte > 127; at += 1) {
      byte = bytes[at] ?? 256;
      if (byte > 255 || scale > 2 ** 42) throw stale();
      value += (byte % 128) * scale;
      scale *= 128;
    }
    if (value > 0) positions.set(partition, value - 1);
  }
  if (at !== bytes.length) throw stale();
  return positions;
}

function storeMark(storeId: string): Buffer {
  return Buffer.from(hash("sha256", storeId, "hex"), "hex").subarray(0, storeLength);
}

/** The refusal of a cursor that does not belong to the list. */
export function stale(): ManagementError {
  return new ManagementError("invalid", "query.cursor: belongs to another list; start without it");
}
