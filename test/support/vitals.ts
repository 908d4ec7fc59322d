import { until } from "@holdfast/testing";
import type { NodeProcess } from "./node-process.ts";
import type { TwoRegions } from "./two-regions.ts";

/** What a node's metrics say about it. */
export interface Vitals {
  /** The store from which it serves its clients. */
  readonly from: "local" | "remote" | "none";
  readonly lease: "full" | "readOnly" | "none";
  /** Whether the other region can be asked. */
  readonly peerUp: boolean;
  readonly leads: boolean;
  /** Records since its start that both regions acknowledged, and (`alone`) only this one. */
  readonly shared: number;
  readonly alone: number;
  /** How often `from` has changed. */
  readonly servingChanges: number;
  /** The wall clock time of the last successful catch-up in seconds; 0 if it does not lead. */
  readonly caughtUpAt: number;
  /** The number of the other region's changes that are not here yet, as far as its leader knows. */
  readonly lag: number;
  readonly quarantined: number;
}

/** Reads a node's metrics; rejects if it does not answer. */
export async function vitalsOf(node: NodeProcess): Promise<Vitals> {
  return vitalsIn(await node.metrics());
}

/** What metrics say about their node. */
export function vitalsIn(metrics: string): Vitals {
  const rows = seriesIn(metrics);
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

/** Whether a node is healthy: a full lease on its own region's store, and a peer in reach. */
export function isWell({ from, lease, peerUp }: Vitals): boolean {
  return from === "local" && lease === "full" && peerUp;
}

/** Waits until every node of both regions is healthy; a failure names the others. */
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

/** Waits until each region's leader has caught up with what the other region has now. */
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
          // A catch-up that began before may end after this call, so wait for one two seconds later.
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
