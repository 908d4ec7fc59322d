import { type CommandLine, loadScripts, type ScriptName } from "@holdfast/redis";
import type { Fault } from "./faults.ts";
import type { SimNode } from "./node.ts";
import { byRole, namesOf, sentinelsOf } from "./places.ts";
import type { Random } from "./random.ts";
import { beginRetirement } from "./retirement.ts";
import type { Member } from "./store/member.ts";
import type { RedisGroup } from "./store/redis-group.ts";
import type { World } from "./world.ts";

/** Faults that come together by chance too seldom; some histories have one of them besides the others. */
export const rareFaults: Readonly<Record<string, Fault>> = {
  "primary replaced while a node hangs": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    const node = random.pick(world.nodes.filter(({ region }) => region === group.region));
    if (primary === undefined || others.length === 0) return undefined;
    const { name } = node.machine;
    const rest = namesOf(world, group.region).filter((each) => each !== name);
    const far = [...others.map((each) => each.name), ...sentinelsOf(group), ...rest];
    return hanging(world, random, { primary, node }, () =>
      world.network.cut([primary.name, name], far, true),
    );
  },
  "region retired while a node hangs": (world, random) => {
    const node = random.pick(world.nodes);
    const lost = world.groups.find(({ region }) => region !== node.region);
    if (lost === undefined || world.retirement !== undefined || world.spare !== undefined) {
      return undefined;
    }
    const { primary } = world.group(node.region);
    return hanging(
      world,
      random,
      { primary, node },
      () => beginRetirement(world, lost.region, random) ?? (() => undefined),
    );
  },
  "region retired while a reservation is under way": (world, random) => {
    // A later region reserves last, and by its own records.
    const [first, second] = random.chance(0.8) ? world.groups : world.groups.toReversed();
    if (first === undefined || second === undefined) return undefined;
    const decides = (line: CommandLine): boolean => isOf("reserve", line) && Number(line[2]) > 2;
    const ends: (() => void)[] = [];
    // In half of them the store's own region is retired, and has rejoined when the reservation arrives.
    const isOwn = random.chance(0.5);
    const { region } = isOwn ? second : first;
    const heldMs = isOwn ? random.between(10_000, 25_000) : random.between(4_000, 10_000);
    const retire = (from: string): void => {
      // Its lapse would otherwise keep the region from being level.
      const asking = world.nodes.find(({ machine }) => machine.name === from)?.machine;
      if (asking === undefined || asking.frozen) return;
      asking.freeze(random.chance(0.5));
      const thaw = (): void => asking.thaw();
      const found = beginRetirement(world, region, random);
      if (found === undefined) {
        thaw();
        return;
      }
      world.scheduler.after(heldMs, thaw);
      ends.push(thaw, found);
    };
    ends.push(holdNext(world, second, decides, heldMs, retire));
    const end = (): void => {
      for (const each of ends) each();
    };
    return { what: region, end };
  },
  "level under way while another node leads": (world, random) => {
    const group = random.pick(world.groups);
    const { primary, region } = group;
    if (primary.state !== "up") return undefined;
    const isLevel = (line: CommandLine): boolean => isOf("set-level", line);
    const forget = (): void => world.locks.get(region)?.forget();
    const end = holdNext(world, group, isLevel, random.between(3_000, 8_000), forget);
    // After a lapse, a leader catches up, and writes that its store is level.
    primary.freeze();
    world.scheduler.after(random.between(600, 2_000), () => primary.thaw());
    return { what: region, end };
  },
  "lock masters that forget": (world, random) => {
    const { region } = random.pick(world.groups);
    let over = false;
    const forget = (): void => {
      if (over) return;
      world.locks.get(region)?.forget();
      world.scheduler.after(random.between(300, 2_500), forget);
    };
    forget();
    const end = (): void => {
      over = true;
    };
    return { what: region, end };
  },
  "primary cut off with a node and a Sentinel": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    const [near = "", ...beyond] = namesOf(world, group.region);
    const [heard = "", ...rest] = sentinelsOf(group);
    if (primary === undefined || others.length === 0) return undefined;
    const far = [...others.map(({ name }) => name), ...rest, ...beyond];
    const names = [primary.name, near, heard];
    return { what: names.join("+"), end: world.network.cut(names, far, true) };
  },
};

const scripts = loadScripts();

/** Whether a command runs a script. */
export function isOf(script: ScriptName, [, sha]: CommandLine): boolean {
  return sha === scripts[script].sha;
}

/**
 * Holds the next commands of this kind on their way to a region's primary, once; `happens` meanwhile. Returns a function that
 * ends the wait for them.
 */
export function holdNext(
  world: World,
  { primary }: Pick<RedisGroup, "primary">,
  isMeant: (line: CommandLine) => boolean,
  heldMs: number,
  happens: (from: string) => void,
): () => void {
  const { network, scheduler } = world;
  const hold = (from: string, to: string, lines: readonly CommandLine[]): number => {
    if (to !== primary.name || !lines.some(isMeant)) return 0;
    end();
    scheduler.after(0, () => happens(from));
    return heldMs;
  };
  const end = (): void => {
    if (network.hold === hold) network.hold = undefined;
  };
  network.hold = hold;
  return end;
}

/** A node hangs while a barrier is under way and changes wait behind it; meanwhile something happens. */
function hanging(
  world: World,
  random: Random,
  { primary, node: { machine, lives } }: { readonly primary: Member; readonly node: SimNode },
  happens: () => () => void,
) {
  if (primary.state !== "up" || !lives || machine.frozen) return undefined;
  const ends: (() => void)[] = [];
  let over = false;
  const later = (ms: number, what: () => void): void => {
    world.scheduler.after(ms, () => {
      if (!over) what();
    });
  };
  // On a slow disk, a barrier is under way most of the time.
  primary.fsyncMs = random.between(50, 300);
  const suspended = random.chance(0.7);
  const hangsMs = random.between(2_500, 8_000);
  later(random.between(200, 900), () => {
    machine.freeze(suspended);
    primary.fsyncMs = 0;
    ends.push(happens(), () => machine.thaw());
    later(hangsMs, () => machine.thaw());
  });
  const end = (): void => {
    over = true;
    primary.fsyncMs = 0;
    for (const each of ends) each();
  };
  return { what: `${primary.name}, ${machine.name}`, end };
}
