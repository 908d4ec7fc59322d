import { freePort, until } from "@holdfast/testing";
import type { Authority } from "@holdfast/testing/pki";
import { NodeProcess } from "./node-process.ts";
import { RedisServer } from "./redis.ts";
import type { RegionOptions } from "./region.ts";
import { createPeerAuthority, createTenancy, layRegion, type Region } from "./region.ts";
import { Relays } from "./relays.ts";

/** The regions' names, in the order of agreed operations. */
export const regionNames = ["a", "b"] as const;
export type RegionName = (typeof regionNames)[number];

/** The options of a test's two regions. */
export interface TwoRegionsOptions extends Omit<RegionOptions, "name" | "tenancy" | "peer"> {
  /** Delay each way between the regions. */
  readonly wanMs?: number;
  /** Settings of only one region, which override those of both. */
  readonly only?: Readonly<Partial<Record<RegionName, RegionOptions["settings"]>>>;
  /** Does not start the nodes. */
  readonly unstarted?: boolean;
}

/** The direction: connections that one region's nodes open, or both. */
export type Way = "a→b" | "b→a" | "both";

/**
 * Two regions of real processes. Their nodes reach each other only through relays, one in front of each node, which
 * add a delay and can be cut.
 */
export class TwoRegions implements AsyncDisposable {
  readonly a: Region;
  readonly b: Region;
  readonly relays: Relays;
  /** The authority that issued the regions' certificates. */
  readonly peerAuthority: Authority;
  readonly #links: Readonly<Record<RegionName, readonly number[]>>;
  readonly #resources: AsyncDisposableStack;
  #wanMs: number;
  readonly #cut = { "a→b": false, "b→a": false };

  constructor(parts: {
    readonly a: Region;
    readonly b: Region;
    readonly relays: Relays;
    readonly peerAuthority: Authority;
    /** By region: the relays in front of its nodes. */
    readonly links: Readonly<Record<RegionName, readonly number[]>>;
    readonly wanMs: number;
    readonly resources: AsyncDisposableStack;
  }) {
    this.a = parts.a;
    this.b = parts.b;
    this.relays = parts.relays;
    this.peerAuthority = parts.peerAuthority;
    this.#links = parts.links;
    this.#wanMs = parts.wanMs;
    this.#resources = parts.resources;
  }

  get regions(): readonly [Region, Region] {
    return [this.a, this.b];
  }

  /** All nodes, alternating between the regions, as in vCenter's list. */
  get nodes(): readonly NodeProcess[] {
    const count = Math.max(this.a.nodes.length, this.b.nodes.length);
    return Array.from({ length: count }, (_, at) => [this.a.nodes[at], this.b.nodes[at]])
      .flat()
      .filter((node) => node !== undefined);
  }

  region(name: RegionName): Region {
    return name === "a" ? this.a : this.b;
  }

  /** The region of a node. */
  regionOf(node: NodeProcess): Region {
    return this.a.nodes.includes(node) ? this.a : this.b;
  }

