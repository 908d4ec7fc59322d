import {
  type Change,
  type ManagedObject,
  type ObjectStore,
  type OwnStore,
  StoreUnavailable,
  type Writer,
} from "@holdfast/engine";
import type { Peer, PeerStore, RegionalParts, RegionalStore } from "@holdfast/regions";
import type { StoreFlaw } from "./scripts.ts";

/** Faults that can be planted in a simulation; none of them can be switched on in the product. */
export type Flaw =
  | StoreFlaw
  | "Item Not Found on an unreachable peer"
  | "a fetch answered through the remote store"
  | "Destroy with preferred instead of agreement"
  | "local store used too early after an outage"
  | "last writer wins without the stamp rule"
  | "a region as the writer of a value";

/** The kind of fault that reveals each flaw; any kind reveals the others. */
export const focusOf: Readonly<Partial<Record<Flaw, string>>> = {
  // A fail-over gives the same number twice.
  "a counter as version": "primary lost while its replica is behind",
  "acknowledge before the barrier": "primary lost while its replica is behind",
  "no-change answered without a barrier": "primary lost while its replica is behind",
  "WAITAOF on another connection": "primary lost while its replica is behind",
  "Item Not Found on an unreachable peer": "cut between the regions",
  "a fetch answered through the remote store":
    "cut between the regions, and a store frozen after it",
  "last writer wins without the stamp rule": "clock jump",
  "a region as the writer of a value": "node cut from its Redis",
};

/** Functions that replace a node's parts by faulty ones; without a flaw they return the parts. */
export interface Flaws {
  readonly store: ReadonlySet<StoreFlaw>;
  readonly numbers: WeakMap<ManagedObject, number>;
  readonly parts: Partial<RegionalParts>;
  readonly own: (own: OwnStore) => OwnStore;
  readonly peer: (peer: Peer) => Peer;
  readonly service: (service: PeerStore, store: RegionalStore, peers: readonly Peer[]) => PeerStore;
  readonly client: (store: ObjectStore) => ObjectStore;
  /** The name for the values that a process adds. */
  readonly writer: (own: Writer, region: string) => Writer;
  readonly alter: (changes: readonly Change[], region: string, wallMs: number) => readonly Change[];
}

/** The parts of a node with one flaw, or with none. */
export function flawsOf(flaw: Flaw | undefined): Flaws {
  const sound: Flaws = {
    store: new Set(),
    numbers: new WeakMap(),
    parts: {},
    own: (own) => own,
    peer: (peer) => peer,
    service: (service) => service,
    client: (store) => store,
    writer: (own) => own,
    alter: (changes) => changes,
  };
  if (flaw === undefined) return sound;
  const faulty = faultyParts[flaw];
  return faulty === "store"
    ? { ...sound, store: new Set([flaw as StoreFlaw]) }
    : { ...sound, ...faulty };
}

/** The parts that each flaw replaces; flaws of the store are in the store itself. */
const faultyParts: Readonly<Record<Flaw, Partial<Flaws> | "store">> = {
  "no tag check": "store",
  "a counter as version": "store",
  "acknowledge before the barrier": "store",
  "no-change answered without a barrier": "store",
  "WAITAOF on another connection": "store",
  "Item Not Found on an unreachable peer": { peer: peerThatHasNothing },
  "a fetch answered through the remote store": { service: serviceThatForwards },
  "Destroy with preferred instead of agreement": { client: storeWithoutAgreement },
  "local store used too early after an outage": { own: storeThatIsLevel },
  "last writer wins without the stamp rule": { alter: clockStamps },
  "a region as the writer of a value": {
    writer: (own, region) => replaced(own, { next: () => region }),
  },
};

export const flawNames = Object.keys(faultyParts) as readonly Flaw[];

/** An object with some of its methods replaced. */
function replaced<Target extends object>(target: Target, methods: Partial<Target>): Target {
  return new Proxy(target, {
    get(of, name) {
      const own = (methods as Record<PropertyKey, unknown>)[name];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(of, name, of);
      return typeof value === "function" ? value.bind(of) : value;
    },
  });
}

function peerThatHasNothing(peer: Peer): Peer {
  return replaced(peer, {
    fetch: async (instance: string, ids: readonly string[]) => {
      try {
        return await peer.fetch(instance, ids);
      } catch (error) {
        if (error instanceof StoreUnavailable) return ids.map(() => undefined);
        throw error;
      }
    },
  });
}

function serviceThatForwards(
  service: PeerStore,
  store: RegionalStore,
  [peer]: readonly Peer[],
): PeerStore {
  return replaced(service, {
    fetch: async (instance: string, ids: readonly string[]) => {
      const forward = peer !== undefined && store.serving().from === "remote";
      return forward ? peer.remote.read(instance, ids) : service.fetch(instance, ids);
    },
  });
}

function storeWithoutAgreement(store: ObjectStore): ObjectStore {
  return replaced(store, {
    commit: (instance, changes, audit) => store.commit(instance, changes, audit),
  });
}

function storeThatIsLevel(own: OwnStore): OwnStore {
  return replaced(own, {
    requestResync: async () => 0,
    levels: async () => ({ asked: 0, reached: Number.MAX_SAFE_INTEGER, lost: 0 }),
  });
}

/** Stamps come only from the clock, even if they replace a later one. */
function clockStamps(
  changes: readonly Change[],
  region: string,
  wallMs: number,
): readonly Change[] {
  return changes.map((change) => {
    if (change.kind === "create") return change;
    const before = new Set(change.before.object.registers);
    const registers = change.after.registers.map((register) =>
      before.has(register) ? register : { ...register, stamp: { us: wallMs * 1_000, region } },
    );
    return { ...change, after: { ...change.after, registers } };
  });
}
