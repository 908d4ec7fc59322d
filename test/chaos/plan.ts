import { seeded } from "../support/random.ts";
import type { RegionName } from "../support/two-regions.ts";

/** Every kind of fault, with what a plan needs to know about it. */
export const faultKinds = {
  "kill-node": { ms: [1_000, 3_000], text: "kill -9 of a node" },
  "freeze-node": { ms: [3_000, 8_000], text: "SIGSTOP of a node, longer than its lease" },
  "kill-redis": { ms: [3_000, 7_000], text: "kill -9 of a Redis primary" },
  "freeze-redis": { ms: [300, 1_200], text: "SIGSTOP of a Redis primary, too short to promote" },
  "depose-redis": {
    ms: [1_000, 4_000],
    text: "SIGSTOP of a Redis primary past its replica's promotion, then SIGCONT",
  },
  failover: { ms: [1_000, 2_000], text: "SENTINEL FAILOVER of a region's Redis" },
  partition: {
    ms: [2_000, 6_000],
    text: "one node cut off from its Redis and Sentinels: its region's nodes write to two stores",
  },
  cut: { ms: [2_000, 8_000], text: "the regions cut off from each other" },
  "cut-one-way": { ms: [2_000, 6_000], text: "one region's nodes cannot reach the other's" },
  "reset-links": {
    ms: [500, 1_500],
    text: "every connection between the regions reset again and again",
  },
  "slow-links": {
    ms: [2_000, 5_000],
    text: "answers between the regions late, some by longer than a node waits",
  },
  "kill-region": { ms: [3_000, 6_000], text: "kill -9 of everything of a region" },
  "full-memory": { ms: [2_000, 5_000], text: "a Redis whose memory is full" },
  "full-disk": { ms: [2_000, 5_000], text: "a Redis whose append-only file cannot grow" },
  "lose-disk": {
    ms: [500, 2_000],
    text: "kill -9 of a member of a store, its disk emptied, and joined anew as a replica",
  },
  "stale-replica": {
    ms: [2_000, 4_000],
    text: "kill -9 of a store's replica, later of its primary; the replica comes back first",
  },
  "change-members": {
    ms: [500, 2_000],
    text: "a replica taken out of a store (`store replicas --forget`), and joined anew",
  },
  "corrupt-record": { ms: [500, 1_000], text: "a record overwritten with random bytes" },
  flush: { ms: [1_000, 3_000], text: "FLUSHALL of a region's store, then `store init`" },
  "replace-node": {
    ms: [500, 1_500],
    text: "a node drained and restarted as the other version",
  },
  "kill-locks": { ms: [2_000, 6_000], text: "kill -9 of a region's lock masters" },
} as const;

export type FaultKind = keyof typeof faultKinds;

/** One fault of a step. */
export interface PlannedFault {
  readonly kind: FaultKind;
  readonly region: RegionName;
  /** The node of the region, if the fault is about one. */
  readonly node: number;
  /** The time after the start of the step. */
  readonly atMs: number;
  readonly forMs: number;
  /** A number in [0, 1) for other choices. */
  readonly dice: number;
}

/** Faults that overlap; all of them end before the next step. */
export interface Step {
  readonly faults: readonly PlannedFault[];
  readonly calmMs: number;
}

/** Kinds with a bounded longest gap; they come first alone, so that a short run checks them. */
const boundedFirst: readonly FaultKind[] = ["kill-node", "kill-redis", "kill-region"];
/** What a lost disk had must be elsewhere: these never come with another fault. */
const alwaysAlone: ReadonlySet<FaultKind> = new Set(["flush", "lose-disk", "change-members"]);

/** A fault of a combination: which, when it begins, for how long, and whether it is in the other region than the first. */
type Part = readonly [kind: FaultKind, atMs: number, forMs: number, isElsewhere?: "elsewhere"];

