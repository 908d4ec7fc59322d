import type { Fault } from "./faults.ts";
import { byRole, namesOf, sentinelsOf } from "./places.ts";

/** Faults that come together by chance too seldom; some histories have one of them besides the others. */
export const rareFaults: Readonly<Record<string, Fault>> = {
  "primary replaced while a node hangs": (world, random) => {
    const group = random.pick(world.groups);
    const [primary, ...others] = byRole(group);
    const [near, ...beyond] = random.chance(0.5)
      ? namesOf(world, group.region)
      : namesOf(world, group.region).toReversed();
    const node = world.nodes.find(({ machine }) => machine.name === near);
    if (primary?.state !== "up" || others.length === 0 || node?.lives !== true) return undefined;
    const { machine } = node;
    if (machine.frozen) return undefined;
    const ends: (() => void)[] = [];
    let over = false;
    const later = (ms: number, what: () => void): void => {
      world.scheduler.after(ms, () => {
        if (!over) what();
      });
    };
    // On a slow disk, a barrier is under way most of the time.
    primary.fsyncMs = random.between(50, 300);
    ends.push(() => {
      primary.fsyncMs = 0;
    });
    const suspended = random.chance(0.7);
    const hangsMs = random.between(2_500, 6_000);
    later(random.between(200, 900), () => {
      machine.freeze(suspended);
      primary.fsyncMs = 0;
      const far = [...others.map(({ name }) => name), ...sentinelsOf(group), ...beyond];
      const join = world.network.cut([primary.name, machine.name], far, true);
      ends.push(join, () => machine.thaw());
      later(hangsMs, () => machine.thaw());
    });
    const end = (): void => {
      over = true;
      for (const each of ends) each();
    };
    return { what: `${primary.name}, ${machine.name}`, end };
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
