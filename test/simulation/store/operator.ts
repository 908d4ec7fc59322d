import { type RootOfTrust, StoreUnavailable } from "@holdfast/engine";
import { initialiseStore, openRedisStore } from "@holdfast/redis";
import { instance } from "../client.ts";
import type { Machine } from "../machine.ts";
import type { Network } from "../network.ts";
import type { RedisGroup } from "./redis-group.ts";
import { connectionsOf, processName, timersOf } from "./sim-connection.ts";

const againMs = 300;

interface Place {
  readonly group: RedisGroup;
  readonly machine: Machine;
  readonly network: Network;
  /** The region's root of trust. */
  readonly root: RootOfTrust;
}

/** Marks an empty Redis as the region's store, and installs the instance of all histories; tries until it succeeds. */
export async function initialised(
  { group, machine, network, root }: Place,
  /** The newest that the operator's release reads and writes at each try. */
  format: () => number,
): Promise<void> {
  const life = machine.start();
  const { random } = machine;
  const { timers: clock } = life;
  const options = {
    ...group.settings,
    region: group.region,
    root,
    timers: timersOf(life),
    connections: connectionsOf({ life, network, server: (address) => group.server(address) }),
  };
  const ids = { randomBytes: (count: number) => Buffer.from(random.bytes(count)) };
  const again = async <Value>(attempt: () => Promise<Value>): Promise<Value> => {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        await clock.sleep(againMs);
      }
    }
  };
  const store = await again(async () => {
    // Again with each try: an old primary that a Sentinel still names may have said that it is a store.
    await initialiseStore({ ...options, ids, recordFormat: format() });
    return await openRedisStore({
      ...options,
      recordFormat: format(),
      processName: processName(life),
      clock,
      observe: () => undefined,
    });
  });
  await again(() => store.install(instance));
  await store[Symbol.asyncDispose]();
}
