import { commonFaults, faults } from "./faults.ts";
import { orderNames, type PlannedOrder } from "./order.ts";
import { Random } from "./random.ts";
import { rareFaults } from "./rare-faults.ts";

/** A fault that a history will have. */
export interface PlannedFault {
  readonly name: string;
  /** After the clients have begun. */
  readonly atMs: number;
  /** When it ends; all faults end when the clients do. */
  readonly lastsMs: number;
  /** What it chooses by chance depends on this number alone. */
  readonly seed: number;
}

/** The store of a region that is lost, or replaced by a copy of an earlier time. */
export interface PlannedLoss {
  readonly atMs: number;
  /** Undefined if it is emptied in any case. */
  readonly copyAtMs: number | undefined;
  readonly seed: number;
  /** Whether it is lost at the next step of an agreed operation after that time. */
  readonly isMidway?: boolean;
}

/** Everything that a history does, drawn from its seed at the beginning. */
export interface Plan {
  readonly seed: number;
  /** The delay one way between the regions. */
  readonly farMs: number;
  readonly replicas: number;
  /** How many of them the nodes' configuration names. */
  readonly leastReplicas: number;
  /** Whether something else than Sentinel replaces a primary. */
  readonly external: boolean;
  /** Whether both regions must have a change before it is acknowledged. */
  readonly required: boolean;
  readonly clients: number;
  /** Clients that only read. */
  readonly readers: number;
  /** How long the clients work. */
  readonly busyMs: number;
  readonly faults: readonly PlannedFault[];
  readonly loss: PlannedLoss | undefined;
  /** Whether audit events are shipped and trimmed. */
  readonly audited: boolean;
  /** What an operator orders. */
  readonly order: PlannedOrder | undefined;
  /** What stays broken for good at the end: the rest must become ready without it. */
  readonly remains: "nothing" | "a node" | "a Sentinel";
}

/** A history with one of these loses no store: only the other region would have what they need. */
const needsBothStores = new Set([
  "record damaged",
  "record of the next format",
  "copy that contradicts a record",
  "region lost and retired",
  "region retired while a node hangs",
  "region retired while a reservation is under way",
  "node with another Redis of its region",
]);

/**
 * A history in which storage keys are rotated has none of these: they put a record back as it was, and an older key has
 * proven it.
 */
const needsOneKey = new Set(["record of the next format"]);

/** Chosen more often: these bring about states that are rare otherwise. */
const often = new Set([
  "cut in the middle of an agreed operation",
  "node dies in the middle of an agreed operation",
]);

const storeLost = "store lost";
const storeLostMidway = "store lost in the middle of an agreed operation";
/** What every history of a run may have: faults of these kinds only, one of these orders, the loss of a store. */
export const focuses: readonly string[] = [
  ...Object.keys(faults),
  ...orderNames,
  storeLost,
  storeLostMidway,
];
/** Joins the parts of a focus. */
export const focusSeparator = " + ";

/** How many histories have an order. */
const orderShare = 1 / 6;

/** The plan of a seed; with `focus`, it has each of these parts. */
export function planOf(seed: number, focus?: string): Plan {
  const parts = focus === undefined ? [] : focus.split(focusSeparator);
  const ordered = orderNames.find((each) => parts.includes(each));
  const kinds = parts.filter((part) => Object.hasOwn(faults, part));
  // Of its own numbers, so that the other parts of a seed's plan stay as they are.
  const random = new Random(seed + 2 ** 44);
  const isOrdered = (random.chance(orderShare) && focus === undefined) || ordered !== undefined;
  const drawn = random.pick(orderNames);
  const name = ordered ?? drawn;
  const isDrawn = isOrdered && name === "backup restored" && random.chance(0.4);
  const isMidway = parts.includes(storeLostMidway);
  const loses = isDrawn || isMidway || parts.includes(storeLost);
  const first = planWithoutOrder(seed, kinds, loses);
  const plan = withRare(isMidway ? midway(first) : first, focus === undefined);
  const atMs = random.between(0, plan.busyMs * 0.5);
  const order = { name, atMs, seed: random.bits() };
  if (!isOrdered) return { ...plan, order: undefined };
  return { ...(name === "storage keys rotated" ? withoutOlder(plan) : plan), order };
}

