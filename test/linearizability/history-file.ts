import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { z } from "zod";
import {
  type ClientHistory,
  isChange,
  type Operation,
  readRecord,
  type StoreEvent,
} from "./operation.ts";

/** The first line of a file: what the other lines are. */
const header = z.strictObject({
  format: z.literal("holdfast-history"),
  version: z.literal(1),
  regions: z.array(z.string().min(1)).min(1),
});

/** Writes a history: a line of JSON for the header, then one for each operation, by its call, and each event. */
export async function writeHistory(path: string, history: ClientHistory): Promise<void> {
  const first = { format: "holdfast-history", version: 1, regions: history.regions };
  const operations = history.operations.toSorted((one, other) => one.call - other.call);
  const lines = [first, ...operations, ...history.events].map((one) => `${JSON.stringify(one)}\n`);
  await writeFile(path, lines);
}

/** Reads a file that `writeHistory` or another program wrote; throws a `RangeError` that names the first bad line. */
export async function readHistory(path: string): Promise<ClientHistory> {
  const operations: Operation[] = [];
  const events: StoreEvent[] = [];
  let regions: readonly string[] | undefined;
  let number = 0;
  for await (const line of createInterface({
    input: createReadStream(path),
    crlfDelay: Infinity,
  })) {
    number += 1;
    if (line.trim() === "") continue;
    try {
      const value: unknown = JSON.parse(line);
      if (regions === undefined) {
        regions = regionsIn(value);
        continue;
      }
      const record = readRecord(value);
      requireKnown(record, regions);
      if ("event" in record) events.push(record);
      else operations.push(record);
    } catch (error) {
      throw new RangeError(`${path}, line ${number}: ${(error as Error).message}`);
    }
  }
  if (regions === undefined)
    throw new RangeError(`${path}: empty, where a header is the first line`);
  return { regions, operations, events };
}

function regionsIn(value: unknown): readonly string[] {
  const { data } = header.safeParse(value);
  if (data !== undefined) return data.regions;
  const wanted = { format: "holdfast-history", version: 1, regions: ["a", "b"] };
  throw new RangeError(`no header; the first line must be like ${JSON.stringify(wanted)}`);
}

function requireKnown(record: Operation | StoreEvent, regions: readonly string[]): void {
  const named = "event" in record ? regionsOfEvent(record) : regionsOf(record);
  const unknown = named.find((region) => !regions.includes(region));
  if (unknown === undefined) return;
  throw new RangeError(`region ${unknown}: the header has ${regions.join(", ")}`);
}

function regionsOfEvent(event: StoreEvent): readonly string[] {
  return event.region === undefined ? [] : [event.region];
}

function regionsOf(one: Operation): readonly string[] {
  const acknowledged = isChange(one) ? (one.acknowledged ?? []) : [];
  return [one.region, ...(one.store === undefined ? [] : [one.store]), ...acknowledged];
}
