import { type Event, type ManagedObject, partitionCount, StoreUnavailable } from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import type { Seals } from "../join/heal.ts";
import { mergeInto } from "../join/merge.ts";
import type { RegionTools } from "../operations/region-operations.ts";
import type { Peer, PeerHello, PeerState, PeerStore } from "../ports/ports.ts";
import { PeerService } from "../store/peer-service.ts";
import { RegionalStore, type RegionalStoreOptions } from "../store/regional-store.ts";
import { TestTime } from "./test-time.ts";

/** The link between two regions, both ways. */
class TestLink {
  readonly #listeners = new Set<() => void>();
  #open = true;
  /** How long a call takes, each way. */
  delayMs = 0;

  get open(): boolean {
    return this.#open;
  }

  set open(open: boolean) {
    this.#open = open;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

type Method = (...given: never[]) => Promise<unknown>;
/** What a test does with a call before it is made; it may throw, or wait. */
type Meddle = (method: string, given: readonly unknown[]) => Promise<void> | void;

/** Another region in the same process, behind a link. */
class TestPeer {
  readonly region: string;
  readonly calls: string[] = [];
  /** Before a call is made, and after it was, with its answer under way. */
  before: Meddle | undefined;
  after: Meddle | undefined;
  readonly peer: Peer;
  /** What one of its nodes answers to a probe. */
  probed: (hello: PeerHello) => void = () => undefined;
  readonly #link: TestLink;
  readonly #time: TestTime;

  constructor(region: string, service: () => PeerStore, link: TestLink, time: TestTime) {
    this.region = region;
    this.#link = link;
    this.#time = time;
    const state = (): PeerState => (link.open ? "up" : "down");
    const own: Partial<Peer> = {
      region,
      state,
      onState: (listener) => link.onChange(() => listener(state(), "link")),
      onHello: (listener) => {
        this.probed = listener;
        return () => undefined;
      },
    };
    this.peer = this.#through(own, () => service(), "");
  }

  /** An object whose every method goes over the link to the one of `target`. */
  #through(own: object, target: () => object, prefix: string): Peer {
    return new Proxy(own, {
      get: (known, name) => {
        const property = String(name);
        if (property in known) return Reflect.get(known, name);
        if (property === "remote") {
          return this.#through({}, () => Reflect.get(target(), "remote"), "remote.");
        }
        return (...given: never[]) => {
          const call = Reflect.get(target(), name) as Method;
          return this.#call(prefix + property, given, () => Reflect.apply(call, target(), given));
        };
      },
    }) as Peer;
  }

  async #call(
    method: string,
    given: readonly unknown[],
    make: () => Promise<unknown>,
  ): Promise<unknown> {
    this.calls.push(method);
    await this.before?.(method, given);
    await this.#cross(method);
    const answer = await make();
    await this.after?.(method, given);
    await this.#cross(method);
    return answer;
  }

  async #cross(method: string): Promise<void> {
    if (this.#link.delayMs > 0) await this.#time.sleep(this.#link.delayMs);
    if (this.#link.open || method === "remote.markServed") return;
    throw new StoreUnavailable("peerUnreachable", `region ${this.region} is cut off`);
  }
}

/** One region of a test. */
export interface TestRegion {
  readonly name: string;
  readonly own: MemoryOwnStore;
  readonly store: RegionalStore;
  /** The other region as this one sees it. */
  readonly other: TestPeer;
  readonly events: Event[];
}

export type TestOptions = Partial<
  Omit<RegionalStoreOptions, "own" | "peers" | "seals" | "timers">
> & {
  readonly seals?: Seals;
};

/** Two regions of one node each, in one process and with a clock of their own. */
export class TestRegions {
  readonly time = new TestTime();
  readonly link = new TestLink();
  readonly a: TestRegion;
  readonly b: TestRegion;
  #ids = 0;

