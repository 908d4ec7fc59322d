import type { Contract, Reply } from "@holdfast/admin";
import type { WrappedKek } from "@holdfast/engine";
import { namedRoots } from "../records/root-reference.ts";
import { shreddedReason } from "./keys-order.ts";
import type { Roots } from "./open/roots.ts";

/** One line of the report. */
export type ReportRow = Reply<Contract["reportRoots"]>["items"][number];

type Known = Pick<Roots, "record" | "keks" | "instances">;

/** What of an instance's KEKs is wrapped under which version, by region; from what this node sees, asking nobody. */
export function reportOf(
  roots: Known,
  instance: string,
  regions: readonly string[],
): readonly ReportRow[] {
  const record = roots.record(instance);
  if (record === undefined) return [];
  const { name } = record;
  return regions.map((region) => {
    const state = record.state[region];
    const root = namedRoots(record, region).current?.name ?? state?.root ?? "";
    const currentVersion = state?.root === root ? state.version : "";
    const wraps = wrapsOf(roots.keks(instance), region);
    const versions: Record<string, number> = {};
    for (const wrap of wraps) {
      const label =
        wrap.rootOfTrust === root
          ? wrap.rootKeyVersion
          : `${wrap.rootOfTrust} ${wrap.rootKeyVersion}`;
      versions[label] = (versions[label] ?? 0) + 1;
    }
    // What is current is not known before the leader's first look.
    const unknown = state === undefined;
    const stale = wraps.filter(
      (wrap) => !unknown && (wrap.rootOfTrust !== root || wrap.rootKeyVersion !== currentVersion),
    ).length;
    const crkState = state?.crkState ?? "unchecked";
    const keys = shreddedReason(record, region) === undefined ? crkState : "shredded";
    return { instance, name, region, root, state: keys, currentVersion, versions, stale };
  });
}

function wrapsOf(keks: readonly WrappedKek[], region: string) {
  return keks.flatMap(({ wraps }) => wraps.filter((wrap) => wrap.region === region));
}
