import {
  type Change,
  type Event,
  type RootOfTrust,
  recordFormat,
  type StoredObject,
} from "@holdfast/engine";
import { openRedisStore, type RedisStore } from "@holdfast/redis";
import type {
  AuditSink,
  LeaderLock,
  PeerAcknowledgement,
  PeerStore,
  RegionalStore,
} from "@holdfast/regions";
import type { DeletionStep } from "../../packages/server/src/management/instances/deletion.ts";
import type { ClientParts } from "./client.ts";
import type { Flaws } from "./flaws.ts";
import type { InnerChecks } from "./inner-checks.ts";
import type { Life, Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import type { NodeManagement } from "./node-management.ts";
import { makeParts, type Parts } from "./node-parts.ts";
import { SimMemory } from "./sim-memory.ts";
import type { Call } from "./sim-peer.ts";
import type { RedisGroup } from "./store/redis-group.ts";
import { connectionsOf, processName, timersOf } from "./store/sim-connection.ts";
import { noted } from "./store/store-use.ts";
import type { StoresChecker } from "./stores-checker.ts";

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
  /** A node asks for an epoch. */
  stands(region: string, life: Life): void;
  /** A leader wrote something in its epoch, which counts in one store. */
  led(region: string, store: string | undefined, epoch: number, life: Life): void;
  /** A region's leader has required a format of records of every node. */
  agreed(region: string, format: number): void;
  /** A node's own store has answered it. */
  used(node: SimNode): void;
  /** Hears which nodes have answered which. */
  readonly stores: Pick<StoresChecker, "met">;
  /** A second Redis of a region, which one of its nodes uses by mistake. */
  readonly spare: RedisGroup | undefined;
  /** Checks what no client sees. */
  readonly inner: InnerChecks;
  /** A node asks another region, or is answered. */
  called(call: Call): void;
  /** A node is about to take a step of an instance's deletion. */
  deletes(node: SimNode, step: DeletionStep): void;
  event(node: string, event: Event): void;
  crashed(error: unknown): void;
}

/** What a node is started with: its release, and the Redis that its configuration names. */
export interface Setup {
  /** The newest format of records that its release reads and writes. */
  readonly format: number;
  readonly group: RedisGroup;
}

/** The parts of a node. */
export interface NodeOptions {
  readonly machine: Machine;
  readonly region: string;
  /** Its region's Redis. */
  readonly group: RedisGroup;
  readonly network: Network;
  readonly lock: (life: Life) => LeaderLock;
  readonly others: () => readonly { readonly region: string; readonly nodes: readonly SimNode[] }[];
  readonly flaws: Flaws;
  readonly acknowledgement: PeerAcknowledgement;
  /** What wraps its region's KEKs and storage keys. */
  readonly root: RootOfTrust;
  /** Where its region ships audit events, if it does. */
  readonly archive: AuditSink | undefined;
  /** Whether it manages instances. */
  readonly managed: boolean;
  /** Whether it withholds what is destroyed with a delay, and judges the other region's destructions. */
  readonly withholds: boolean;
  /** Whether clients change keys in batches. */
  readonly undoes: boolean;
  readonly listener: NodeListener;
}

/** How often a node notes its format: more often than in the product, since a history is short. */
export const formatsEveryMs = 1_000;
/** How long it takes until a process that ended is started again. */
const restartMs = 1_000;

/** A node of a region that runs the product's own code. */
export class SimNode {
  readonly machine: Machine;
  readonly region: string;
  readonly #options: NodeOptions;
  readonly #memory: SimMemory;
  #parts: Parts | undefined;
  /** Whether its process has ended for good. */
  stopped = false;
  /** Its region is out: its process is not started. */
  away = false;
  /** Whether clients reach its endpoint. */
  reachable = true;
  /** After each start, its endpoint is off until it has met the other region. */
  closed = false;
  /** What its next start uses. */
  setup: Setup;
  #running: Setup;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.machine = options.machine;
    this.#memory = new SimMemory(options.machine);
    this.region = options.region;
    this.setup = { format: recordFormat, group: options.group };
    this.#running = this.setup;
  }

  /** Its service for the other region's nodes, while it runs. */
  get service(): PeerStore | undefined {
    return this.#parts?.service;
  }

  get store(): RegionalStore | undefined {
    return this.#parts?.store;
  }

  /** Its region's own store, as it uses it. */
  get own(): RedisStore | undefined {
    return this.#parts?.own;
  }

  /** Its parts that a client needs; undefined while it is down. */
  get client(): ClientParts | undefined {
    return this.#parts?.client;
  }

  /** What manages instances at it; undefined while it is down, or if it manages none. */
  get management(): NodeManagement | undefined {
    return this.#parts?.management;
  }

  get lives(): boolean {
    return this.machine.life !== undefined;
  }

  /** What its process was started with. */
  get running(): Setup {
    return this.#running;
  }

  /** Whether its process uses another Redis than the other nodes of its region. */
  get isElsewhere(): boolean {
    const { group } = this.#running;
    return this.lives && group !== this.#options.group && group.region === this.region;
  }

  /** Starts its process, which has its parts once its store is open; a process that ends is started again. */
  start(): void {
    if (this.stopped || this.away) return;
    if (this.closed) this.reachable = false;
    const life = this.machine.start();
    this.#running = this.setup;
    openStore(life, this.#options, this.setup, this.#memory).then(
      (store) => {
        this.#parts = makeParts(life, this, this.#options, store);
      },
      () => life.after(restartMs, () => this.start()),
    );
  }

  kill(): void {
    this.machine.kill();
    this.#parts = undefined;
  }

  /** Starts it again with another release or another configuration. */
  restart(setup: Partial<Setup>): void {
    this.setup = { ...this.setup, ...setup };
    this.kill();
    this.start();
  }

  /** Ends its process for good. */
  stop(): void {
    this.stopped = true;
    this.kill();
  }
}

/** Opens the region's own store as a node does that has a peer. */
function openStore(
  life: Life,
  options: NodeOptions,
  { group, format }: Setup,
  memory: SimMemory,
): Promise<RedisStore> {
  const { region, root, network, flaws, listener, machine } = options;
  return openRedisStore({
    ...group.settings,
    region,
    root,
    memory: memory.options(life, root),
    recordFormat: format,
    formatsEveryMs,
    processName: processName(life),
    clock: life.timers,
    timers: timersOf(life),
    observe: (event) => listener.event(machine.name, event),
    openUnreachable: true,
    allowOtherStore: true,
    connections: noted(
      flaws.connections(
        connectionsOf({ life, network, server: (address) => group.server(address) }),
      ),
      life,
      group.memberAt,
    ),
  });
}