/** The plan, but its store is lost in the middle of an agreed operation. */
function midway(plan: DrawnPlan): DrawnPlan {
  return { ...plan, loss: plan.loss && { ...plan.loss, isMidway: true } };
}

/** The part of a plan that is drawn first. */
type DrawnPlan = Omit<Plan, "order" | "leastReplicas" | "external">;

/** How many histories have a rare fault, and in how many something else than Sentinel replaces a primary. */
const rareShare = 1 / 3;
const externalShare = 1 / 4;

/** Adds what is drawn from numbers of its own, so that the other parts of a seed's plan stay as they are. */
function withRare(plan: DrawnPlan, isFree: boolean): Omit<Plan, "order"> {
  const { seed, replicas, busyMs } = plan;
  const random = new Random(seed + 2 ** 46);
  const name = random.pick(Object.keys(rareFaults));
  const isPossible = isFree && !(plan.loss !== undefined && needsBothStores.has(name));
  const hasRare = random.chance(rareShare) && isPossible;
  // A replica that Sentinel promotes acknowledges nothing before the old primary has joined it, so only then it matters.
  const isHang = hasRare && name === "primary replaced while a node hangs";
  const external = (random.chance(externalShare) || isHang) && replicas > 0;
  const leastReplicas = external || random.chance(0.5) ? 0 : replicas;
  const rare: PlannedFault = {
    name,
    atMs: random.between(0, busyMs * 0.3),
    lastsMs: random.between(4_000, 10_000),
    seed: random.bits(),
  };
  const faults = hasRare ? [...plan.faults, rare] : plan.faults;
  return {
    ...plan,
    leastReplicas,
    external,
    faults: faults.toSorted((one, other) => one.atMs - other.atMs),
  };
}

/** Nodes refuse an older copy of a store whose key was rotated since, until an operator forgets what they remember of it. */
function withoutOlder<Rest extends Omit<Plan, "order">>(plan: Rest): Rest {
  const faults = plan.faults.filter((fault) => !needsOneKey.has(fault.name));
  return { ...plan, faults, loss: plan.loss && { ...plan.loss, copyAtMs: undefined } };
}

/** The rest of a plan. With `kinds`, all faults are of these; with `loses`, a store is lost in it, for every seed. */
function planWithoutOrder(seed: number, kinds: readonly string[], loses: boolean): DrawnPlan {
  const isFree = kinds.length === 0;
  const random = new Random(seed + 2 ** 40);
  const busyMs = random.between(4_000, 12_000);
  const chooser = seed % 7;
  const replicas = chooser === 1 ? 0 : chooser === 3 ? 2 : 1;
  const choose = chooserOf(random, kinds);
  const planned = Array.from({ length: random.below(isFree ? 8 : 6) }, () => ({
    name: choose(),
    atMs: random.between(0, busyMs * 0.9),
    lastsMs: random.between(100, 6_000),
    seed: random.bits(),
  }));
  const lossAtMs = random.between(1_000, busyMs);
  const isLost = (isFree && random.chance(0.12)) || loses;
  const loss = { atMs: lossAtMs, copyAtMs: random.between(0, lossAtMs), seed: random.bits() };
  const remains = random.pick(["nothing", "nothing", "a node", "a Sentinel"] as const);
  // A store that comes back while it cannot ask the other region serves what it has.
  const cut = isLost && random.chance(0.7) ? [cutAround(random, lossAtMs)] : [];
  return {
    seed,
    farMs: chooser === 0 ? 40 : 4,
    replicas,
    required: chooser === 2,
    clients: 3,
    // Readers do not wait for changes, and so see states that other clients never see.
    readers: isFree ? 3 : 0,
    busyMs,
    faults: [...planned, ...cut]
      .filter(({ name }) => !(isLost && needsBothStores.has(name)))
      .toSorted((one, other) => one.atMs - other.atMs),
    loss: isLost ? loss : undefined,
    audited: random.chance(0.3),
    remains: replicas === 0 && remains === "a Sentinel" ? "nothing" : remains,
  };
}

