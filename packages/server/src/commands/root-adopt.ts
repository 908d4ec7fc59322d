import {
  InstanceKeyRing,
  type KekEntry,
  ObjectKekStore,
  type RootOfTrust,
  readRecord,
  systemInstance,
} from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { PeerClient } from "@holdfast/regions";
import { type GivenApprovals, withLocalApprovals } from "../approvals/local-approvals.ts";
import { OperatorError, reasonOf } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { instanceRecordId } from "../records/records.ts";
import { namedRoots } from "../records/root-reference.ts";
import { defaultRootPlace, openDefaultRoot, rootContext } from "../roots/root-settings.ts";
import { atRegions, met } from "../store/region-commands.ts";

/**
 * After a region's configured root key is lost for good, wraps the region's keys under the root key that is configured
 * now, using the other region's copies. For instances whose records name a root of trust, the API does this instead.
 */
export async function adoptRoot(
  configFile: string,
  machine: Machine,
  lost: string,
  approvals: GivenApprovals = {},
): Promise<string> {
  const config = loadConfig(configFile);
  const root = await openDefaultRoot(config, machine.environment, rootContext(machine));
  try {
    const { name } = await root.describe();
    if (name === lost) {
      throw new OperatorError(`--lost ${lost}: this is the root key that is configured now`);
    }
    return await atRegions(configFile, machine, async ({ own, peer, region, node, timers }) => {
      if (peer === undefined) {
        throw new OperatorError("peer: is missing: only another region has copies of the keys");
      }
      await met(peer, timers);
      const keks = new ObjectKekStore(own, { clock: timers, region });
      const entries = await keks.all();
      const theirs = await under(own, region, entries, lost);
      const place = { own, region, node, machine };
      const call = { lost, root: name };
      const act = { operation: "root adopt", target: lost, call } as const;
      await withLocalApprovals(place, act, approvals, async () => {
        const ring = ringOf({ root, keks, peer, region, machine });
        for (const { instance, kek } of theirs) {
          await ring.rewrap(instance, kek, root, true).catch((error: unknown) => {
            throw new OperatorError(
              `key-encryption key ${kek.id} of instance ${instance}: ${reasonOf(error)}; those before it are done: run this again`,
            );
          });
        }
        // At first the region's nodes may serve from the other region's store, so it needs the new wraps too.
        const ids = theirs.map(({ kek }) => kek.id);
        const records = await own.read(systemInstance, ids);
        await peer.push(records.flatMap((found) => found?.object ?? []));
      });
      return `${theirs.length} key-encryption keys of region ${region} are under ${name} (${defaultRootPlace(config)}) now; start the region's nodes`;
    });
  } finally {
    await root.close();
  }
}

/** The KEKs that the lost root key wrapped for instances under the configuration's root of trust. */
async function under(
  own: RedisStore,
  region: string,
  entries: readonly KekEntry[],
  lost: string,
): Promise<readonly KekEntry[]> {
  const makers = new Set<string>();
  const found: KekEntry[] = [];
  for (const entry of entries) {
    const wrap = entry.kek.wraps.find((one) => one.region === region);
    if (wrap === undefined || (await namesItsOwn(own, region, entry.instance))) continue;
    makers.add(wrap.rootOfTrust);
    if (wrap.rootOfTrust === lost) found.push(entry);
  }
  if (found.length > 0) return found;
  throw new OperatorError(
    `--lost ${lost}: no key of region ${region} is under it; there are keys under ${[...makers].join(", ") || "none"}`,
  );
}

async function namesItsOwn(own: RedisStore, region: string, instance: string): Promise<boolean> {
  const [found] = await own.read(systemInstance, [instanceRecordId(instance)]);
  const record = found && readRecord("Instance", found.object);
  return record !== undefined && namedRoots(record, region).current !== undefined;
}

function ringOf({
  root,
  keks,
  peer,
  region,
  machine: { clock, ids },
}: {
  readonly root: RootOfTrust;
  readonly keks: ObjectKekStore;
  readonly peer: PeerClient;
  readonly region: string;
  readonly machine: Machine;
}): InstanceKeyRing {
  return new InstanceKeyRing({
    rootOf: () => root,
    keks,
    clock,
    ids,
    observe: () => undefined,
    region,
    kekCacheMs: 1_000,
    graceMs: 0,
    fetchPlain: (instance, id) => peer.kek(instance, id),
  });
}
