import { type Change, kindOf, type Observer, StoreUnavailable } from "@holdfast/engine";
import { refusalOf } from "./acceptable.ts";
import { join, settled, storedOf } from "./join.ts";

/**
 * Whether a change is one that a join could make, except for attributes: no immutable part differs,
 * no fact and no KEK's register is taken back, and a destroyed record has no material. The object before the change must
 * match its tag, since the store compares only tags.
 */
function onlyGrows(change: Change): boolean {
  const { after } = change;
  if (settled(after) !== after || refusalOf(after) !== undefined) return false;
  if (change.kind === "create") return true;
  const { before } = change;
  if (storedOf(before.object).tag !== before.tag) return false;
  const outcome = join(before.object, after);
  if (outcome.kind !== "joined") return false;
  // The last writer of an attribute wins, so any value is possible.
  const { registers, lastChange } = after;
  // That a region once had a wrap of a KEK decides whether it gets the KEK, so the wrap's register stays.
  if (kindOf(after) === "Kek" && outcome.object.registers.length > registers.length) return false;
  const grown = { ...outcome.object, registers, lastChange };
  return storedOf(grown).tag === storedOf(after).tag;
}

/**
 * Refuses changes that another region may not make in this one's store, however far it is trusted.
 * Records of another instance are left to the store, which treats them as missing.
 */
export function assertMonotonic(
  instance: string,
  changes: readonly Change[],
  from: string,
  observe: Observer,
): void {
  const refused = changes.find((change) => isOf(instance, change) && !onlyGrows(change));
  if (refused === undefined) return;
  const { uniqueIdentifier } = refused.after;
  const message = `region ${from} would change an immutable part of record ${uniqueIdentifier}, or take a fact back: refused`;
  observe({ type: "warning", message });
  throw new StoreUnavailable("corrupt", message);
}

function isOf(instance: string, change: Change): boolean {
  if (change.after.instance !== instance) return false;
  return change.kind === "create" || change.before.object.instance === instance;
}
