import { type Document, type InstanceStatus, systemTypes } from "@holdfast/engine";
import { z } from "zod";
import { parsedText } from "../../base/parsed-text.ts";
import { regionState } from "../../roots/region-state.ts";

const removal = z.object({
  id: z.string(),
  /** `reserved`: it may still be dropped. `decided`: it is finished, whoever does it. */
  phase: z.enum(["reserved", "decided"]),
  force: z.boolean(),
  atMs: z.number(),
  by: z.string(),
  byId: z.string(),
});

/** A deletion under way, as the instance's record holds it. */
export type Removal = z.output<typeof removal>;

/** What an administrator wants of an instance; an instance of the configuration has none. */
type WantedStatus = "Inactive" | "Configuring" | "Installed" | "Removing";

const wanted: readonly string[] = [
  "Inactive",
  "Configuring",
  "Installed",
  "Removing",
] satisfies WantedStatus[];

/** An instance as its record says it. */
export interface InstanceEntry {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly origin: "order" | "configuration";
  /** Undefined for one of the configuration. */
  readonly wanted: WantedStatus | undefined;
  readonly removal: Removal | undefined;
  readonly deleted: boolean;
  readonly createdMs: number | undefined;
  readonly createdBy: string;
  readonly configuredMs: number | undefined;
  readonly fields: Document["fields"];
}

const labelsText = z.record(z.string(), z.string());

/** What a record of type Instance says; undefined for any other. */
export function readInstance(document: Document): InstanceEntry | undefined {
  const { type, fixed, fields, destroyed } = document;
  const id = fixed["instance"];
  if (type !== systemTypes.Instance || id === undefined) return undefined;
  const { name = "", description = "", status, createdBy = "" } = fields;
  return {
    id,
    name,
    description,
    labels: parsedText(labelsText, fields["labels"]) ?? {},
    origin: fields["createdMs"] === undefined ? "configuration" : "order",
    wanted: wanted.includes(status ?? "") ? (status as WantedStatus) : undefined,
    removal: parsedText(removal, fields["removal"]),
    deleted: destroyed !== undefined,
    createdMs: milliseconds(fields["createdMs"]),
    createdBy,
    configuredMs: milliseconds(fields["configuredMs"]),
    fields,
  };
}

/** A deletion as the record's field. */
export function removalText(of: Removal): string {
  return JSON.stringify(of);
}

/** What an instance claims: its name, in the whole system. */
export function instanceClaims(name: string): string {
  return JSON.stringify([`name ${name}`]);
}

/** Whether the leaders of all these regions have found the instance's root of trust usable and its first KEK in place. */
export function isReady({ fields }: InstanceEntry, regions: readonly string[]): boolean {
  return regions.every((region) => regionState(fields, region)?.status === "Installed");
}

/** The status that an instance has to have in its partition of every region's store. */
export function statusOf(entry: InstanceEntry, regions: readonly string[]): InstanceStatus {
  if (entry.deleted) return "Deleted";
  if (entry.wanted === "Configuring" && isReady(entry, regions)) return "Installed";
  return entry.wanted ?? (entry.origin === "configuration" ? "Installed" : "Inactive");
}

function milliseconds(text: string | undefined): number | undefined {
  const ms = Number(text);
  return text !== undefined && Number.isSafeInteger(ms) ? ms : undefined;
}