  /** A node by its name. */
  node(name: string): NodeProcess {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`no node ${name}`);
    return found;
  }

  /** `host:port` of all nodes for clients, alternating between the regions. */
  get endpoints(): readonly string[] {
    return this.nodes.map((node) => `${node.host}:${node.kmip}`);
  }

  /** Cuts the line between the regions without an error; data waits until `heal`. */
  async cut(way: Way = "both"): Promise<void> {
    if (way !== "b→a") this.#cut["a→b"] = true;
    if (way !== "a→b") this.#cut["b→a"] = true;
    await this.#apply();
  }

  /** Ends the cut: what was sent meanwhile arrives. */
  async heal(): Promise<void> {
    this.#cut["a→b"] = false;
    this.#cut["b→a"] = false;
    await this.#apply();
  }

  /** Ends every connection between the regions. */
  async reset(): Promise<void> {
    await this.relays.reset([...this.#links.a, ...this.#links.b]);
  }

  /** Changes the delay each way. */
  async delay(wanMs: number): Promise<void> {
    this.#wanMs = wanMs;
    await this.#apply();
  }

  /** kill -9 of `a1` (a node), `redis-a` (a primary), `lock-a` (lock masters) or `a` (a region). */
  async kill(name: string): Promise<void> {
    await Promise.all(partsOf(this, name).map((part) => part.kill()));
  }

  /** Freezes with SIGSTOP. */
  freeze(name: string): void {
    for (const part of partsOf(this, name)) part.signal("SIGSTOP");
  }

  /** Thaws with SIGCONT. */
  thaw(name: string): void {
    for (const part of partsOf(this, name)) part.signal("SIGCONT");
  }

  /** Restarts what was killed, with its data, and waits until it answers. */
  async restart(name: string): Promise<void> {
    const parts = partsOf(this, name);
    const servers = parts.filter((part) => part instanceof RedisServer);
    await Promise.all(servers.map((server) => server.restart()));
    const nodes = parts.filter((part) => part instanceof NodeProcess);
    await Promise.all(nodes.map((node) => node.start()));
  }

  /**
   * Has every node read its files again, and waits until it has. Only a signal has the instances read, and they come
   * last; a node reads its certificates by itself too, perhaps a moment before this call.
   */
  async readFiles(): Promise<void> {
    const before = this.nodes.map((node) => node.logText().length);
    for (const node of this.nodes) node.signal("SIGHUP");
    await until("every node has read its files", () =>
      this.nodes.every((node, at) =>
        node.logText().slice(before[at]).includes('"instances reloaded"'),
      ),
    );
  }

  /** Waits until every node of both regions is ready. */
  async ready(withinMs = 300_000): Promise<void> {
    const ready = async () =>
      (await Promise.all(this.nodes.map((node) => node.ready()))).every(Boolean);
    await until("every node ready", ready, withinMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }

  async #apply(): Promise<void> {
    const delayMs = this.#wanMs;
    const state = (cut: boolean) => ({ delayMs, cut: { forth: cut, back: cut } });
    await this.relays.set(this.#links.b, state(this.#cut["a→b"]));
    await this.relays.set(this.#links.a, state(this.#cut["b→a"]));
  }
}

/** The processes of a name. */
function partsOf(both: TwoRegions, name: string): readonly (NodeProcess | RedisServer)[] {
  const [, kind, regionName, place] = /^(?:(redis|lock)-)?([ab])(\d*)$/.exec(name) ?? [];
  if (regionName !== "a" && regionName !== "b") throw new Error(`no part ${name}`);
  const { redis, lockMasters, nodes } = both.region(regionName);
  if (kind === "redis") return [redis.primary];
  if (kind === "lock") return lockMasters;
  if (place !== "") return [both.node(name)];
  return [...nodes, ...redis.sentinels, redis.primary, ...redis.replicas, ...lockMasters];
}

/** Starts two regions that know each other. */
export async function startTwoRegions(options: TwoRegionsOptions): Promise<TwoRegions> {
  const { nodes: count = 2, wanMs = 0, only = {}, unstarted = false, ...rest } = options;
  await using stack = new AsyncDisposableStack();
  const relays = stack.use(new Relays());
  const authority = await createPeerAuthority(options.days);
  const tenancy = await createTenancy(options.instances, options.days);
  const ports = { a: await freePorts(count), b: await freePorts(count) };
  const links = { a: await openAll(relays, ports.a), b: await openAll(relays, ports.b) };
  const lay = async (name: RegionName, other: RegionName) => {
    const addresses = links[other].map((port) => `127.0.0.1:${port}`);
    return stack.use(
      await layRegion({
        lockMasters: 1,
        ...rest,
        name,
        nodes: count,
        tenancy,
        peer: { region: other, addresses, ports: ports[name], authority },
        settings: merged(options.settings, only[name]),
      }),
    );
  };
  const [a, b] = await all([lay("a", "b"), lay("b", "a")]);
  const resources = stack.move();
  const both = new TwoRegions({
    ...{ a, b, relays, links, wanMs, resources },
    peerAuthority: authority,
  });
  await using guard = new AsyncDisposableStack();
  guard.use(both);
  await both.delay(wanMs);
  if (!unstarted) await Promise.all(both.nodes.map((node) => node.start()));
  guard.move();
  return both;
}

/** Waits for both even if one fails, so that the result of the other can be ended. */
async function all<Part>(work: readonly [Promise<Part>, Promise<Part>]): Promise<[Part, Part]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

function freePorts(count: number): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, () => freePort()));
}

function openAll(relays: Relays, ports: readonly number[]): Promise<number[]> {
  return Promise.all(ports.map((port) => relays.open(port)));
}

/** Merges settings group by group; the second ones override the first. */
function merged(
  first: RegionOptions["settings"] = {},
  second: RegionOptions["settings"] = {},
): NonNullable<RegionOptions["settings"]> {
  const groups = [...new Set([...Object.keys(first), ...Object.keys(second)])];
  return Object.fromEntries(groups.map((group) => [group, { ...first[group], ...second[group] }]));
}
