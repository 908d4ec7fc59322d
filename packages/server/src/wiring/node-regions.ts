import {
  type AuditEvent,
  ClockCheck,
  type InstanceKeyRing,
  recordFormat,
  sealsBy,
} from "@holdfast/engine";
import { type LockLook, RedisLeaderLock, type RedisStore } from "@holdfast/redis";
import {
  AdoptKeks,
  AgreeFormat,
  catchUp,
  DueDates,
  DuplicateNames,
  type Duty,
  digestCheck,
  type GivenKek,
  Leader,
  ownUse,
  PeerClient,
  PeerReader,
  PeerServer,
  PeerService,
  type PeerServiceOptions,
  RegionalStore,
  ResolveReservations,
  Resync,
  StoreCheck,
  type StoreUse,
  storeInUse,
} from "@holdfast/regions";
import type { Trust } from "../access/trust.ts";
import { LateJoinRules } from "../approvals/join-rules.ts";
import type { ManagementAction } from "../audit/actions.ts";
import { printAddress } from "../base/address.ts";
import { listenError } from "../base/listen-error.ts";
import type { PeerIdentity } from "../base/peer-tls.ts";
import { KekOrders } from "../roots/kek-orders.ts";
import { lockUrls } from "../store/store-access.ts";
import type { Management } from "./management/node-management.ts";
import { clock, ids, type Parts } from "./node-parts.ts";

/** The region's own store, the other region, and the store that a node serves from both. */
export interface Regions {
  readonly own: RedisStore;
  readonly peers: readonly PeerClient[];
  readonly store: RegionalStore;
  readonly clocks: ClockCheck;
  readonly stores: StoreCheck;
  /** Decides what this region takes from the other. */
  readonly joining: LateJoinRules;
  /** Instances that have had keys which can be restored, since this node leads. */
  readonly restorable: Set<string>;
}

/** The other regions that are not retired. */
export function presentPeers({
  peers,
  store,
}: Pick<Regions, "peers" | "store">): readonly PeerClient[] {
  return peers.filter((peer) => !store.records.isRetired(peer.region));
}

/** What a node does for its region and for the other one, apart from answering clients. */
export interface Control {
  /** Undefined in a region with Sentinels that names no lock masters to elect one at. */
  readonly leader: Leader | undefined;
  /** Asks the lock masters for the state of the leader's lock. */
  readonly lockMasters: (() => Promise<LockLook>) | undefined;
  readonly peerServer: PeerServer | undefined;
}

/** Decides between copies that differ in their sealed parts, whether they were pushed or read. */
type Seals = Required<Pick<PeerServiceOptions, "seals">>;

/** Knows which peer certificates are denied, once the deny list was read. */
type Denies = Pick<Trust, "denies">;

/** How long a call to the other region may take, without the push that it waits for. */
const callBeyondPushMs = 1500;

const clocksEveryMs = 10_000;
const storesEveryMs = 1_000;

/** The longest that a draining node waits for the other region's requests. */
const peerGraceMs = 2000;

/** Makes the store that clients are served from. */
export function openRegions(
  parts: Parts,
  own: RedisStore,
  identity: PeerIdentity | undefined,
  trust: Denies,
): Regions {
  const { config, observe, opened } = parts;
  const { region, peer } = config;
  const peers = openPeers(parts, identity, trust);
  const joining = new LateJoinRules();
  const { mayJoin } = joining;
  const store = new RegionalStore({
    region,
    own,
    peers,
    timers: clock,
    ids,
    observe,
    mayJoin,
    seals: () => joining.keyRing && sealsBy(joining.keyRing),
    ...(peer && { peerAcknowledgement: peer.acknowledgement, pushTimeoutMs: peer.pushTimeoutMs }),
  });
  opened.use(store);
  const clocks = watchClocks(parts, own, peers, store);
  const restorable = new Set<string>();
  const stores = watchStores(parts, own, peers, store);
  return { own, peers, store, clocks, stores, joining, restorable };
}

