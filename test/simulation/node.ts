import {
  type Change,
  type Event,
  type Ids,
  type KeyRing,
  type Locks,
  type OwnStore,
  recordFormat,
  type StoredObject,
  Writer,
} from "@holdfast/engine";
import { openRedisStore, type RedisStore } from "@holdfast/redis";
import {
  AgreeFormat,
  AuditChain,
  catchUp,
  DueDates,
  DuplicateNames,
  digestCheck,
  Leader,
  type LeaderLock,
  type Peer,
  type PeerAcknowledgement,
  PeerReader,
  PeerService,
  type PeerStore,
  RegionalStore,
  Resync,
} from "@holdfast/regions";
import { ResolveReservations } from "../../packages/regions/src/leader/resolve-reservations.ts";
import type { ClientParts } from "./client.ts";
import type { Flaws } from "./flaws.ts";
import type { Life, Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import { SimPeer } from "./sim-peer.ts";
import type { RedisGroup } from "./store/redis-group.ts";
import { connectionsOf, timersOf } from "./store/sim-connection.ts";

/** The events that nodes report to their history. */
export interface NodeListener {
  /** A region's own store has these records durably. */
  durable(region: string, objects: readonly StoredObject["object"][]): void;
  /** A region's own store was read. */
  read(region: string, ids: readonly string[]): void;
  /** A region's own store was searched. */
  searched(region: string): void;
  /** A change is about to be committed for a client. */
  tried(change: Change): void;
  led(region: string, epoch: number, life: Life): void;
  event(node: string, event: Event): void;
  crashed(error: unknown): void;
}

/** The parts of a node. */
export interface NodeOptions {
  readonly machine: Machine;
  readonly region: string;
  readonly group: RedisGroup;
  readonly network: Network;
  readonly lock: (life: Life) => LeaderLock;
  readonly others: () => readonly { readonly region: string; readonly nodes: readonly SimNode[] }[];
  readonly flaws: Flaws;
  readonly acknowledgement: PeerAcknowledgement;
  readonly listener: NodeListener;
}

/** A node of a region that runs the product's own code. */
export class SimNode {
  readonly machine: Machine;
  readonly region: string;
  readonly #options: NodeOptions;
  #parts: Parts | undefined;
  /** Whether its process has ended for good. */
  stopped = false;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.machine = options.machine;
    this.region = options.region;
  }

  /** Its service for the other region's nodes, while it runs. */
  get service(): PeerStore | undefined {
    return this.#parts?.service;
  }

  get store(): RegionalStore | undefined {
    return this.#parts?.store;
  }

  /** Its parts that a client needs; undefined while it is down. */
  get client(): ClientParts | undefined {
    return this.#parts?.client;
  }

  get lives(): boolean {
    return this.machine.life !== undefined;
  }

  /** Starts its process, which has its parts once its store is open; a process that ends is started again. */
  start(): void {
    if (this.stopped) return;
    const life = this.machine.start();
    openStore(life, this.#options).then(
      (store) => {
        this.#parts = makeParts(life, this.#options, store);
      },
      () => life.after(restartMs, () => this.start()),
    );
  }

  kill(): void {
    this.machine.kill();
    this.#parts = undefined;
  }

  /** Ends its process for good. */
  stop(): void {
    this.stopped = true;
    this.kill();
  }
}

interface Parts {
  readonly store: RegionalStore;
  readonly service: PeerStore;
  readonly client: ClientParts;
}

/** How long it takes until a process that ended is started again. */
const restartMs = 1_000;

/** Opens the region's own store as a node does that has a peer. */
function openStore(life: Life, options: NodeOptions): Promise<RedisStore> {
  const { region, group, network, flaws, listener, machine } = options;
  return openRedisStore({
    ...group.address,
    region,
    replicas: group.members.length - 1,
    clock: life.timers,
    timers: timersOf(life),
    observe: (event) => listener.event(machine.name, event),
    openUnreachable: true,
    allowOtherStore: true,
    connections: flaws.connections(
      connectionsOf({ life, network, server: (address) => group.server(address) }),
    ),
  });
}

