import {
  InstanceKeyRing,
  KeyRingUnavailable,
  type ManagedObject,
  RootOfTrustError,
  StoreUnavailable,
} from "@holdfast/engine";
import type { CommandLine } from "@holdfast/redis";
import type { PeerStore } from "@holdfast/regions";
import { Violation } from "./checker.ts";
import { instance } from "./client.ts";
import { interrupted } from "./interruption.ts";
import {
  bytesOf,
  isSameRecord,
  lookAt,
  newerIn,
  objectsIn,
  putBytes,
  withRecordOf,
} from "./look.ts";
import type { SimNode } from "./node.ts";
import { byRole, namesOf, placesOf, sentinelsOf } from "./places.ts";
import type { Random } from "./random.ts";
import { holdNext, isOf, rareFaults } from "./rare-faults.ts";
import { beginRetirement } from "./retirement.ts";
import type { Copy } from "./store/member.ts";
import type { RedisGroup } from "./store/redis-group.ts";
import { Upgrade } from "./upgrade.ts";
import type { World } from "./world.ts";

/** How often a record is looked for that must be put back. */
const putBackMs = 1_000;

/** Scripts whose commands may be under way when their store is emptied. */
const sentToTheEarlier = ["commit", "commit", "marker", "reserve", "set-cursor"] as const;

/** How the product refuses to rekey an instance. Any other error is a bug. */
const refusals = [StoreUnavailable, KeyRingUnavailable, RootOfTrustError] as const;

/** A fault that has begun, and how to end it. */
interface Begun {
  readonly what: string;
  readonly end?: () => void;
}

export type Fault = (world: World, random: Random) => Begun | undefined;

