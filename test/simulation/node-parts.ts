import {
  type Change,
  ClockCheck,
  type Event,
  type Ids,
  InstanceKeyRing,
  type Locks,
  type ManagedObject,
  ObjectKekStore,
  type OwnStore,
  partitionOf,
  sealsBy,
  Writer,
} from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import {
  AdoptKeks,
  AgreeFormat,
  AuditChain,
  AuditRetention,
  type AuditRetentionOptions,
  AuditShip,
  type AuditSink,
  catchUp,
  DueDates,
  DuplicateNames,
  type Duty,
  digestCheck,
  Leader,
  ownUse,
  type Peer,
  PeerReader,
  PeerService,
  type PeerStore,
  RegionalStore,
  Reseal,
  ResolveReservations,
  Resync,
  StoreCheck,
} from "@holdfast/regions";
import {
  Recount,
  type RecountOptions,
} from "../../packages/server/src/management/keys/recount-duty.ts";
import { RotateStorageKey } from "../../packages/server/src/roots/storage-key-rotation.ts";
import { type ClientParts, delayOfKey, instance } from "./client.ts";
import { replaced } from "./flaws.ts";
import type { Life } from "./machine.ts";
import type { NodeOptions, SimNode } from "./node.ts";
import { manage, type NodeManagement } from "./node-management.ts";
import { idsOf } from "./random.ts";
import { NodeRules } from "./rules/node-rules.ts";
import { type Call, SimPeer } from "./sim-peer.ts";
import { storesEveryMs, storesTimes } from "./stores-checker.ts";
import { checkedUse } from "./used-store.ts";
import { watched } from "./watched-store.ts";
import { clientRing, firstSightOf, makeWithheld, rekeyingsOf } from "./withheld.ts";

/** What a node's process has once its store is open. */
export interface Parts {
  readonly own: RedisStore;
  readonly store: RegionalStore;
  readonly service: PeerStore;
  readonly client: ClientParts;
  /** In histories that manage instances. */
  readonly management: NodeManagement | undefined;
}

/** How soon after a contact a node heeds what it heard. */
const heedMs = 250;
/** How long an open KEK is used: shorter than in the product, since a history is short. */
const kekCacheMs = 8_000;
/** How often a peer hears whether its region is retired. */
const retiredEveryMs = 200;

/** Puts a node together as the product does. */
export function makeParts(
  life: Life,
  node: SimNode,
  options: NodeOptions,
  opened: RedisStore,
): Parts {
  const { region, flaws, listener, machine } = options;
  const { timers } = life;
  const { group } = node.running;
  const ids = idsOf(machine.random.fork());
  const observe = (event: Event): void => listener.event(machine.name, event);
  const own = flaws.own(
    watched(checkedUse(opened, life, node, options), life, node, options),
    () => group.primary,
  );
  const links = options.others().map((other) => linkTo(other, life, node, options));
  const peers = links.map((link) => flaws.peer(link));
  const isSplit = (): boolean => listener.spare !== undefined;
  const rules = new NodeRules({ node: machine.name, region, own, isSplit }, listener.crashed);
  const store = new RegionalStore({
    region,
    own: rules.own(own),
    peers: peers.map((peer) => rules.peer(meeting(peer, life, node))),
    timers,
    ids,
    observe,
    peerAcknowledgement: options.acknowledgement,
    seals: () => sealsBy(keyRing),
    parts: rules.parts(flaws.parts),
    ...(options.withholds && { mayJoin: firstSightOf(region, timers) }),
  });
  followRetired(life, store, links);
  const clocks = new ClockCheck(timers, () => [
    ...[opened.clockReading() ?? []].flat(),
    ...links.flatMap(({ clock: reading }) => reading ?? []),
  ]);
  const stores = watchStores(life, options, opened, links, observe, () => rules.look());
  const ringReports = (event: Event): void => {
    listener.inner.keks.event(node, event);
    observe(event);
  };
  const keyRing = keyRingOf(life, options, { store, peers, ids, observe: ringReports });
  const adopt = new AdoptKeks({ region, own, peers, keyRing, observe });
  const wired = { opened, own, store, peers, ids, keyRing };
  const management = options.managed ? manage(life, node, options, wired) : undefined;
  const parts = { ...wired, observe, clocks, stores, adopt, management, rules };
  const careful = options.network.rules.broken !== undefined;
  const forOthers = rules.ownForOthers(own, group, careful);
  const answering = serviceOf(life, options, { ...parts, own: forOthers });
  const service = rules.service(flaws.service(answering, store, peers), group);
  startLeader(life, node, options, parts);
  const locks: Locks = { withLock: (_resource, body) => body() };
  const clock = {
    wallMs: timers.wallMs,
    monotonicMs: timers.monotonicMs,
    doubt: () => clocks.doubt(),
  };
  const alter = (changes: readonly Change[]) => flaws.alter(changes, region, timers.wallMs());
  const tried = (change: Change): void => listener.tried(change);
  const writer = flaws.writer(new Writer(ids), region);
  const used = {
    store: rules.client(flaws.client(store)),
    locks,
    keyRing,
    clock,
    ids,
    observe,
    region,
    writer,
  };
  const served = clientRing(keyRing, (error) => listener.crashed(error));
  const client = {
    ...used,
    keyRing: served,
    releaser: keyRing,
    alter,
    tried,
    destroyDelay: delayOfKey,
    undoes: options.undoes,
  };
  return { own: opened, store, service, client, management };
}