function makeParts(life: Life, options: NodeOptions, opened: RedisStore): Parts {
  const { region, group, network, flaws, listener, machine } = options;
  const { timers } = life;
  const random = machine.random.fork();
  const ids: Ids = {
    uuid: () => random.uuid(),
    randomBytes: (length) => random.bytes(length),
  };
  const observe = (event: Event): void => listener.event(machine.name, event);
  const own = flaws.own(watched(opened, life, options), () => group.primary);
  const peers = options.others().map(({ region: name, nodes }) => {
    const pushed = (by: string, object: StoredObject["object"]) => listener.durable(by, [object]);
    const { crashed } = listener;
    return flaws.peer(new SimPeer({ life, network, region: name, nodes, pushed, crashed }));
  });
  const store = new RegionalStore({
    region,
    own,
    peers,
    timers,
    ids,
    observe,
    peerAcknowledgement: options.acknowledgement,
    parts: flaws.parts,
  });
  const service = flaws.service(serviceOf(store, own, options, life, observe), store, peers);
  startLeader(life, options, { opened, own, store, peers, ids, observe });
  const locks: Locks = { withLock: (_resource, body) => body() };
  const clock = { wallMs: timers.wallMs, monotonicMs: timers.monotonicMs };
  const alter = (changes: readonly Change[]) => flaws.alter(changes, region, timers.wallMs());
  const tried = (change: Change): void => listener.tried(change);
  const writer = flaws.writer(new Writer(ids), region);
  const parts = { store: flaws.client(store), locks, keyRing, clock, ids, observe, region, writer };
  return { store, service, client: { ...parts, alter, tried } };
}

function serviceOf(
  store: RegionalStore,
  own: OwnStore,
  { region, others }: NodeOptions,
  { timers }: Life,
  observe: (event: Event) => void,
): PeerStore {
  const asking = others()[0]?.region ?? "";
  const kek = (): Promise<never> => Promise.reject(new Error("no KEK is exchanged here"));
  return new PeerService({ region, asking, own, store, timers, observe, kek });
}

interface LeaderParts {
  readonly opened: RedisStore;
  readonly store: RegionalStore;
  readonly own: OwnStore;
  readonly peers: readonly Peer[];
  readonly ids: Ids;
  readonly observe: (event: Event) => void;
}

/** Starts the leader's duties that change what other regions or clients see. */
function startLeader(
  life: Life,
  { region, lock }: NodeOptions,
  { opened, own, store, peers, ids, observe }: LeaderParts,
): void {
  const { timers } = life;
  const readers = peers.map((peer) => new PeerReader({ peer, own, timers, observe }));
  const duties = [
    new Resync(own, readers),
    catchUp(own, readers),
    digestCheck(own, readers, 25_000),
    new ResolveReservations({ region, own, peers, timers }),
    new DuplicateNames({ own, observe }),
    new AgreeFormat({ store: opened, peers, newest: recordFormat }),
    new DueDates({ region, own, store, timers }),
    new AuditChain({ log: opened.audit, store, timers, observe }),
  ];
  new Leader({ lock: lock(life), own, timers, ids, observe, duties });
}

/** The own store, which reports what it made durable and what leaders wrote. */
function watched(store: OwnStore, life: Life, options: NodeOptions): OwnStore {
  const methods = new Map<PropertyKey, unknown>();
  return new Proxy(store, {
    get(target, name) {
      const known = methods.get(name);
      if (known !== undefined) return known;
      const value = watchedPart(target, name, life, options);
      if (typeof value === "function") methods.set(name, value);
      return value;
    },
  });
}

function watchedPart(
  target: OwnStore,
  name: PropertyKey,
  life: Life,
  { region, listener }: NodeOptions,
): unknown {
  if (name === "commit") {
    return async (...args: Parameters<OwnStore["commit"]>) => {
      const outcome = await target.commit(...args);
      if (outcome.kind === "committed") {
        listener.durable(
          region,
          args[1].map(({ after }) => after),
        );
      }
      return outcome;
    };
  }
  if (name === "read") {
    return async (...args: Parameters<OwnStore["read"]>) => {
      const found = await target.read(...args);
      listener.read(region, args[1]);
      // Everything that it answers is covered.
      listener.durable(
        region,
        found.flatMap((stored) => stored?.object ?? []),
      );
      return found;
    };
  }
  if (name === "find") {
    return async (...args: Parameters<OwnStore["find"]>) => {
      const page = await target.find(...args);
      listener.searched(region);
      return page;
    };
  }
  if (name === "setCursor" || name === "setLevel" || name === "release") {
    return async (...args: readonly unknown[]) => {
      const method = target[name] as (...all: readonly unknown[]) => unknown;
      const result = await method.apply(target, [...args]);
      const epoch = args[name === "setCursor" ? 3 : name === "setLevel" ? 1 : 2];
      if (typeof epoch === "number") listener.led(region, epoch, life);
      return result;
    };
  }
  const value: unknown = Reflect.get(target, name, target);
  return typeof value === "function" ? value.bind(target) : value;
}

/** Material in clear: the simulation does not include sealing. */
export const keyRing: KeyRing = {
  seal: async (_binding, plaintext) => ({
    kekId: "00000000-0000-4000-8000-000000000000",
    nonce: new Uint8Array(12),
    ciphertext: Uint8Array.from(plaintext),
  }),
  open: (_binding, { ciphertext }) => Uint8Array.from(ciphertext),
};