const common: Readonly<Record<string, Fault>> = {
  "cut between the regions": (world) => {
    const [a, b] = [placesOf(world, "a"), placesOf(world, "b")];
    return { what: "a | b", end: world.network.cut(a, b, true) };
  },
  "cut in the middle of an agreed operation": (world, random) =>
    interrupted(world, random, ({ machine }) => {
      world.trace.line("fault", `cut between the regions while ${machine.name} asks`);
      return [world.network.cut(placesOf(world, "a"), placesOf(world, "b"), true)];
    }),
  "node dies in the middle of an agreed operation": (world, random) => {
    // Mostly the region whose write is the decision, after it has shown that to somebody.
    const [first, second] = world.groups;
    const group = random.chance(0.7) ? first : second;
    const afterMs = random.chance(0.7) ? random.between(50, 1_500) : undefined;
    return interrupted(world, random, (asking, isOver) => {
      world.trace.line("fault", `${asking.machine.name} dies while it asks`);
      asking.kill();
      const restart = (): void => startAgain(asking);
      if (afterMs === undefined || group === undefined) return [restart];
      const { primary } = group;
      world.scheduler.after(afterMs, () => {
        if (!isOver()) primary.freeze();
      });
      return [restart, () => primary.thaw()];
    });
  },
  "instance rekeyed": (world, random) => {
    const node = random.pick(world.nodes);
    const keyRing = node.client?.keyRing;
    if (!(keyRing instanceof InstanceKeyRing)) return undefined;
    keyRing.rekey(instance, []).catch((error: unknown) => {
      if (!refusals.some((refusal) => error instanceof refusal)) world.crashed(error);
    });
    return { what: node.machine.name };
  },
  "cut one way": (world, random) => {
    const [from, to] = random.chance(0.5) ? ["a", "b"] : ["b", "a"];
    const end = world.network.cut(placesOf(world, from ?? ""), placesOf(world, to ?? ""), false);
    return { what: `${from} > ${to}`, end };
  },
  "node cut from its Redis": (world, random) => {
    const node = random.pick(world.nodes);
    const { members } = world.group(node.region);
    const places = members.map(({ name }) => name);
    return { what: node.machine.name, end: world.network.cut([node.machine.name], places, true) };
  },
  "replica cut off": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    if (primary === undefined || others.length === 0) return undefined;
    const names = others.map(({ name }) => name);
    return { what: group.region, end: world.network.cut([primary.name], names, true) };
  },
  "primary lost while its replica is behind": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    if (primary?.state !== "up" || others.length === 0) return undefined;
    const names = others.map(({ name }) => name);
    const join = world.network.cut([primary.name], names, true);
    const [a, b] = [placesOf(world, "a"), placesOf(world, "b")];
    const meet = random.chance(0.6) ? world.network.cut(a, b, true) : () => undefined;
    let over = false;
    world.scheduler.after(random.between(50, 900), () => {
      if (!over && primary.state === "up") primary.kill(true);
      join();
    });
    const end = (): void => {
      over = true;
      meet();
      primary.restart();
    };
    return { what: primary.name, end };
  },
  "cut between the regions, and a store frozen after it": (world, random) => {
    const { primary } = random.pick(world.groups);
    const [a, b] = [placesOf(world, "a"), placesOf(world, "b")];
    const meet = world.network.cut(a, b, true);
    let over = false;
    world.scheduler.after(random.between(500, 2_000), () => {
      if (!over) primary.freeze();
      meet();
    });
    const end = (): void => {
      over = true;
      primary.thaw();
    };
    return { what: primary.name, end };
  },
  "primary cut off with a node": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    if (primary === undefined || others.length === 0) return undefined;
    const nodes = namesOf(world, group.region);
    const beyond = [...others.map(({ name }) => name), ...sentinelsOf(group), ...nodes.slice(1)];
    const near = [primary.name, ...nodes.slice(0, 1)];
    return { what: near.join("+"), end: world.network.cut(near, beyond, true) };
  },
  "old primary that a Sentinel still names": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    if (primary?.state !== "up" || others.length === 0) return undefined;
    const [stale = "", ...rest] = sentinelsOf(group);
    const beyond = [...rest, ...others.map(({ name }) => name)];
    const join = world.network.cut([stale, primary.name], beyond, true);
    primary.kill(false);
    let over = false;
    // By then the other Sentinels have made a replica the primary.
    world.scheduler.after(random.between(2_000, 4_000), () => {
      if (!over) primary.restart();
    });
    const end = (): void => {
      over = true;
      join();
      primary.restart();
    };
    return { what: primary.name, end };
  },
  "Sentinels cut off from nodes": (world, random) => {
    const group = random.pick(world.groups);
    const end = world.network.cut(sentinelsOf(group), namesOf(world, group.region), true);
    return { what: group.region, end };
  },
  "Redis frozen": (world, random) => {
    const process = random.pick(random.pick(world.groups).members);
    if (process.state !== "up") return undefined;
    process.freeze();
    return { what: process.name, end: () => process.thaw() };
  },
  "slow disk": (world, random) => {
    const member = random.pick(random.pick(world.groups).members);
    let over = false;
    // Now and then it is fast for a while.
    const turn = (): void => {
      if (over) return;
      member.fsyncMs = random.chance(0.25) ? 0 : random.between(20, 1_500);
      world.scheduler.after(random.between(200, 3_000), turn);
    };
    turn();
    const end = (): void => {
      over = true;
      member.fsyncMs = 0;
    };
    return { what: member.name, end };
  },
  "record damaged": (world, random) => {
    const group = random.pick(world.groups);
    const both = inBothStores(world, group);
    if (both.length === 0) return undefined;
    const { uniqueIdentifier } = random.pick(both);
    // The end of it is missing, as on a broken disk.
    const whole = bytesOf(group.primary, instance, uniqueIdentifier);
    if (whole === undefined) return undefined;
    putBytes(group.primary, instance, uniqueIdentifier, whole.subarray(0, -8));
    world.damaged += 1;
    world.checker.damaged.damage(group.region, uniqueIdentifier, world.scheduler.nowMs);
    return { what: `${group.primary.name} ${uniqueIdentifier}` };
  },
  "record of the next format": (world, random) => {
    const group = random.pick(world.groups);
    // An earlier one is put back for as long as the history lasts, also if it is planted again.
    const found = inBothStores(world, group).filter(
      ({ uniqueIdentifier }) => !world.older.has(uniqueIdentifier),
    );
    if (found.length === 0) return undefined;
    const { uniqueIdentifier: id } = random.pick(found);
    const whole = bytesOf(group.primary, instance, id);
    if (whole === undefined) return undefined;
    const newer = newerIn(group.primary, instance, id, whole);
    world.older.add(id);
    putBytes(group.primary, instance, id, newer);
    const putBack = (): void => {
      const { primary } = group;
      // One that takes over later may have it, too.
      world.scheduler.after(putBackMs, putBack);
      const now = bytesOf(primary, instance, id);
      if (primary.state !== "up" || now === undefined || !isSameRecord(now, newer)) return;
      putBytes(primary, instance, id, withRecordOf(now, whole));
    };
    const { runId } = group.primary;
    const end = (): void => {
      const { primary } = group;
      const now = bytesOf(primary, instance, id);
      putBack();
      // A primary that died may have lost this write, which no barrier covers.
      if (primary.runId !== runId || primary.state === "down") return;
      if (now !== undefined && isSameRecord(now, newer)) return;
      world.fail(new Violation(`record ${id} of the next format is gone from ${group.region}`));
    };
    return { what: `${group.primary.name} ${id}`, end };
  },
  "copy that contradicts a record": (world, random) => {
    const group = random.pick(world.groups);
    const found = inBothStores(world, group);
    const node = world.nodes.find(
      ({ region, service, machine, isElsewhere }) =>
        region === group.region && service !== undefined && !machine.frozen && !isElsewhere,
    );
    if (found.length === 0 || node === undefined) return undefined;
    const object = random.pick(found);
    // A node that has seen the newer record does not believe this one: then the copy may take its place.
    if (world.older.has(object.uniqueIdentifier)) return undefined;
    // What is put aside stays there.
    world.damaged += 1;
    void world.within(node, () => sendAltered(world, node, object, random.chance(0.5)), 5_000);
    return { what: `${node.machine.name} ${object.uniqueIdentifier}` };
  },
  "one Sentinel cut off": (world, random) => {
    const group = random.pick(world.groups);
    const [first, ...others] = sentinelsOf(group).toSorted(() => random.below(3) - 1);
    if (first === undefined) return undefined;
    const beyond = [...others, ...group.members.map(({ name }) => name)];
    return { what: first, end: world.network.cut([first], beyond, true) };
  },
  "Redis killed": (world, random) => kill(world, random, false),
  "Redis killed, its last writes gone": (world, random) => kill(world, random, true),
  "Redis full": (world, random) => {
    const { region, members } = random.pick(world.groups);
    const set = (full: boolean): void => {
      for (const { redis } of members) redis.full = full;
    };
    set(true);
    return { what: region, end: () => set(false) };
  },
  "node frozen": (world, random) => {
    const { machine, lives } = random.pick(world.nodes);
    if (!lives || machine.frozen) return undefined;
    machine.freeze(random.chance(0.5));
    return { what: machine.name, end: () => machine.thaw() };
  },
  "node killed": (world, random) => {
    const node = random.pick(world.nodes);
    if (!node.lives) return undefined;
    node.kill();
    return { what: node.machine.name, end: () => startAgain(node) };
  },
  "clock jump": (world, random) => {
    const { machine } = random.pick(world.nodes);
    machine.skewMs += random.between(-20_000, 20_000);
    return { what: `${machine.name} by ${Math.round(machine.skewMs)} ms` };
  },
  "region lost and retired": (world, random) => {
    const { region } = random.pick(world.groups);
    const end = beginRetirement(world, region, random);
    return end && { what: region, end };
  },
  "release with another format": (world, random) => {
    if (world.upgrade !== undefined) return undefined;
    const upgrade = new Upgrade(world, random);
    world.upgrade = upgrade;
    return { what: "every node", end: () => upgrade.end() };
  },
  "node with another Redis of its region": (world, random) => {
    if (world.spare !== undefined || world.retirement !== undefined) return undefined;
    const node = random.pick(world.nodes);
    const spare = world.addSpare(node.region, random);
    world.checker.doubt(node.region);
    world.operations.lost(node.region, world.scheduler.nowMs);
    node.restart({ group: spare });
    const end = (): void => node.restart({ group: world.group(node.region) });
    return { what: node.machine.name, end };
  },
  "node with the other region's Redis": (world, random) => {
    const node = random.pick(world.nodes);
    const other = world.groups.find(({ region }) => region !== node.region);
    if (other === undefined || node.isElsewhere) return undefined;
    node.restart({ group: other });
    const end = (): void => node.restart({ group: world.group(node.region) });
    return { what: node.machine.name, end };
  },
  "root of trust out of reach": (world, random) => {
    const { region } = random.pick(world.groups);
    const root = world.rootOf(region);
    if (random.chance(0.5)) root.rotate();
    root.fail("unavailable");
    return { what: region, end: () => root.fail(undefined) };
  },
  "slow network": (world) => {
    const before = world.network.rules;
    world.network.rules = { ...before, late: 0.2, loss: 0.02 };
    const end = (): void => {
      world.network.rules = before;
    };
    return { what: "late and lossy", end };
  },
};