function linkTo(
  { region, nodes }: ReturnType<NodeOptions["others"]>[number],
  life: Life,
  node: SimNode,
  { network, listener, region: calling }: NodeOptions,
): SimPeer {
  const pushed = (by: string, object: ManagedObject): void => {
    // One of its nodes that uses another Redis may have answered.
    if (!nodes.some(({ isElsewhere }) => isElsewhere)) listener.durable(by, [object]);
  };
  const crashed = (error: unknown): void => listener.crashed(error);
  const called = (call: Call): void => listener.called(call);
  const met = (at: number): void => {
    const answering = nodes[at];
    if (answering !== undefined) listener.stores.met(node, answering);
  };
  return new SimPeer({ life, network, region, calling, nodes, met, pushed, crashed, called });
}

/** Compares the stores of each region's nodes, as a node does. */
function watchStores(
  life: Life,
  { region }: NodeOptions,
  own: RedisStore,
  links: readonly SimPeer[],
  observe: (event: Event) => void,
  looked: () => void,
): StoreCheck {
  const { timers } = life;
  const uses = () => [
    ...ownUse(own, region, timers.monotonicMs()),
    ...links.flatMap((link) => link.storeUses()),
  ];
  const stores = new StoreCheck({ timers, observe, uses, times: storesTimes });
  const look = (): void => {
    stores.look();
    looked();
    life.after(storesEveryMs, look);
  };
  look();
  return stores;
}

/** A returning region's endpoints are opened at its first contact: from then on it knows whether it was retired. */
function meeting(peer: Peer, life: Life, node: SimNode): Peer {
  return replaced(peer, {
    hello: async () => {
      const hello = await peer.hello();
      life.after(heedMs, () => {
        node.reachable = true;
      });
      return hello;
    },
  });
}

/** As in a node, a link to a region follows the records a moment later. */
function followRetired(life: Life, store: RegionalStore, links: readonly SimPeer[]): void {
  const follow = (): void => {
    for (const link of links) link.setRetired(store.records.isRetired(link.region));
    life.after(retiredEveryMs, follow);
  };
  follow();
}

/** The keys above the objects' material: each KEK is wrapped by the root of trust of every region. */
function keyRingOf(
  life: Life,
  { region, root, flaws }: NodeOptions,
  { store, peers, ids, observe }: Pick<NodeWork, "store" | "peers" | "ids" | "observe">,
): InstanceKeyRing {
  const { timers } = life;
  const present = () => peers.filter((peer) => !store.records.isRetired(peer.region));
  const [peer] = peers;
  const keyRing = new InstanceKeyRing(
    flaws.keyRing({
      rootOf: () => root,
      keks: new ObjectKekStore(store, { clock: timers, region }),
      clock: timers,
      ids,
      observe,
      region,
      kekCacheMs,
      graceMs: 60_000,
      requiredRegions: () => [region, ...present().map((other) => other.region)],
      sleep: (ms) => timers.sleep(ms),
      ...(peer && { fetchPlain: (of: string, kekId: string) => peer.kek(of, kekId) }),
    }),
  );
  const sweep = (): void => {
    keyRing.sweep();
    life.after(kekCacheMs / 4, sweep);
  };
  sweep();
  return keyRing;
}

/** What the parts of a node share. */
interface NodeWork {
  readonly opened: RedisStore;
  readonly store: RegionalStore;
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
  readonly ids: Ids;
  readonly observe: (event: Event) => void;
  readonly clocks: ClockCheck;
  readonly stores: StoreCheck;
  readonly keyRing: InstanceKeyRing;
  readonly adopt: AdoptKeks;
  readonly management: NodeManagement | undefined;
  readonly rules: NodeRules;
}