/** Faults that attack one promise only together, in this order. */
const combinations: readonly (readonly Part[])[] = [
  // What one region has acknowledged alone is in its store only, and that store is out as the regions meet again.
  [
    ["cut", 0, 5_000],
    ["kill-redis", 4_700, 6_000],
  ],
  // A store comes back that lacks what the other one has acknowledged, and cannot ask for it.
  [
    ["kill-redis", 0, 3_000],
    ["cut", 2_500, 6_000],
  ],
  // Neither store is level, and each region waits for the other one.
  [
    ["kill-redis", 0, 4_000],
    ["kill-redis", 200, 4_000, "elsewhere"],
  ],
  // The other region must find out what is new at a primary that numbers its changes anew.
  [
    ["cut", 0, 6_000],
    ["kill-redis", 1_500, 3_000],
    ["failover", 3_000, 1_000, "elsewhere"],
  ],
  // Only one member has what was written last, and only one region.
  [
    ["cut", 0, 9_000],
    ["stale-replica", 500, 3_000],
  ],
  // A node that was stopped wakes up with what it knew before, and its store has another primary.
  [
    ["freeze-node", 0, 7_000],
    ["cut", 300, 5_000],
    ["kill-redis", 600, 4_000],
  ],
];

/**
 * An endless plan from a seed: each kind alone in random order, and after each bounded and every second other one a
 * combination; then combinations and mixtures in turn.
 */
export function* planOf(seed: number, kinds: readonly FaultKind[]): Generator<Step, never> {
  const random = seeded(seed);
  const first = boundedFirst.filter((kind) => kinds.includes(kind));
  const others = shuffled(
    kinds.filter((kind) => !first.includes(kind)),
    random,
  );
  const together = combined(kinds, random);
  for (const kind of shuffled(first, random)) {
    yield step([kind], random);
    if (others.length > 0) yield together.next().value;
  }
  for (const [at, kind] of others.entries()) {
    yield step([kind], random);
    if (at % 2 === 1) yield together.next().value;
  }
  for (;;) {
    yield step(mixture(kinds, random), random);
    yield together.next().value;
  }
}

/** Yields every combination that these kinds allow, in random order, without end. It yields mixtures if they allow none. */
function* combined(kinds: readonly FaultKind[], random: () => number): Generator<Step, never> {
  const able = combinations.filter((parts) => parts.every(([kind]) => kinds.includes(kind)));
  for (;;) {
    for (const parts of shuffled(able, random)) yield combination(parts, random);
    if (able.length === 0) yield step(mixture(kinds, random), random);
  }
}

function combination(parts: readonly Part[], random: () => number): Step {
  const { faults, calmMs } = step(
    parts.map(([kind]) => kind),
    random,
  );
  const [region, other]: readonly RegionName[] = random() < 0.5 ? ["a", "b"] : ["b", "a"];
  return {
    faults: parts.map(([, atMs, forMs, isElsewhere], at) => ({
      ...(faults[at] as PlannedFault),
      ...{ region: (isElsewhere === undefined ? region : other) as RegionName, atMs, forMs },
    })),
    calmMs,
  };
}

/** One to three kinds. */
function mixture(kinds: readonly FaultKind[], random: () => number): FaultKind[] {
  const count = 1 + Math.floor(random() * 3);
  const drawn = Array.from({ length: count }, () => draw(kinds, random));
  const alone = drawn.find((kind) => alwaysAlone.has(kind));
  return alone === undefined ? drawn : [alone];
}

function step(kinds: readonly FaultKind[], random: () => number): Step {
  const faults = kinds.map((kind, at): PlannedFault => {
    const [min, max] = faultKinds[kind].ms;
    return {
      kind,
      region: random() < 0.5 ? "a" : "b",
      node: random() < 0.5 ? 0 : 1,
      atMs: at === 0 ? 0 : Math.round(random() * 3_000),
      forMs: Math.round(min + random() * (max - min)),
      dice: random(),
    };
  });
  return { faults, calmMs: 500 + Math.round(random() * 1_500) };
}

function draw<Item>(items: readonly Item[], random: () => number): Item {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to draw from");
  return item;
}

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const left = [...items];
  const out: Item[] = [];
  while (left.length > 0) out.push(...left.splice(Math.floor(random() * left.length), 1));
  return out;
}
