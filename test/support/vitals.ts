import { until } from "@holdfast/testing";
import type { NodeProcess } from "./node-process.ts";
import type { TwoRegions } from "./two-regions.ts";

/** What a node says of itself in its metrics. */
export interface Vitals {
  /** The store that its clients are served from. */
  readonly from: "local" | "remote" | "none";
  readonly lease: "full" | "readOnly" | "none";
  /** Whether the other region can be asked. */
  readonly peerUp: boolean;
  readonly leads: boolean;
  /** Since its process began: records acknowledged by both regions, and by this one alone. */
  readonly shared: number;
  readonly alone: number;
  /** How often `from` has changed. */
  readonly servingChanges: number;
  /** Wall clock, seconds, of the last catch-up that succeeded; 0 where it does not lead. */
  readonly caughtUpAt: number;
  /** Changes of the other region that are not here yet, as far as its leader knows. */
  readonly lag: number;
  readonly quarantined: number;
}

/** Reads a node's metrics; rejects where it does not answer. */
export async function vitalsOf(node: NodeProcess): Promise<Vitals> {
  const rows = seriesIn(await node.metrics());
  const one = (name: string, labels = "") => rows.get(name)?.get(labels) ?? 0;
  const sum = (name: string, label = "") =>
    [...(rows.get(name) ?? [])].reduce(
      (total, [labels, value]) => (labels.includes(label) ? total + value : total),
      0,
    );
  const which = <Name extends string>(name: string, label: string, names: readonly Name[]) =>
    names.find((value) => one(name, `${label}="${value}"`) === 1);
  return {
    from: which("holdfast_serving_source", "from", ["local", "remote"]) ?? "none",
    lease: which("holdfast_store_lease", "state", ["full", "readOnly"]) ?? "none",
    peerUp: sum("holdfast_peer_up") > 0,
    leads: one("holdfast_leader") === 1,
    shared: sum("holdfast_pushed_records_total", 'result="shared"'),
    alone: sum("holdfast_pushed_records_total", 'result="alone"'),
    servingChanges: sum("holdfast_serving_changes_total"),
    caughtUpAt: one("holdfast_duty_success_timestamp_seconds", 'duty="catch-up"'),
    lag: one("holdfast_duty_left", 'duty="catch-up"'),
    quarantined: one("holdfast_quarantined_records"),
  };
}

/** Whether a node is at its best: ready, over its region's own store, with the other region in reach. */
export function isWell({ from, lease, peerUp }: Vitals): boolean {
  return from === "local" && lease === "full" && peerUp;
}

/** Waits until every node of both regions is at its best; says which are not. */
export async function allWell(both: TwoRegions, withinMs?: number): Promise<void> {
  const check = async () => {
    const states = await Promise.all(
      both.nodes.map(async (node) => {
        if (!(await node.ready())) return `${node.name} is not ready`;
        const vitals = await vitalsOf(node).catch(() => undefined);
        if (vitals === undefined) return `${node.name} does not answer`;
        const { from, lease, peerUp } = vitals;
        return isWell(vitals)
          ? ""
          : `${node.name}: ${from}, ${lease}, peer ${peerUp ? "up" : "down"}`;
      }),
    );
    const unwell = states.filter((state) => state !== "").join("; ");
    return unwell === "" || unwell;
  };
  await until("every node well", check, withinMs);
}

/** Waits until each region's leader has caught up with what the other had when this was called. */
export async function caughtUp(both: TwoRegions, withinMs?: number): Promise<void> {
  const since = Date.now() / 1000;
  await until(
    "both regions caught up",
    async () => {
      const all = await Promise.all(
        both.regions.map(async ({ nodes }) => {
          const each = await Promise.all(
            nodes.map((node) => vitalsOf(node).catch(() => undefined)),
          );
          // A run that began before it was called may end after it: two seconds more are asked for.
          return each.some((one) => one?.leads && one.lag === 0 && one.caughtUpAt > since + 2);
        }),
      );
      return all.every(Boolean);
    },
    withinMs,
  );
}

function seriesIn(text: string): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const rows = new Map<string, Map<string, number>>();
  for (const [, name = "", labels = "", value] of text.matchAll(
    /^([a-z_]+)(?:\{(.*)\})? (\S+)$/gm,
  )) {
    const series = rows.get(name) ?? new Map<string, number>();
    series.set(labels, Number(value));
    rows.set(name, series);
  }
  return rows;
}
