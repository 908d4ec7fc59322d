import { gauge, gauges, quantile, rate, type Scrape } from "./scrape.ts";

/** A node as `top` knows it: its address, its names, and its last two scrapes. */
export interface Watched {
  readonly url: string;
  readonly region: string;
  readonly node: string;
  /** Undefined while the node does not answer. */
  readonly pair: readonly [before: Scrape, now: Scrape] | undefined;
}

/** The current figures of one node. */
export interface NodeFigures {
  readonly region: string;
  readonly node: string;
  readonly state: "serves" | "reads only" | "refuses" | "is silent";
  readonly store: string;
  readonly leads: boolean | undefined;
  readonly seesOther: boolean | undefined;
  readonly requests: number;
  readonly failures: number;
  readonly connections: number;
  readonly processor: number;
  readonly memory: number;
  readonly loop: number;
}

/** The current figures of the whole service. */
export interface Figures {
  readonly nodes: readonly NodeFigures[];
  /** For all nodes together: rates per second, and the 99th percentile of the times. */
  readonly clients: readonly {
    readonly what: string;
    readonly rate: number;
    readonly within: number | undefined;
  }[];
  readonly alone: number;
  readonly behind: readonly (readonly [region: string, changes: number])[];
  readonly certificateDays: number | undefined;
  readonly backupHours: number | undefined;
  readonly keys: number | undefined;
  /** What is wrong, the most severe first. */
  readonly wrong: readonly (readonly [level: "bad" | "warn", words: string])[];
}

/** Result Reasons that are the service's own fault, as in docs/slo.md. */
export const ownFaults: readonly string[] = [
  "GeneralFailure",
  "InternalServerError",
  "ServerLimitExceeded",
  "WrappingObjectDestroyed",
  "ProtectionStorageUnavailable",
];
const dayMs = 86_400_000;
const warnDays = 45;

/** Everything that `top` shows, at a moment. */
export function figuresOf(watched: readonly Watched[], nowMs: number): Figures {
  const nodes = watched.map(nodeOf);
  const pairs = watched.flatMap(({ pair }) => (pair === undefined ? [] : [pair]));
  const last = pairs.map(([, now]) => now);
  const total = (...args: RateOf) => pairs.reduce((sum, pair) => sum + rate(pair, ...args), 0);
  const operation = (what: string) => ({
    what,
    rate: total("holdfast_requests_total", { operation: what }),
    within: quantile(0.99, pairs, "holdfast_operation_seconds", { operation: what }),
  });
  const ends = last.flatMap((one) => gauges(one, "holdfast_certificate_not_after_seconds"));
  const backups = last.flatMap((one) =>
    gauges(one, "holdfast_backup_last_success_timestamp_seconds"),
  );
  return {
    nodes,
    clients: [
      operation("Get"),
      operation("Create"),
      {
        what: "handshake",
        rate: total("holdfast_handshake_seconds_count"),
        within: quantile(0.99, pairs, "holdfast_handshake_seconds"),
      },
    ],
    alone: total("holdfast_pushed_records_total", { result: "alone" }),
    behind: watched.flatMap(({ region, pair }) => {
      const changes = pair && gauge(pair[1], "holdfast_replication_lag_changes");
      return changes === undefined ? [] : [[region, changes] as const];
    }),
    certificateDays: least(ends.map(({ value }) => (value * 1000 - nowMs) / dayMs)),
    backupHours: least(backups.map(({ value }) => (nowMs / 1000 - value) / 3600)),
    keys: most(activeKeys(last)),
    wrong: wrongOf(watched, nodes, nowMs),
  };
}

type RateOf = Parameters<typeof rate> extends [unknown, ...infer Rest] ? Rest : never;

/** Active keys as each region's leader counts them. */
function activeKeys(scrapes: readonly Scrape[]): readonly number[] {
  return scrapes.flatMap((now) => {
    const found = gauges(now, "holdfast_objects", { state: "Active" });
    return found.length === 0 ? [] : [found.reduce((sum, { value }) => sum + value, 0)];
  });
}