/** All faults by name. */
export const faults: Readonly<Record<string, Fault>> = { ...common, ...rareFaults };

/** The faults from which a plan is drawn at random; they may overlap. */
export const commonFaults: readonly string[] = Object.keys(common);

/** Loses a region's store or puts back an old copy; once per history, so one region stays intact. */
export function loseStore(world: World, random: Random, copies: Copies): string | undefined {
  const group = random.pick(world.groups);
  const other = world.groups.find((each) => each !== group);
  if (other === undefined) return undefined;
  const copy = random.chance(0.5) ? copies.get(group.region) : undefined;
  const lose = (replace: () => void): void => {
    replace();
    const left = {
      elsewhere: (id: string) => world.covered(other.region, id),
      kept: (id: string) => lookAt(group.primary, instance, id)?.object,
    };
    world.checker.lost(group.region, left, world.scheduler.nowMs);
    world.operations.lost(group.region, world.scheduler.nowMs);
    world.formats.lost(group.region);
    world.archives.get(group.region)?.forget();
  };
  if (copy !== undefined) {
    lose(() => group.replaceData(copy));
    world.older.add(group.region);
    return `${group.region}: an old copy`;
  }
  const { primary } = group;
  const isUp = (): boolean => primary.state === "up" && group.primary.role === "primary";
  const runs = random.chance(0.5) && isUp();
  const empty = (): void => {
    lose(() => (runs && isUp() ? group.flush() : group.replaceData([])));
    world.initialise(group);
  };
  // What is sent to the earlier store by then arrives in the new one.
  const underWay = runs && random.chance(0.5) ? random.pick(sentToTheEarlier) : undefined;
  if (underWay === undefined) empty();
  else holdNext(world, group, (line) => isOf(underWay, line), random.between(50, 2_500), empty);
  const how = underWay === undefined ? "" : `, with a command (${underWay}) under way`;
  return `${group.region}: ${runs ? "emptied while it runs" : "empty"}${how}, initialised anew`;
}

