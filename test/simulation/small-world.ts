import {
  type Ids,
  type ManagedObject,
  partitionOf,
  StoreUnavailable,
  Writer,
} from "@holdfast/engine";
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
import { Tables } from "./database.ts";
import { type Flaw, flawsOf } from "./flaws.ts";
import { Gate, GateKeeper, gateTimers, shortHash } from "./gate.ts";
import { type Acknowledged, rankOf } from "./ledger.ts";
import { keyRing } from "./node.ts";
import { Random } from "./random.ts";
import { settled } from "./scheduler.ts";
import { initialise, write } from "./scripts.ts";
import { SimStore } from "./sim-store.ts";

type RegionName = "a" | "b";

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
};

/** Two regions: a key is destroyed, activated, read and resolved, with a cut, in any order. */
export class SmallWorld {
  readonly gate = new Gate();
  readonly checker = new Checker(["a", "b"]);
  readonly #cells: Readonly<Record<RegionName, Map<string, unknown>>> = {
    a: new Map(),
    b: new Map(),
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
    for (const [region, cells] of Object.entries(this.#cells)) {
      initialise(new Tables(cells), `store of ${region}`, [instance]);
    }
  }

  /** Makes a key as a client does. */
  async make(): Promise<ManagedObject> {
    await ask(this.#node("maker", "a").client, { kind: "create" });
    const [row] = new Tables(this.#cells.a).rows(partitionOf(instance));
    if (row === undefined) throw new Error("no key was made");
    return row.object;
  }

  /** Gives both regions the key, and starts all actors. */
  async begin(plan: Plan, created: ManagedObject): Promise<void> {
    const id = created.uniqueIdentifier;
    this.#id = id;
    this.#slow = plan.slow;
    for (const cells of Object.values(this.#cells)) write(new Tables(cells), created, true);
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
  state(): string {
    const stores = (["a", "b"] as const).map((region) => {
      const tables = new Tables(this.#cells[region]);
      const tags = tables.rows(partitionOf(instance)).map(({ tag }) => tag);
      return [...tags, ...tables.holds().map(({ operation }) => operation)].join("+");
    });
    return shortHash(
      `${stores.join("/")} ${this.#cut} ${this.gate.state()} ${this.#answers.join("|")}`,
    );
  }

  /** Checks what must always be true. */
  inspect(): void {
    const [a, b] = (["a", "b"] as const).map(
      (region) => new Tables(this.#cells[region]).row(instance, this.#id)?.object,
    );
    if (a === undefined || b === undefined) throw new Error("the key is gone");
    this.checker.inspect("a", a);
    this.checker.inspect("b", b);
    const both = join(a, b);
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
        this.checker.acknowledge(this.#acknowledged(after, region), before);
      }
    } catch (error) {
      this.failure ??= error;
    }
  }

  #acknowledged(object: Acknowledged["object"], region: RegionName): Acknowledged {
    const others = (["a", "b"] as const).filter((name) => {
      const record = new Tables(this.#cells[name]).row(instance, this.#id)?.object;
      return record !== undefined && rankOf(record) >= rankOf(object);
    });
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
    const parts = { store, locks, keyRing, clock, ids, observe, region, writer };
    return { ...here, peer, client: { ...parts, tried: () => undefined } };
  }

  get #flaws() {
    return flawsOf(this.#flaw);
  }

  #side(actor: string, region: RegionName, peer: Peer) {
    const background = () => this.#background;
    const endlessMs = this.#slow ? undefined : pushTimeoutMs;
    const timers = gateTimers(this.gate, actor, background, endlessMs);
    const random = new Random(seedOf(actor));
    const ids: Ids = {
      uuid: () => random.uuid(),
      randomBytes: (length) => random.bytes(length),
    };
    const parts = { flaws: this.#flaws.store, background };
    const keeper = new GateKeeper(this.gate, actor, region, this.#cells[region], parts);
    const own = new SimStore(keeper, this.#flaws.numbers, { partitions: 1 });
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
    });
  }
}

interface SmallNode {
  readonly own: SimStore;
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
    hello: () => new Promise(() => undefined),
  };
  return peer as unknown as Peer;
}

function seedOf(actor: string): number {
  return Number.parseInt(shortHash(actor).slice(0, 8), 16);
}
