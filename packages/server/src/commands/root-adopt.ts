import {
  InstanceKeyRing,
  type KekEntry,
  ObjectKekStore,
  type RootOfTrust,
  readRecord,
  systemInstance,
} from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { Peer, PeerClient } from "@holdfast/regions";
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
      const adoptable = await adoptableOf(own, region, entries, { lost, name });
      const place = { own, region, node, machine };
      const call = { lost, root: name };
      const act = { operation: "root adopt", target: lost, call } as const;
      await withLocalApprovals(place, act, approvals, async () => {
        const ring = ringOf({ root, keks, peer, region, machine });
        await adopt(adoptable, { ring, root, own, peer });
      });
      const where = `${name} (${defaultRootPlace(config)})`;
      const { lost: adopted, done } = adoptable;
      return adopted.length === 0
        ? `no key of region ${region} is under ${lost} any more: the ${done.length} key-encryption keys under ${where} were given to region ${peer.region} again; start the region's nodes`
        : `${adopted.length} key-encryption keys of region ${region} are under ${where} now; start the region's nodes`;
    });
  } finally {
    await root.close();
  }
}

/** The other region takes no more in one message. */
const recordsPerPush = 256;

/** The KEKs of a region that its configuration's root of trust wraps. */
export interface Adoptable {
  /** Under the lost root key. */
  readonly lost: readonly KekEntry[];
  /** Under the configured one: an earlier run may not have given these to the other region. */
  readonly done: readonly KekEntry[];
}

/** Wraps the KEKs under the configured root key, and gives the records to the other region; rejects with `OperatorError`. */
export async function adopt(
  { lost, done }: Adoptable,
  {
    ring,
    root,
    own,
    peer,
  }: {
    readonly ring: Pick<InstanceKeyRing, "rewrap">;
    readonly root: RootOfTrust;
    readonly own: Pick<RedisStore, "read">;
    readonly peer: Pick<Peer, "region" | "push">;
  },
): Promise<void> {
  for (const { instance, kek } of lost) {
    const what = `key-encryption key ${kek.id} of instance ${instance}`;
    const result = await ring.rewrap(instance, kek, root, true).catch((error: unknown) => {
      throw new OperatorError(
        `${what}: ${reasonOf(error)}; those before it are done: run this again`,
      );
    });
    if (result === "raced") {
      throw new OperatorError(
        `${what} was changed meanwhile, as by another \`root adopt\`: see that all nodes of the region have one root key, then run this again`,
        "again",
      );
    }
  }
  // At first the region's nodes may serve from the other region's store, so it needs the new wraps too.
  const ids = [...done, ...lost].map(({ kek }) => kek.id);
  for (let at = 0; at < ids.length; at += recordsPerPush) {
    const found = await own.read(systemInstance, ids.slice(at, at + recordsPerPush));
    const records = found.flatMap((each) => each?.object ?? []);
    const outcomes = await peer.push(records);
    const left = outcomes.findIndex((outcome) => outcome !== "durable");
    if (left === -1) continue;
    throw new OperatorError(
      `key-encryption key ${records[left]?.uniqueIdentifier} has its new wrap here, and region ${peer.region} did not take it (${outcomes[left]}): run this again before you start the region's nodes`,
      "again",
    );
  }
}

/** The KEKs under the lost and the configured root key; rejects with `OperatorError` if there is nothing to do. */
export async function adoptableOf(
  own: Pick<RedisStore, "read">,
  region: string,
  entries: readonly KekEntry[],
  { lost, name }: { readonly lost: string; readonly name: string },
): Promise<Adoptable> {
  const makers = new Set<string>();
  const found: KekEntry[] = [];
  const done: KekEntry[] = [];
  for (const entry of entries) {
    const wrap = entry.kek.wraps.find((one) => one.region === region);
    if (wrap === undefined || (await namesItsOwn(own, region, entry.instance))) continue;
    makers.add(wrap.rootOfTrust);
    if (wrap.rootOfTrust === lost) found.push(entry);
    if (wrap.rootOfTrust === name) done.push(entry);
  }
  // Where all are under the configured one, an earlier run has wrapped them.
  const isAgain = done.length > 0 && makers.size === 1;
  if (found.length > 0 || isAgain) return { lost: found, done };
  throw new OperatorError(
    `--lost ${lost}: no key of region ${region} is under it; there are keys under ${[...makers].join(", ") || "none"}`,
  );
}

async function namesItsOwn(
  own: Pick<RedisStore, "read">,
  region: string,
  instance: string,
): Promise<boolean> {
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