/** A cut that ends about when a store is lost: just before, or some time later. */
function cutAround(random: Random, lossAtMs: number): PlannedFault {
  const endMs =
    lossAtMs + (random.chance(0.5) ? -random.between(50, 450) : random.between(0, 3_000));
  const atMs = Math.max(0, lossAtMs - random.between(1_000, 3_000));
  const lastsMs = Math.max(100, endMs - atMs);
  return { name: "cut between the regions", atMs, lastsMs, seed: random.bits() };
}

/** Each history has some kinds of faults only, some of them more often: so rare combinations come up. */
function chooserOf(random: Random, kinds: readonly string[]): () => string {
  const names = commonFaults;
  const [only] = kinds;
  // Of one kind none is drawn, so that the other parts of a seed's plan stay as they are.
  if (only !== undefined) return () => (kinds.length === 1 ? only : random.pick(kinds));
  const some = names.filter(() => random.chance(0.6));
  const weighted = (some.length === 0 ? names : some).map((name) => ({
    name,
    weight: random.between(1, 100) * (often.has(name) ? 2.5 : 1),
  }));
  const sum = weighted.reduce((total, { weight }) => total + weight, 0);
  return () => {
    let left = random.between(0, sum);
    for (const { name, weight } of weighted) {
      left -= weight;
      if (left < 0) return name;
    }
    return names[0] ?? "";
  };
}

/** A plan in one line per part, for people. */
export function planLines(plan: Plan): readonly string[] {
  const { faults: planned, loss, order, remains, clients, readers, busyMs, farMs } = plan;
  const { replicas, external } = plan;
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;
  return [
    `${clients} clients and ${readers} readers for ${seconds(busyMs)}; ${replicas} replicas${external ? ", which something else than Sentinel promotes" : ""}; ${farMs} ms between the regions; a change needs ${plan.required ? "both regions" : "one region"}`,
    ...planned.map(
      ({ name, atMs, lastsMs }) => `${seconds(atMs)}  ${name}, for ${seconds(lastsMs)}`,
    ),
    ...(loss === undefined ? [] : [`${seconds(loss.atMs)}  a store is lost${whenLost(loss)}`]),
    ...(order === undefined ? [] : [`${seconds(order.atMs)}  ${order.name}`]),
    ...(remains === "nothing" ? [] : [`${remains} stays away at the end`]),
  ];
}

function whenLost({ isMidway }: PlannedLoss): string {
  return isMidway === true ? ", in the middle of the next agreed operation" : "";
}

/** Tries one simpler plan after the other, and returns the simplest that still fails. */
export async function shrunk(plan: Plan, fails: (plan: Plan) => Promise<boolean>): Promise<Plan> {
  let best = plan;
  const attempt = async (simpler: Plan): Promise<boolean> => {
    if (!(await fails(simpler))) return false;
    best = simpler;
    return true;
  };
  for (let size = Math.ceil(best.faults.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.faults.length; ) {
      const less = best.faults.filter((_, index) => index < at || index >= at + size);
      if (!(await attempt({ ...best, faults: less }))) at += size;
    }
  }
  await attempt({ ...best, order: undefined });
  await attempt({ ...best, loss: undefined });
  await attempt({ ...best, remains: "nothing" });
  await attempt({ ...best, audited: false });
  await attempt({ ...best, readers: 0 });
  for (let clients = 1; clients < best.clients; clients += 1) await attempt({ ...best, clients });
  for (const part of [0.25, 0.5, 0.75]) {
    if (await attempt({ ...best, busyMs: best.busyMs * part })) break;
  }
  return best;
}