function serviceOf(
  { timers }: Life,
  { region, others, withholds }: NodeOptions,
  { store, own, observe, opened, stores, keyRing, adopt, management }: NodeWork,
): PeerStore {
  const asking = others()[0]?.region ?? "";
  return new PeerService({
    region,
    asking,
    own,
    store,
    timers,
    observe,
    seals: sealsBy(keyRing),
    ...(withholds && { mayJoin: firstSightOf(region, timers) }),
    kek: (of, kekId) => keyRing.plaintextFor(of, kekId),
    recordFormat: () => opened.formats()?.common ?? 0,
    callingStores: () => stores.saidBy(asking),
    ...(management && { manage: (command) => management.commands.answer(command) }),
    pushed: (objects) => {
      management?.view.take(objects);
      for (const object of objects) void adopt.consider(object);
    },
  });
}

/** Starts the leader's duties that change what other regions or clients see. */
function startLeader(
  life: Life,
  node: SimNode,
  { region, lock, listener, archive, flaws, withholds }: NodeOptions,
  { opened, own, store, peers, ids, observe, clocks, keyRing, adopt, management }: NodeWork,
): void {
  const { timers } = life;
  const seals = { seals: sealsBy(keyRing) };
  const mayJoin = withholds ? firstSightOf(region, timers) : undefined;
  const joins = { ...seals, ...(mayJoin && { mayJoin }) };
  const { catchUps, reservations } = listener.inner;
  const reading = catchUps.reading(node, own);
  const readers = peers
    .map((peer) => new PeerReader({ peer, own: reading.own, timers, observe, ...joins }))
    .map(reading.reader);
  const resyncing = catchUps.resyncing(node, { own, readers });
  const resolving = reservations.watched(node, { own, peers });
  const formats = replaced(opened, {
    requireFormat: async (format: number, epoch: number) => {
      const agreed = await opened.requireFormat(format, epoch);
      if (agreed && !node.isElsewhere) listener.agreed(region, format);
      return agreed;
    },
  });
  const log = opened.audit;
  const audit = { log, store, timers, observe };
  const kekParts = { timers, region, store, peers, keyRing };
  const reseal = new Reseal({ own, keyRing, timers, wanted: () => rekeyingsOf(kekParts) });
  const restorable = new Set<string>();
  const duties: readonly Duty[] = [
    new Resync(resyncing.own, resyncing.readers, timers),
    catchUp(own, readers),
    digestCheck(own, readers, 25_000),
    new ResolveReservations({ region, ...resolving, timers, judging: { mayJoin, observe } }),
    new DuplicateNames({ own, observe }),
    adopt,
    new AgreeFormat({ store: formats, peers, newest: node.running.format }),
    new DueDates({ region, own, store, timers, restorable, doubt: () => clocks.doubt() }),
    {
      name: "rekey",
      everyMs: 1_000,
      run: async (context) => {
        if (withholds && restorable.has(instance)) await makeWithheld(kekParts);
        return await reseal.run(context);
      },
    },
    new AuditChain(audit),
    new RotateStorageKey(opened),
    new Recount({ own: countsOf(own), observe, monotonicMs: timers.monotonicMs }),
    ...(management === undefined ? [] : [management.duty]),
    ...(archive === undefined
      ? []
      : [new AuditShip({ ...audit, sink: archive }), retention(audit, archive, timers, observe)]),
  ];
  new Leader({ lock: lock(life), own, timers, ids, observe, duties: flaws.duties(duties) });
}

/** Histories have objects in one partition only. */
function countsOf(own: OwnStore): RecountOptions["own"] {
  const used = partitionOf(instance);
  return {
    countsIn: async (partition) => (partition === used ? await own.countsIn(used) : new Map()),
    recount: (partition) => own.recount(partition),
  };
}

/** Events are kept for seconds, since a history is short. */
function retention(
  { log, store }: Pick<AuditRetentionOptions, "log" | "store">,
  { name }: AuditSink,
  timers: Life["timers"],
  observe: (event: Event) => void,
): Duty {
  const unbounded = { bytesMax: Number.MAX_SAFE_INTEGER, hardMax: Number.MAX_SAFE_INTEGER };
  const bounds = async () => unbounded;
  const duty = new AuditRetention({
    log,
    store,
    timers,
    observe,
    sinks: [name],
    ageMs: 3_000,
    bounds,
  });
  return replaced<Duty>(duty, { everyMs: 2_000 });
}
