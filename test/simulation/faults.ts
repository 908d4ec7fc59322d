import { instance } from "./client.ts";
import { damage, lookAt, objectsIn } from "./look.ts";
import type { Random } from "./random.ts";
import type { Copy, Member } from "./store/member.ts";
import type { RedisGroup } from "./store/redis-group.ts";
import type { World } from "./world.ts";

/** A fault that has begun, and how to end it. */
interface Begun {
  readonly what: string;
  readonly end?: () => void;
}

type Fault = (world: World, random: Random) => Begun | undefined;

/** The faults by name; they are chosen at random, and may overlap. */
export const faults: Readonly<Record<string, Fault>> = {
  "cut between the regions": (world) => {
    const [a, b] = [namesOf(world, "a"), namesOf(world, "b")];
    return { what: "a | b", end: world.network.cut(a, b, true) };
  },
  "cut one way": (world, random) => {
    const [from, to] = random.chance(0.5) ? ["a", "b"] : ["b", "a"];
    const end = world.network.cut(namesOf(world, from ?? ""), namesOf(world, to ?? ""), false);
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
    const [a, b] = [namesOf(world, "a"), namesOf(world, "b")];
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
    const [a, b] = [namesOf(world, "a"), namesOf(world, "b")];
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
    member.fsyncMs = random.between(20, 1_500);
    const end = (): void => {
      member.fsyncMs = 0;
    };
    return { what: member.name, end };
  },
  "record damaged": (world, random) => {
    const group = random.pick(world.groups);
    const other = world.groups.find((each) => each !== group);
    const { primary } = group;
    if (other === undefined || primary.state !== "up" || primary.role !== "primary")
      return undefined;
    const both = objectsIn(primary, instance).filter(({ uniqueIdentifier: id }) => {
      const [here, there] = [primary, other.primary].map((each) => lookAt(each, instance, id));
      return here?.covered === true && there?.covered === true && here.tag === there.tag;
    });
    if (both.length === 0) return undefined;
    const { uniqueIdentifier } = random.pick(both);
    damage(primary, instance, uniqueIdentifier);
    world.damaged += 1;
    return { what: `${primary.name} ${uniqueIdentifier}` };
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
    machine.freeze();
    return { what: machine.name, end: () => machine.thaw() };
  },
  "node killed": (world, random) => {
    const node = random.pick(world.nodes);
    if (!node.lives) return undefined;
    node.kill();
    const end = (): void => {
      if (!node.lives) node.start();
    };
    return { what: node.machine.name, end };
  },
  "clock jump": (world, random) => {
    const { machine } = random.pick(world.nodes);
    machine.skewMs += random.between(-20_000, 20_000);
    return { what: `${machine.name} by ${Math.round(machine.skewMs)} ms` };
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

/** Loses a region's store or puts back an old copy; once per history, so one region stays intact. */
export function loseStore(world: World, random: Random, copies: Copies): string | undefined {
  const group = random.pick(world.groups);
  const other = world.groups.find((each) => each !== group);
  if (other === undefined) return undefined;
  const copy = random.chance(0.5) ? copies.get(group.region) : undefined;
  world.checker.lost(group.region, (id) => world.covered(other.region, id));
  world.operations.lost(group.region, world.scheduler.nowMs);
  group.replaceData(copy ?? []);
  if (copy !== undefined) return `${group.region}: an old copy`;
  world.initialise(group);
  return `${group.region}: empty, initialised anew`;
}

/** By region: copies that an operator may put back. */
export type Copies = Map<string, Copy>;

function kill(world: World, random: Random, forget: boolean): Begun | undefined {
  const process = random.pick(random.pick(world.groups).members);
  if (process.state !== "up") return undefined;
  process.kill(forget && process.role === "primary");
  return { what: process.name, end: () => process.restart() };
}

function byRole(group: RedisGroup): readonly Member[] {
  const { primary, members } = group;
  return [primary, ...members.filter((member) => member !== primary)];
}

function sentinelsOf(group: RedisGroup): readonly string[] {
  return group.sentinels.map(({ name }) => name);
}

function namesOf(world: World, region: string): readonly string[] {
  return world.nodes.filter((node) => node.region === region).map(({ machine }) => machine.name);
}
