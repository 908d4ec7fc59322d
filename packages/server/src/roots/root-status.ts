import type { Contract, Reply } from "@holdfast/admin";
import type { KeyRingStatus, RegionState, SystemRecord } from "@holdfast/engine";
import { namedRoots, type RootFields, shownReference } from "../records/root-reference.ts";
import { shreddedReason } from "./keys-order.ts";

/** An instance's root of trust in one region, as the API shows it. */
export type RootStatus = Reply<Contract["readRoot"]>["regions"][string];

/** From an instance's record; `own` is what this node itself knows, which is newer where it is of this region. */
export function rootStatusOf(
  record: RootFields & Pick<SystemRecord<"Instance">, "state" | "keys">,
  region: string,
  kindUnlessNamed: RootStatus["type"],
  own?: KeyRingStatus,
): RootStatus {
  const { current } = namedRoots(record, region);
  const state = record.state[region];
  const shredded = shreddedReason(record, region);
  const graceUntilMs = own?.graceUntilMs ?? state?.graceUntilMs;
  return {
    type: current?.type ?? kindUnlessNamed,
    name: current?.name ?? state?.root ?? "",
    origin: current === undefined ? "configuration" : "instance",
    // An order is true at once, the leader's finding is from its last look.
    state: shredded === undefined ? (state?.crkState ?? "unchecked") : "shredded",
    reason: shredded ?? reasonOf(state, own),
    version: state?.version ?? "",
    ...(state !== undefined && { checkedAt: new Date(state.atMs).toISOString() }),
    ...(graceUntilMs !== undefined && { graceUntil: new Date(graceUntilMs).toISOString() }),
    ...(current !== undefined && { reference: shownReference(current) }),
  };
}

function reasonOf(state: RegionState | undefined, own: KeyRingStatus | undefined): string {
  if (state === undefined) return "not checked yet by the region's leader";
  const more = own?.state === "closed" || own?.state === "grace" ? own.reason : "";
  if (state.reason !== "" || more === "") return state.reason;
  return `at this node: ${more}`;
}
