import { instanceStatuses } from "@holdfast/engine";
import { z } from "zod";
import { parsedText } from "../base/parsed-text.ts";

const crkState = z.enum([
  "usable",
  "unreachable",
  "denied",
  "disabled",
  "gone",
  "shredded",
  "unchecked",
]);
/** How a region's root of trust does for an instance. */
export type CrkState = z.output<typeof crkState>;

const state = z.object({
  status: z.enum(instanceStatuses),
  /** Why it is not Installed there, or what is about to end; empty where nothing is wrong. */
  reason: z.string(),
  atMs: z.number(),
  /** The root of trust's own name; empty while it has not said it. */
  root: z.string(),
  crkState,
  version: z.string(),
  graceUntilMs: z.number().optional(),
});

/** What a region's leader last found of an instance: field `state.REGION` of its record. */
export type RegionState = z.output<typeof state>;

const order = z.object({
  keys: z.enum(["open", "shredded"]),
  /** Another with each order, so that every node carries each out. */
  id: z.string(),
  atMs: z.number(),
  by: z.string(),
});

/** What an administrator last ordered of a region's open keys of an instance: field `keys.REGION`. */
export type KeysOrder = z.output<typeof order>;

type Fields = Readonly<Record<string, string>>;

/** The field with a region's state. */
export const stateField = (region: string): string => `state.${region}`;
/** The field with the last order for a region's open keys. */
export const keysField = (region: string): string => `keys.${region}`;

/** Undefined where the region's leader has said nothing yet. */
export function regionState(fields: Fields, region: string): RegionState | undefined {
  return parsedText(state, fields[stateField(region)]);
}

/** Undefined where nobody has ordered anything. */
export function keysOrder(fields: Fields, region: string): KeysOrder | undefined {
  return parsedText(order, fields[keysField(region)]);
}

/** Why an instance's keys are closed where an administrator shredded them; undefined where nobody did. */
export function shreddedReason(fields: Fields, region: string): string | undefined {
  const last = keysOrder(fields, region);
  if (last?.keys !== "shredded") return undefined;
  const at = new Date(last.atMs).toISOString();
  return `its keys were shredded by ${last.by} at ${at}; revalidate the root of trust to open them again`;
}

/** As a record's field. */
export function stateText(of: RegionState): string {
  return JSON.stringify(state.parse(of));
}

/** As a record's field. */
export function orderText(of: KeysOrder): string {
  return JSON.stringify(of);
}
