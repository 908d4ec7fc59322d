import {
  type ClockCheck,
  Engine,
  InstanceKeyRing,
  type KeyRingOptions,
  type Locks,
  MemoryLocks,
  ObjectKekStore,
  type ObjectStore,
  type RootOfTrust,
} from "@holdfast/engine";
import { DiskMemoryFile, openRedisStore, RedisLocks, type RedisStore } from "@holdfast/redis";
import { defaultLimits } from "@holdfast/ttlv";
import { version } from "../base/version.ts";
import { checkAuditBounds } from "../config/audit-bounds.ts";
import { TicketSecret } from "../kmip/ticket-secret.ts";
import { checkRootOfStore } from "../roots/root-check.ts";
import { defaultRootPlace } from "../roots/root-settings.ts";
import { lockUrls } from "../store/store-access.ts";
import { startFault } from "../store/store-faults.ts";
import { StoreProbe } from "../store/store-probe.ts";
import { clock, ids, type Parts, writer } from "./node-parts.ts";
import type { Control, Regions } from "./node-regions.ts";

/** How often a node looks for the hour's secret of session tickets, until it has it. */
const ticketsEveryMs = 2_000;

/** Opens the region's own store, whose keys the root of trust must open, and keeps probing it. */
export async function openStore(parts: Parts, root: RootOfTrust): Promise<RedisStore> {
  const { config, configFile, connection, observe, health, opened } = parts;
  const store = await openRedisStore({
    ...connection,
    clock,
    observe,
    region: config.region,
    root,
    // Containers may share their host's name, and each be process 1.
    processName: `${config.node} ${ids.uuid()}`,
    storeLeaseMs: config.store.leaseMs,
    externalFailover: config.store.externalFailover,
    auditEntriesMax: config.audit.entriesMax,
    ...(config.store.memoryFile !== undefined && {
      memory: {
        file: new DiskMemoryFile(config.store.memoryFile),
        node: config.node,
        root,
        randomBytes: ids.randomBytes,
      },
    }),
    // Meanwhile the other region serves, and it has what this region's store may have lost.
    openUnreachable: config.peer !== undefined,
    allowOtherStore: config.peer !== undefined,
  }).catch((error: unknown) => {
    throw startFault(error, config.store, configFile);
  });
  opened.use(store);
  if (store.state() !== "none") {
    await checkAuditBounds(store, config.audit);
    await warnOfReplicationPassword(parts, store);
  }
  // If the store was reached, its lease has been reported.
  if (store.state() === "none")
    health.note({ lease: { state: "none", reason: "not reached yet" } });
  const probe = new StoreProbe(store, health, clock, config.store.commandTimeoutMs);
  opened.adopt(probe, (one) => one.close());
  const { region } = config;
  const keks = new ObjectKekStore(store, { clock, region });
  await checkRootOfStore(root, keks, region, defaultRootPlace(config));
  return store;
}

async function warnOfReplicationPassword({ observe }: Parts, store: RedisStore): Promise<void> {
  if (!(await store.showsReplicationPassword().catch(() => false))) return;
  const message =
    "the node's Redis user can read the replication password (CONFIG GET masterauth): give it the permissions of deploy/redis/users.acl, or take +config away";
  observe({ type: "warning", message });
}

/** The regions that must have wrapped a KEK before it seals: all that are not retired. */
export function requiredRegions(
  { config: { region } }: Parts,
  { store, peers }: Pick<Regions, "store" | "peers">,
): () => readonly string[] {
  return () => [
    region,
    ...peers.map((peer) => peer.region).filter((name) => !store.records.isRetired(name)),
  ];
}

/** Opens the keys above the objects' material; a new one seals once both regions can open it. */
export function openKeyRing(
  parts: Parts,
  regions: Regions,
  rootOf: KeyRingOptions["rootOf"],
): InstanceKeyRing {
  const { store, peers } = regions;
  const { config, observe, opened } = parts;
  const { kekCacheMs, graceMs } = config.rootOfTrust;
  const { region } = config;
  const keyRing = new InstanceKeyRing({
    rootOf,
    keks: new ObjectKekStore(store, { clock, region }),
    clock,
    ids,
    observe,
    region,
    kekCacheMs,
    graceMs,
    requiredRegions: requiredRegions(parts, regions),
    ...(peers[0] && { fetchPlain: peers[0].kek.bind(peers[0]) }),
  });
  opened.defer(() => keyRing.drop());
  const sweeper = setInterval(() => keyRing.sweep(), kekCacheMs / 4);
  opened.adopt(sweeper, clearInterval);
  return keyRing;
}

/** Makes the engine, which carries out requests. */
export async function openEngine(
  parts: Parts,
  store: ObjectStore,
  keyRing: InstanceKeyRing,
  clocks: ClockCheck,
): Promise<Engine> {
  const { config, observe } = parts;
  return new Engine({
    store,
    locks: await openLocks(parts),
    keyRing,
    clock: { ...clock, doubt: () => clocks.doubt() },
    ids,
    observe,
    region: config.region,
    writer,
    interop: config.kmip.interop,
    auditReads: config.audit.reads,
    vendorIdentification: "Holdfast",
    serverVersion: version,
    profileSuites: config.tls.suites === "kmip-basic",
    approvedOnly: config.fips === "required",
    limits: { ...defaultLimits, bytesMax: config.kmip.requestBytesMax },
  });
}

async function openLocks({ config, connection, observe, opened }: Parts): Promise<Locks> {
  const urls = lockUrls(config.locks, connection);
  if (urls === undefined) return new MemoryLocks({ observe });
  const tls = connection.tls === undefined ? {} : { tls: connection.tls };
  return opened.use(await RedisLocks.open({ urls, observe, ...tls }));
}

/** Shares the secret of session tickets with the region's other nodes. */
export function openTickets(
  { config: { region }, observe, opened }: Parts,
  own: RedisStore,
  root: RootOfTrust,
  { leader }: Pick<Control, "leader">,
): TicketSecret {
  const makes = (): boolean => leader === undefined || leader.state === "leader";
  const { randomBytes } = ids;
  const { wallMs } = clock;
  const tickets = new TicketSecret({ region, own, root, makes, wallMs, randomBytes, observe });
  void tickets.look();
  opened.adopt(
    setInterval(() => void tickets.look(), ticketsEveryMs),
    clearInterval,
  );
  return tickets;
}
