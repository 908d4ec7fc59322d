import { operatorOf } from "./operator.ts";
import type { Member } from "./store/member.ts";
import type { RedisGroup } from "./store/redis-group.ts";
import type { World } from "./world.ts";

/** The members of a store, its primary first. */
export function byRole(group: RedisGroup): readonly Member[] {
  const { primary, members } = group;
  return [primary, ...members.filter((member) => member !== primary)];
}

export function sentinelsOf(group: RedisGroup): readonly string[] {
  return group.sentinels.map(({ name }) => name);
}

/** The nodes of a region, and its operator. */
export function placesOf(world: World, region: string): readonly string[] {
  return [...namesOf(world, region), operatorOf(region)];
}

export function namesOf(world: World, region: string): readonly string[] {
  return world.nodes.filter((node) => node.region === region).map(({ machine }) => machine.name);
}
