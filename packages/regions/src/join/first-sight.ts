import {
  type Destruction,
  isDestroyed,
  type ManagedObject,
  pendingDestruction,
} from "@holdfast/engine";
import type { Instead, OwnBefore } from "./may-join.ts";

/** How long a destruction is delayed in this region, and by which clock. */
interface DelayHere {
  readonly region: string;
  /** The delay of the object's instance as this region knows it; 0 erases at once. */
  readonly delaySeconds: number;
  /** This node's clock, seconds. */
  readonly nowSeconds: number;
  /** The clock that is behind all that this node knows, seconds. */
  readonly earliestSeconds: number;
}

/** Clocks of two regions may differ by so much before nothing is decided by them. */
const skewSeconds = 60;

/**
 * What this region writes in the place of another region's destruction that would end before the delay has passed here
 * since this region first saw it. The own record is the proof of that first sight: it says until when the material is kept,
 * and another region moves that time only to a later one. An end that comes too early makes the object destroyed for
 * clients, with its material. What this region never had, it cannot lose. Undefined for what is taken as it is.
 */
export function firstSight(
  own: OwnBefore,
  after: ManagedObject,
  { region, delaySeconds, nowSeconds, earliestSeconds }: DelayHere,
): Instead | undefined {
  if (own === undefined || own === "damaged" || own === after) return undefined;
  if (own.facts.destroyed !== undefined || !isDestroyed(after.facts)) return undefined;
  const seen = pendingDestruction(own.facts);
  if (seen === undefined && delaySeconds === 0) return undefined;
  const until = seen?.until ?? nowSeconds + delaySeconds;
  const { destroyed, ...facts } = after.facts;
  const given = facts.destruction?.state === "pending" ? facts.destruction : undefined;
  if (destroyed === undefined) return given && begunHere(after, given, seen, until);
  if (seen !== undefined && seen.until <= earliestSeconds + skewSeconds) return undefined;
  const us = Math.max(nowSeconds * 1_000_000, (facts.destruction?.us ?? 0) + 1);
  const made = { time: nowSeconds, region, state: "pending", until, us } as const;
  const destruction = given === undefined ? made : moved(given, until);
  return {
    instead: { ...after, material: own.material, facts: { ...facts, destruction } },
    reason: "it would erase the key before the delay of its destruction is over in this region",
  };
}

/** A destruction that is not final, with its delay begun when this region first sees it. */
function begunHere(
  after: ManagedObject,
  given: Destruction,
  seen: Destruction | undefined,
  until: number,
): Instead | undefined {
  if (given.until >= (seen === undefined ? until - skewSeconds : until)) return undefined;
  return { instead: { ...after, facts: { ...after.facts, destruction: moved(given, until) } } };
}

/** A pending destruction that ends not before a time; the same if it does. */
function moved(given: Destruction, until: number): Destruction {
  return given.until >= until ? given : { ...given, until, us: given.us + 1 };
}