/** Compares this node's clock with the store's and the other regions', and reports it every ten seconds. */
function watchClocks(
  { observe, opened }: Parts,
  own: RedisStore,
  peers: readonly PeerClient[],
  store: RegionalStore,
): ClockCheck {
  const clocks = new ClockCheck(clock, () => [
    ...[own.clockReading() ?? []].flat(),
    ...presentPeers({ peers, store }).flatMap((peer) => peer.clockReadings()),
  ]);
  let told = false;
  const tell = (): void => {
    for (const { of, aheadMs } of clocks.offsets()) observe({ type: "clockOffset", of, aheadMs });
    const doubt = clocks.doubt();
    if (doubt !== undefined && !told) observe({ type: "warning", message: doubt.reason });
    told = doubt !== undefined;
  };
  opened.adopt(setInterval(tell, clocksEveryMs), clearInterval);
  return clocks;
}

/** Compares the stores that the nodes of each region use, and reports a difference that lasts. */
function watchStores(
  { config: { region }, observe, opened }: Parts,
  own: RedisStore,
  peers: readonly PeerClient[],
  store: RegionalStore,
): StoreCheck {
  const uses = () => [
    ...ownUse(own, region, clock.monotonicMs()),
    ...presentPeers({ peers, store }).flatMap((peer) => peer.storeUses()),
  ];
  const stores = new StoreCheck({ timers: clock, observe, uses });
  opened.adopt(
    setInterval(() => stores.look(), storesEveryMs),
    clearInterval,
  );
  return stores;
}

/**
 * Hears at the lock masters which stores the region's other nodes use. A store that is its own lock master knows only the
 * nodes that use it.
 */
function compareAtLockMasters(
  { config: { region, node, locks }, opened }: Parts,
  { own, stores }: Regions,
  lock: RedisLeaderLock,
): void {
  if (locks.length === 0) return;
  let uses: readonly StoreUse[] = [];
  const processId = ids.uuid();
  const note = async (): Promise<void> => {
    const storeId = storeInUse(own);
    if (storeId === undefined) return;
    const askedMs = clock.monotonicMs();
    const noted = await lock.noteStore(node, storeId, processId);
    uses = noted.map(({ ageMs, ...use }) => ({ ...use, region, atMs: askedMs - ageMs }));
  };
  opened.adopt(
    setInterval(() => void note(), storesEveryMs),
    clearInterval,
  );
  stores.hear(() => uses);
}

function openPeers(
  { config: { region, peer }, observe, opened, health }: Parts,
  identity: PeerIdentity | undefined,
  trust: Denies,
): readonly PeerClient[] {
  if (peer === undefined || identity === undefined) return [];
  const client = PeerClient.open({
    region: peer.region,
    ownRegion: region,
    addresses: peer.addresses.map(printAddress),
    tls: identity,
    timers: clock,
    observe,
    isDenied: (fingerprint) => trust.denies(fingerprint),
    // A change that the other region makes for this one may itself wait for a push.
    times: { callMs: peer.pushTimeoutMs + callBeyondPushMs },
  });
  const reason = `region ${peer.region} does not serve from its own store`;
  client.onHello(({ serving: ok }) => health.note({ remote: { ok, reason: ok ? "" : reason } }));
  return [opened.use(client)];
}

/** Opens the port for the other region, and takes part in this one's elections. */
export async function openControl(
  parts: Parts,
  regions: Regions,
  keyRing: InstanceKeyRing,
  {
    management,
    duties,
    trust,
  }: { readonly management: Management; readonly duties: readonly Duty[]; readonly trust: Denies },
  identity: PeerIdentity | undefined,
): Promise<Control> {
  const { region } = parts.config;
  const { own, peers } = regions;
  const adopt = new AdoptKeks({ region, own, peers, keyRing, observe: parts.observe });
  const seals = { seals: sealsBy(keyRing) };
  regions.joining.keyRing = keyRing;
  const used = { adopt, management, keyRing, seals, trust };
  const peerServer = await openPeerServer(parts, regions, used, identity);
  return { peerServer, ...(await openLeader(parts, regions, seals, [adopt, ...duties])) };
}

