import { StoreUnavailable } from "@holdfast/engine";
import { openRedisStore, type RedisStore } from "@holdfast/redis";
import { RegionRefused, type RegionTools } from "@holdfast/regions";
import { Machine } from "./machine.ts";
import { idsOf, type Random } from "./random.ts";
import { SimPeer } from "./sim-peer.ts";
import { connectionsOf, processName, timersOf } from "./store/sim-connection.ts";
import type { World } from "./world.ts";

/** How long a command waits for the other region before it counts as unreachable. */
const meetMs = 3_000;

/** The place in the network of a region's operator. */
export function operatorOf(region: string): string {
  return `${region}-operator`;
}

/** Runs a command in a region as a process of its own, with the region's Redis and the other region's nodes. */
export async function atRegion<Result>(
  world: OperatedWorld,
  region: string,
  random: Random,
  work: (tools: RegionTools & { readonly own: RedisStore }) => Promise<Result>,
): Promise<Result> {
  const { scheduler, network, nodes, groups, crashed } = world;
  const machine = new Machine(operatorOf(region), scheduler, random.fork());
  const life = machine.start();
  const { timers } = life;
  const store = groups.find((group) => group.region === region);
  if (store === undefined) throw new RangeError(`no region ${region}`);
  const here = nodes.filter((node) => node.region === region);
  const own = await openRedisStore({
    ...store.settings,
    region,
    root: world.rootOf(region),
    // Of the newest release that the region runs.
    recordFormat: Math.max(...here.map(({ setup }) => setup.format)),
    processName: processName(life),
    clock: timers,
    timers: timersOf(life),
    observe: () => undefined,
    openUnreachable: true,
    allowOtherStore: true,
    connections: connectionsOf({ life, network, server: (address) => store.server(address) }),
  });
  const peers = groups
    .filter((each) => each !== store)
    .map((each) => {
      const there = nodes.filter((node) => node.region === each.region);
      const unheard = { met: () => undefined, pushed: () => undefined };
      const regions = { region: each.region, calling: store.region };
      return new SimPeer({ life, network, ...regions, nodes: there, ...unheard, crashed });
    });
  try {
    const untilMs = timers.monotonicMs() + meetMs;
    while (peers.some((peer) => peer.state() !== "up") && timers.monotonicMs() < untilMs) {
      await timers.sleep(50);
    }
    return await work({ region, own, peers, timers, ids: idsOf(random), observe: () => undefined });
  } finally {
    await own[Symbol.asyncDispose]();
    machine.kill();
  }
}

/** The parts of a world that an operator's command needs. */
type OperatedWorld = Pick<
  World,
  "scheduler" | "network" | "nodes" | "groups" | "crashed" | "rootOf"
>;

/** Whether an operator tries a command again after it failed with this; other errors are bugs. */
export function isRefusal(error: unknown): error is StoreUnavailable | RegionRefused {
  return error instanceof StoreUnavailable || error instanceof RegionRefused;
}