/** Holds the next commit on its way to the region that writes a decision last, unless something is held already. */
export function holdCommit(world: World, heldMs: number): () => void {
  const last = world.groups.at(-1);
  const none = (): void => undefined;
  if (last === undefined || world.network.hold !== undefined) return none;
  const isCommit = (line: CommandLine) => isOf("commit", line) || isOf("commit-facts", line);
  return holdNext(world, last, isCommit, heldMs, none);
}

/**
 * What an operator does where a doubt of the store, or of one record, stays for so long: the old copy of the store lacks what
 * only its region had.
 */
export function acceptDoubted(world: World, afterMs: number): boolean {
  const { nodes, scheduler, olderRecords, older } = world;
  if (scheduler.nowMs < afterMs) return false;
  const accept = ({ own }: SimNode, id?: string): void => {
    own?.accept(id).catch(() => undefined);
  };
  const doubting = nodes.filter(({ own }) => own?.doubted() === true);
  for (const node of doubting) accept(node);
  for (const [id, regions] of olderRecords) {
    for (const region of regions) {
      const node = nodes.find((each) => each.region === region && each.own !== undefined);
      if (node !== undefined && older.has(region)) accept(node, id);
    }
  }
  return doubting.length + olderRecords.size > 0;
}

/** By region: copies that an operator may put back. */
export type Copies = Map<string, Copy>;

function startAgain(node: SimNode): void {
  if (!node.lives) node.start();
}

function kill(world: World, random: Random, forget: boolean): Begun | undefined {
  const process = random.pick(random.pick(world.groups).members);
  if (process.state !== "up") return undefined;
  process.kill(forget && process.role === "primary");
  return { what: process.name, end: () => process.restart() };
}

/** The objects that both regions have alike, and that no fail-over can take back. */
function inBothStores(world: World, { primary, region }: RedisGroup): readonly ManagedObject[] {
  const other = world.groups.find((each) => each.region !== region);
  if (other === undefined || primary.state !== "up" || primary.role !== "primary") return [];
  return objectsIn(primary, instance).filter(({ uniqueIdentifier: id }) => {
    const [here, there] = [primary, other.primary].map((each) => lookAt(each, instance, id));
    return here?.covered === true && there?.covered === true && here.tag === there.tag;
  });
}

/** Sends a copy with another type, or with material that does not open, as the other region would. */
async function sendAltered(
  world: World,
  { region, service }: SimNode,
  object: ManagedObject,
  ofOtherType: boolean,
): Promise<void> {
  const { material, objectType, uniqueIdentifier: id } = object;
  const ciphertext = material?.ciphertext.map((byte) => byte ^ 1);
  const broken = material && ciphertext && { ...material, ciphertext };
  const altered = ofOtherType ? { objectType: objectType + 1 } : { material: broken };
  const [outcome] = await sent(service, { ...object, ...altered });
  if (ofOtherType && outcome === "durable") {
    throw new Violation(`a copy of another type than ${id} counts as kept in ${region}`);
  }
  const now = world.record(region, id);
  const isSame =
    now?.material === undefined ||
    Buffer.compare(now.material.ciphertext, material?.ciphertext ?? Buffer.alloc(0)) === 0;
  if (!isSame || (now !== undefined && now.objectType !== objectType)) {
    throw new Violation(`a copy from another region has altered ${id} in ${region}`);
  }
}

/** The outcome of a push; none where the region could not take it. */
async function sent(service: PeerStore | undefined, object: ManagedObject) {
  try {
    return (await service?.push([object])) ?? [];
  } catch (error) {
    if (error instanceof StoreUnavailable) return [];
    throw error;
  }
}