async function openPeerServer(
  { config, observe, opened }: Parts,
  { own, store, stores, joining: { mayJoin } }: Regions,
  {
    adopt,
    management,
    keyRing,
    seals,
    trust,
  }: {
    readonly adopt: AdoptKeks;
    readonly management: Management;
    readonly keyRing: InstanceKeyRing;
    readonly seals: Seals;
    readonly trust: Denies;
  },
  identity: PeerIdentity | undefined,
): Promise<PeerServer | undefined> {
  const { region, peer, drainMs } = config;
  if (peer === undefined || identity === undefined) return undefined;
  let opening: PeerServer | undefined;
  // Asked only by the server; the region key may be replaced meanwhile.
  const keys = () => (opening as PeerServer).keys;
  const orders = new KekOrders({ region, own, keys, wallMs: clock.wallMs });
  const server = await PeerServer.open({
    region,
    listen: peer.listen,
    tls: identity,
    peers: [peer.region],
    store: (asking) =>
      new PeerService({
        region,
        asking,
        own,
        store,
        timers: clock,
        observe,
        ...seals,
        mayJoin,
        kek: (instance, kekId) => keyRing.plaintextFor(instance, kekId),
        ordered: (kekId, asking) => orders.allows(kekId, asking),
        givingEvents,
        recordFormat: () => own.formats()?.common ?? 0,
        callingStores: () => stores.saidBy(peer.region),
        manage: (command) => management.commands.answer(command),
        pushed: (objects) => {
          management.pushed(objects);
          for (const object of objects) void adopt.consider(object);
        },
      }),
    timers: clock,
    observe,
    isDenied: (fingerprint) => trust.denies(fingerprint),
  }).catch((error: unknown) => {
    throw listenError("peer.listen", printAddress(peer.listen), error);
  });
  opening = server;
  opened.defer(() => server.close(Math.min(drainMs, peerGraceMs)));
  return server;
}

/** What the trail keeps before another region gets a KEK. */
function givingEvents({ kekId, asking, reason }: GivenKek): readonly AuditEvent[] {
  return [
    {
      time: clock.wallMs(),
      action: "kek.give" satisfies ManagementAction,
      outcome: "success",
      initiator: `region ${asking}`,
      target: kekId,
      requestId: ids.uuid(),
      detail: { reason },
    },
  ];
}

async function openLeader(
  parts: Parts,
  regions: Regions,
  seals: Seals,
  [adopt, ...others]: readonly [AdoptKeks, ...Duty[]],
): Promise<Pick<Control, "leader" | "lockMasters">> {
  const { config, connection, health, observe, opened } = parts;
  const { own, peers, store, clocks, joining } = regions;
  const { mayJoin, proofs } = joining;
  const { region } = config;
  const urls = lockUrls(config.locks, connection);
  if (urls === undefined) return { leader: undefined, lockMasters: undefined };
  const { tls, onCertificate } = connection;
  const hearing = { ...(tls && { tls }), ...(onCertificate && { onCertificate }) };
  // By name, since two regions may use the same lock masters, and each needs its leader.
  const resource = `leader:${region}`;
  const lock = opened.use(await RedisLeaderLock.open({ urls, resource, ...hearing }));
  compareAtLockMasters(parts, regions, lock);
  const readers = peers.map(
    (peer) => new PeerReader({ peer, own, timers: clock, observe, ...seals, mayJoin, proofs }),
  );
  const duties: readonly Duty[] = [
    ...(peers.length === 0
      ? []
      : [
          new Resync(own, readers, clock),
          catchUp(own, readers),
          digestCheck(own, readers),
          new ResolveReservations({
            ...{ region, own, peers, timers: clock },
            judging: { mayJoin, observe },
          }),
          new DuplicateNames({ own, observe }),
          adopt,
        ]),
    new AgreeFormat({ store: own, peers, newest: recordFormat }),
    new DueDates({
      ...{ region, own, store, timers: clock, observe, restorable: regions.restorable },
      doubt: () => clocks.doubt(),
    }),
    ...others,
  ];
  health.note({ leader: { leads: false, epoch: 0 } });
  const leader = opened.use(new Leader({ lock, own, timers: clock, ids, observe, duties }));
  return { leader, lockMasters: () => lock.look() };
}
