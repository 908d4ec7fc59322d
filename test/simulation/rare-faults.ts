import type { Fault } from "./faults.ts";
import type { SimNode } from "./node.ts";
import { byRole, namesOf, sentinelsOf } from "./places.ts";
import type { Random } from "./random.ts";
import { Retirement } from "./retirement.ts";
import type { Member } from "./store/member.ts";
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
    return hanging(world, random, { primary, node }, () => {
      if (world.retirement !== undefined || world.spare !== undefined) return () => undefined;
      const retirement = new Retirement(world, lost.region, random);
      world.retirement = retirement;
      return () => retirement.end();
    });
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
