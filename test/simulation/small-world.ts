import {
  type Change,
  type KeyRing,
  type ManagedObject,
  type OwnStore,
  type OwnStoredObject,
  StoreUnavailable,
  Writer,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import {
  join,
  type Peer,
  PeerService,
  type PeerState,
  type PeerStore,
  RegionalStore,
  type Serving,
} from "@holdfast/regions";
import { ResolveReservations } from "../../packages/regions/src/leader/resolve-reservations.ts";
import { Checker } from "./checker.ts";
import { ask, type ClientParts, instance, type Wish } from "./client.ts";
import { type Flaw, flawsOf } from "./flaws.ts";
import { Gate, gatedStore, gateTimers, shortHash } from "./gate.ts";
import { type Acknowledged, rankOf } from "./ledger.ts";
import { idsOf, Random } from "./random.ts";
import { settled } from "./scheduler.ts";

type RegionName = "a" | "b";
type Copies = Readonly<Record<RegionName, OwnStoredObject>>;

/** The actors, and their regions; each has its own node. */
export interface Plan {
  readonly destroyer?: RegionName;
  readonly activator?: RegionName;
  readonly leader?: RegionName;
  readonly reader?: RegionName;
  /** Whether the link between the regions may be cut. */
  readonly cut: boolean;
  /** Whether a push may be too slow without a cut. */
  readonly slow: boolean;
}

const pushTimeoutMs = 30;

const local: Serving = {
  from: "local",
  writes: true,
  reason: "own store",
  through: false,
  agrees: true,
  doubted: false,
};

/** Two regions: a key is destroyed, activated, read and resolved, with a cut, in any order. */
export class SmallWorld {
  readonly gate = new Gate();
  readonly checker = new Checker(["a", "b"]);
  readonly #stores: Readonly<Record<RegionName, MemoryOwnStore>> = {
    a: new MemoryOwnStore({ storeId: "store of a" }),
    b: new MemoryOwnStore({ storeId: "store of b" }),
  };
  readonly #flaw: Flaw | undefined;
  readonly #answers: string[] = [];
  #cut = false;
  #background = true;
  #slow = true;
  #id = "";
  failure: unknown;

  constructor(flaw: Flaw | undefined) {
    this.#flaw = flaw;
    for (const { instances } of Object.values(this.#stores)) {
      instances.setStatus(instance, "Installed");
    }
  }

  /** Makes a key as a client does. */
  async make(): Promise<ManagedObject> {
    const { made } = await ask(this.#node("maker", "a").client, { kind: "create" });
    const [key] = made;
    if (key === undefined) throw new Error("no key was made");
    return key.after;
  }

  /** Gives both regions the key, and starts all actors. */
  async begin(plan: Plan, created: ManagedObject): Promise<void> {
    const id = created.uniqueIdentifier;
    this.#id = id;
    this.#slow = plan.slow;
    const create: Change = { kind: "create", after: created };
    for (const store of Object.values(this.#stores)) {
      // Replication writes it like this.
      await store.commit(instance, [create], [], { joined: true });
    }
    const regions = new Set(["a", "b"]);
    this.checker.acknowledge(
      { kind: "create", id, atMs: -1, object: created, regions, shared: true, lost: false },
      undefined,
    );
    const wishes = [
      ["destroyer", plan.destroyer, { kind: "destroy", id }],
      ["activator", plan.activator, { kind: "activate", id }],
      ["reader", plan.reader, { kind: "look", id }],
    ] as const;
    const made = wishes.flatMap(([actor, region, wish]) =>
      region === undefined ? [] : [{ actor, region, wish, node: this.#node(actor, region) }],
    );
    const { leader, cut } = plan;
    const leading = leader && this.#node("leader", leader);
    await settled();
    this.#background = false;
    for (const { actor, region, wish, node } of made) {
      void this.#request(actor, region, node.client, wish);
    }
    if (leader !== undefined && leading !== undefined) void this.#resolve(leading, leader);
    if (cut) {
      void this.gate.pass("cut", "cut", () => {
        this.#cut = true;
      });
    }
    await settled();
  }

  /** A name for the state on which all further steps depend. */
  async state(): Promise<string> {
    const copies = Object.values(await this.#copies());
    const stores = copies.map(({ tag, reserved = "" }) => `${tag}+${reserved}`);
    return shortHash(
      `${stores.join("/")} ${this.#cut} ${this.gate.state()} ${this.#answers.join("|")}`,
    );
  }

  /** Checks what must always be true. */
  async inspect(): Promise<void> {
    const { a, b } = await this.#copies();
    this.checker.inspect("a", a.object);
    this.checker.inspect("b", b.object);
    const both = join(a.object, b.object);
    if (both.kind === "joined") this.checker.inspect("a and b together", both.object);
  }

  /** The clients' answers so far, for traces. */
  get answers(): readonly string[] {
    return this.#answers;
  }

  async #request(
    actor: string,
    region: RegionName,
    client: ClientParts,
    wish: Wish,
  ): Promise<void> {
    try {
      // The reader's question is its own step: everything acknowledged before it must be seen.
      const asks = actor === "reader";
      const askedMs = asks ? await this.gate.pass(actor, "asks", () => this.gate.taken) : 0;
      const { answer, made, id } = await ask(client, wish);
      const answeredMs = this.gate.taken;
      this.#answers.push(`${actor}: ${JSON.stringify(answer)}`);
      const seen = { node: actor, operation: wish.kind, id, askedMs, answeredMs, answer };
      this.checker.observe({ ...seen, store: region });
      if (answer.kind !== "done") return;
      for (const { before, after } of made) {
        this.checker.acknowledge(await this.#acknowledged(after, region), before);
      }
    } catch (error) {
      this.failure ??= error;
    }
  }

  async #acknowledged(object: Acknowledged["object"], region: RegionName): Promise<Acknowledged> {
    const copies = await this.#copies();
    const others = (["a", "b"] as const).filter(
      (name) => rankOf(copies[name].object) >= rankOf(object),
    );
    const regions = new Set([region, ...others]);
    const shared = regions.size === 2;
    return {
      kind: "state",
      id: this.#id,
      atMs: this.gate.taken,
      object,
      regions,
      shared,
      lost: false,
    };
  }

  /** Each region's copy of the key now, without a step. */
  async #copies(): Promise<Copies> {
    const [[a], [b]] = await Promise.all([
      this.#stores.a.read(instance, [this.#id]),
      this.#stores.b.read(instance, [this.#id]),
    ]);
    if (a === undefined || b === undefined) throw new Error("the key is gone");
    return { a, b };
  }

  async #resolve({ own, peer, timers }: SmallNode, region: RegionName): Promise<void> {
    const duty = new ResolveReservations({ region, own, peers: [peer], timers, abandonedMs: 0 });
    const { signal } = new AbortController();
    try {
      await duty.run({ epoch: 1, signal, active: () => true });
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) this.failure ??= error;
    }
  }

  #node(actor: string, region: RegionName): SmallNode {
    const other: RegionName = region === "a" ? "b" : "a";
    const there = this.#side(actor, other, unreachable(region));
    const kek = (): Promise<never> => Promise.reject(new Error("no KEK is exchanged here"));
    const service = new PeerService({ region: other, asking: region, kek, ...there });
    const peer = this.#flaws.peer(this.#peer(other, this.#flaws.service(service, there.store, [])));
    const here = this.#side(actor, region, peer);
    const { ids, timers, observe } = here;
    const clock = { wallMs: timers.wallMs, monotonicMs: timers.monotonicMs };
    const locks = { withLock: <Result>(_of: string, body: () => Promise<Result>) => body() };
    const store = this.#flaws.client(here.store);
    const writer = this.#flaws.writer(new Writer(ids), region);
    const alter = (changes: readonly Change[]) =>
      this.#flaws.alter(changes, region, timers.wallMs());
    const parts = { store, locks, keyRing, clock, ids, observe, region, writer, alter };
    return { ...here, peer, client: { ...parts, tried: () => undefined } };
  }

  get #flaws() {
    return flawsOf(this.#flaw);
  }

  #side(actor: string, region: RegionName, peer: Peer) {
    const background = () => this.#background;
    const endlessMs = this.#slow ? undefined : pushTimeoutMs;
    const timers = gateTimers(this.gate, actor, background, endlessMs);
    const ids = idsOf(new Random(seedOf(actor)));
    const sight = { gate: this.gate, actor, region, background };
    const own = this.#flaws.own(gatedStore(this.#stores[region], sight), noRedis);
    const observe = (): void => undefined;
    const store = new RegionalStore({
      region,
      own,
      peers: [peer],
      timers,
      ids,
      observe,
      reservedMs: 30,
      pushTimeoutMs,
      parts: { ...this.#flaws.parts, decide: () => local },
    });
    return { own, store, timers, ids, observe };
  }

  /** The other region's service while the link is up; a call that a cut fails may still be done. */
  #peer(region: RegionName, service: PeerStore): Peer {
    const gone = () => new StoreUnavailable("peerUnreachable", "cut");
    const wrapped = new Proxy(service, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          if (this.#cut) throw gone();
          const answer: unknown = await value.apply(target, args);
          if (this.#cut) throw gone();
          return answer;
        };
      },
    });
    const state = (): PeerState => (this.#cut ? "down" : "up");
    return Object.assign(Object.create(wrapped) as Peer, {
      region,
      state,
      onState: () => () => undefined,
      onHello: () => () => undefined,
    });
  }
}

interface SmallNode {
  readonly own: OwnStore;
  readonly peer: Peer;
  readonly timers: ReturnType<typeof gateTimers>;
  readonly client: ClientParts;
}

/** A peer for the service itself, which never uses the other region. */
function unreachable(region: RegionName): Peer {
  const peer = {
    region,
    state: (): PeerState => "up",
    onState: () => () => undefined,
    onHello: () => () => undefined,
    hello: () => new Promise(() => undefined),
  };
  return peer as unknown as Peer;
}

function noRedis(): never {
  throw new Error("the small world has no Redis");
}

function seedOf(actor: string): number {
  return Number.parseInt(shortHash(actor).slice(0, 8), 16);
}

/** Material in clear: the small world does not include sealing. */
const keyRing: KeyRing = {
  seal: async (_binding, plaintext) => ({
    kekId: "00000000-0000-4000-8000-000000000000",
    nonce: new Uint8Array(12),
    ciphertext: Uint8Array.from(plaintext),
  }),
  open: (_binding, { ciphertext }) => Uint8Array.from(ciphertext),
};