function nodeOf({ region, node, pair }: Watched): NodeFigures {
  if (pair === undefined) return { region, node, ...silent };
  const [, now] = pair;
  const leader = gauge(now, "holdfast_leader");
  const others = gauges(now, "holdfast_peer_up");
  const from = gauges(now, "holdfast_serving_source").find(({ value }) => value === 1);
  const serves = (service: string) => gauge(now, "holdfast_serving", { service }) === 1;
  return {
    region,
    node,
    state: !serves("") ? "refuses" : serves("holdfast.write") ? "serves" : "reads only",
    store: stores[from?.labels["from"] ?? ""] ?? "?",
    leads: leader === undefined ? undefined : leader === 1,
    seesOther: others.length === 0 ? undefined : others.every(({ value }) => value === 1),
    requests: rate(pair, "holdfast_requests_total"),
    failures: rate(pair, "holdfast_requests_total", { result: ownFaults }),
    connections: gauge(now, "holdfast_connections") ?? 0,
    processor: rate(pair, "process_cpu_seconds_total"),
    memory: gauge(now, "process_resident_memory_bytes") ?? 0,
    loop: gauge(now, "nodejs_eventloop_lag_p99_seconds") ?? 0,
  };
}

const stores: Readonly<Record<string, string>> = { local: "own", remote: "other", none: "none" };

const silent = {
  state: "is silent",
  store: "",
  leads: undefined,
  seesOther: undefined,
  requests: 0,
  failures: 0,
  connections: 0,
  processor: 0,
  memory: 0,
  loop: 0,
} as const;

type Wrong = readonly ["bad" | "warn", string];

function wrongOf(
  watched: readonly Watched[],
  nodes: readonly NodeFigures[],
  nowMs: number,
): readonly Wrong[] {
  const found = [
    ...nodes.flatMap(wrongOfNode),
    ...wrongOfRegions(nodes),
    ...watched.flatMap(({ node, pair }) =>
      pair === undefined ? [] : wrongOfParts(node, pair[1], nowMs),
    ),
  ];
  const unique = new Map(found.map((one) => [one[1], one]));
  return [...unique.values()].toSorted(([one], [other]) => one.localeCompare(other));
}

function wrongOfNode({
  node,
  state,
  store,
  seesOther,
  failures,
  loop,
}: NodeFigures): readonly Wrong[] {
  if (state === "is silent") return [["bad", `${node} does not answer`]];
  return [
    ...when(state === "refuses", "bad", `${node} refuses clients`),
    ...when(state === "reads only", "bad", `${node} takes no changes`),
    ...when(store === "other", "bad", `${node} serves from the other region's store`),
    ...when(seesOther === false, "bad", `${node} cannot reach the other region`),
    ...when(failures > 0, "bad", `${node} fails requests by its own fault`),
    ...when(loop > 0.1, "warn", `${node} is late with its work`),
  ];
}

function wrongOfRegions(nodes: readonly NodeFigures[]): readonly Wrong[] {
  return [...Map.groupBy(nodes, ({ region }) => region)].flatMap(([region, own]) => {
    const known = own.filter(({ leads }) => leads !== undefined);
    const leaders = known.filter(({ leads }) => leads === true).length;
    return when(
      known.length > 0 && leaders !== 1,
      "bad",
      `region ${region} has ${leaders === 0 ? "no leader" : `${leaders} leaders`}`,
    );
  });
}

function wrongOfParts(node: string, now: Scrape, nowMs: number): readonly Wrong[] {
  const roots = gauges(now, "holdfast_root_ok").filter(({ value }) => value === 0);
  const keys = gauges(now, "holdfast_instance_keys", { state: ["closed", "shredded"] });
  const [used, max] = [
    gauge(now, "holdfast_store_memory_used_bytes"),
    gauge(now, "holdfast_store_memory_max_bytes"),
  ];
  const ends = gauges(now, "holdfast_certificate_not_after_seconds").filter(
    ({ value }) => value * 1000 - nowMs < warnDays * dayMs,
  );
  return [
    ...roots.map(
      ({ labels }): Wrong => ["bad", `${node} cannot use root of trust ${labels["root"]}`],
    ),
    ...keys.flatMap(({ labels, value }) =>
      when(value > 0, "bad", `${node}: keys of ${value} instances are ${labels["state"]}`),
    ),
    ...when(
      (gauge(now, "holdfast_quarantined_records") ?? 0) > 0,
      "bad",
      `${node}: records are in quarantine`,
    ),
    ...when(
      gauge(now, "holdfast_store_disk_ok") === 0,
      "bad",
      `${node}: Redis cannot write its disk`,
    ),
    ...when(
      (used ?? 0) > 0.75 * (max ?? Number.POSITIVE_INFINITY),
      "warn",
      `${node}: Redis memory is over 75% full`,
    ),
    ...ends.map(
      ({ labels }): Wrong => [
        "warn",
        `certificate ${labels["subject"]} ends within ${warnDays} days`,
      ],
    ),
  ];
}

function when(holds: boolean, level: "bad" | "warn", words: string): readonly Wrong[] {
  return holds ? [[level, words]] : [];
}

function least(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.min(...values);
}

function most(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.max(...values);
}