  constructor({ seals, ...options }: TestOptions = {}) {
    const services = new Map<string, PeerStore>();
    const make = (name: string, othersName: string): TestRegion => {
      const own = new MemoryOwnStore({ storeId: `store ${name}`, wallMs: this.time.wallMs });
      const service = (): PeerStore => {
        const found = services.get(othersName);
        if (found === undefined) throw new Error("too early");
        return found;
      };
      const other = new TestPeer(othersName, service, this.link, this.time);
      const events: Event[] = [];
      const shared = { timers: this.time, observe: (event: Event) => events.push(event) };
      const store = new RegionalStore({
        region: name,
        own,
        peers: [other.peer],
        ids: { uuid: () => this.id(), randomBytes: (length) => new Uint8Array(length) },
        seals: () => seals,
        ...shared,
        ...options,
      });
      const kek = async () => new Uint8Array(32);
      const parts = {
        region: name,
        asking: othersName,
        own,
        store,
        kek,
        ...shared,
        ...(seals && { seals }),
        ...(options.mayJoin && { mayJoin: options.mayJoin }),
      };
      services.set(name, new PeerService(parts));
      return { name, own, store, other, events };
    };
    this.a = make("a", "b");
    this.b = make("b", "a");
  }

  /** Two regions that serve from their own stores, which are level. */
  static async level(options: TestOptions = {}): Promise<TestRegions> {
    const regions = new TestRegions(options);
    await regions.time.pass(200);
    await regions.bothLevel();
    return regions;
  }

  id(): string {
    this.#ids += 1;
    return `00000000-0000-4000-8000-${String(this.#ids).padStart(12, "0")}`;
  }

  /** Does what both leaders do: joins all that the other region has, and makes the store level. */
  async bothLevel(): Promise<void> {
    await this.time.until(Promise.all([level(this.a, this.time), level(this.b, this.time)]));
    await this.time.pass(200);
  }

  /** Levels one region. */
  async levelOf(region: TestRegion): Promise<void> {
    await this.time.until(level(region, this.time));
    await this.time.pass(200);
  }

  async close(): Promise<void> {
    await this.time.until(
      Promise.all([this.a.store[Symbol.asyncDispose](), this.b.store[Symbol.asyncDispose]()]),
    );
  }
}

async function level({ own, other, events }: TestRegion, time: TestTime): Promise<void> {
  const epoch = await own.newEpoch();
  const { asked } = await own.levels();
  const { numbers } = await other.peer.position();
  for (let partition = 0; partition <= partitionCount; partition++) {
    if (numbers[partition] === 0) continue;
    const page = await other.peer.changes(partition, 0, 10_000, 1 << 30);
    await mergeInto(own, page.objects, {
      from: other.region,
      timers: time,
      observe: (event) => events.push(event),
    });
  }
  await own.setLevel(asked, epoch);
}

/**
 * Makes a store refuse what needs memory, as a full Redis does; returns a function that makes room.
 */
export function fill(own: MemoryOwnStore): () => void {
  const { commit } = own;
  own.commit = async (...given) => {
    const [, changes] = given;
    if (changes.every(({ kind }) => kind === "update")) return await commit.apply(own, given);
    throw new StoreUnavailable("full", "no room");
  };
  return () => {
    own.commit = commit;
  };
}

/** An object as a region's store has it, bypassing all rules. */
export async function copyOf(
  { own }: TestRegion,
  { instance, uniqueIdentifier }: ManagedObject,
): Promise<ManagedObject | undefined> {
  const [copy] = await own.read(instance, [uniqueIdentifier]);
  return copy?.object;
}

/** What operations on regions need, at a region. */
export function toolsOf(
  { time }: TestRegions,
  { name, own, other, events }: TestRegion,
): RegionTools {
  return {
    region: name,
    own,
    peers: [other.peer],
    timers: time,
    ids: { uuid: () => "", randomBytes: (length) => new Uint8Array(length) },
    observe: (event) => events.push(event),
  };
}
