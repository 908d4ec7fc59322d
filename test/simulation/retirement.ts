import type { Peer } from "@holdfast/regions";
import { RegionRefused, rejoinRegion, retireRegion } from "@holdfast/regions";
import type { SimNode } from "./node.ts";
import { atRegion, isRefusal } from "./operator.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const againMs = 400;
const knownMs = 1_500;
/** How often a node is looked at until it serves. */
const looksMax = 50;

/**
 * Begins the retirement of a region, and returns a function after which it is found again. Undefined if one has begun
 * before, or if a region has a second store, which would not know of it.
 */
export function beginRetirement(
  world: World,
  region: string,
  random: Random,
): (() => void) | undefined {
  if (world.retirement !== undefined || world.spare !== undefined) return undefined;
  const retirement = new Retirement(world, region, random);
  world.retirement = retirement;
  return () => retirement.end();
}

/**
 * A region is lost with all of its nodes; the operator of the other one retires it. Later it comes back, and its
 * operator lets it rejoin. Its endpoints are off until each node has met the other region: `region retire` demands that.
 */
export class Retirement {
  readonly region: string;
  readonly #survivor: string;
  readonly #world: World;
  readonly #random: Random;
  /** `back`: it must refuse every client until its operator lets it rejoin. */
  #phase: "lost" | "back" | "rejoining" | "over" = "lost";
  #isRetired = false;
  /** Whether each node of the other region knows of it as the region comes back. One that is cut off from its Redis may not. */
  #isKnown = false;
  #isFound = false;

  constructor(world: World, region: string, random: Random) {
    const other = world.groups.find((group) => group.region !== region);
    if (other === undefined) throw new RangeError(`no region beside ${region}`);
    this.region = region;
    this.#survivor = other.region;
    this.#world = world;
    this.#random = random;
    const stopsRedis = random.chance(0.5);
    this.#run(stopsRedis).catch((error: unknown) => world.crashed(error));
  }

  /** The region is found again: it comes back once the operator has ended the present command. */
  end(): void {
    this.#isFound = true;
  }

  /** What is not over yet. */
  get open(): string | undefined {
    return this.#phase === "over" ? undefined : `region ${this.region} has not rejoined`;
  }

  /**
   * Whether a node must refuse every client. One that has met a node that does not know may serve until another one
   * answers, as in a cut: not from a level store, since it learns of the retirement with all that the other region has.
   * What it answers as it learns it was asked before.
   */
  refuses({ region, store }: SimNode): boolean {
    if (!this.#isRetired || this.#phase !== "back" || region !== this.region) return false;
    const health = store?.health();
    return this.#isKnown || (health?.level === true && !health.retired);
  }

  async #run(stopsRedis: boolean): Promise<void> {
    const { region } = this;
    const world = this.#world;
    const nodes = world.nodes.filter((node) => node.region === region);
    const { members } = world.group(region);
    for (const node of nodes) {
      node.away = true;
      node.kill();
    }
    if (stopsRedis) for (const member of members) member.kill(false);
    world.checker.retire(region, (id) => world.record(this.#survivor, id));
    world.operations.lost(region, world.scheduler.nowMs);
    await this.#retire();
    if (stopsRedis) for (const member of members) member.restart();
    this.#phase = "back";
    this.#isKnown = world.nodes.every(
      (node) => node.region === region || node.store?.records.isRetired(region) !== false,
    );
    for (const node of nodes) {
      node.away = false;
      node.closed = true;
      node.start();
    }
    await world.sleep(this.#random.between(500, 4_000));
    await this.#rejoin();
    for (const node of nodes) {
      node.closed = false;
      node.reachable = true;
    }
    await this.#lookAtAll(nodes);
    this.#phase = "over";
  }

  /** As soon as its nodes serve from their own store again, they show everything. */
  async #lookAtAll(nodes: readonly SimNode[]): Promise<void> {
    const world = this.#world;
    for (const node of nodes) {
      for (let tries = 0; tries < looksMax && node.store?.serving().from !== "local"; tries += 1) {
        await world.sleep(100);
      }
      const ids = [...world.checker.ids];
      await Promise.all(ids.map((id) => world.request(node, { kind: "look", id })));
    }
  }

  /** Tries until it succeeds or the region is found again. */
  async #retire(): Promise<void> {
    const world = this.#world;
    await world.sleep(this.#random.between(0, 1_000));
    while (!this.#isRetired && !this.#isFound) {
      try {
        await atRegion(world, this.#survivor, this.#random, (tools) =>
          retireRegion(this.region, { endpointsAreOff: true }, tools),
        );
        this.#isRetired = true;
        // All nodes of the region that stays know of it within a second.
        await world.sleep(knownMs);
        world.trace.line("operator", `retired region ${this.region}`);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        world.trace.line("operator", `retire failed: ${error.message}`);
        await world.sleep(againMs);
      }
    }
    while (!this.#isFound) await world.sleep(againMs);
  }

  /** Tries until it succeeds, or there is nothing to do, since an earlier try did it. */
  async #rejoin(): Promise<void> {
    const { region } = this;
    const world = this.#world;
    this.#phase = "rejoining";
    for (;;) {
      const beganMs = world.scheduler.nowMs;
      try {
        await atRegion(world, region, this.#random, ({ peers: [survivor], ...tools }) =>
          rejoinRegion(survivor as Peer, { ...tools, peers: [survivor as Peer] }),
        );
        world.trace.line("operator", `region ${region} has rejoined`);
        world.checker.rejoined(region, beganMs, world.scheduler.nowMs);
        return;
      } catch (error) {
        if (!isRefusal(error)) throw error;
        world.trace.line("operator", `rejoin failed: ${error.message}`);
        if (error instanceof RegionRefused && /nothing to do/.test(error.message)) break;
        await world.sleep(againMs);
      }
    }
    world.checker.rejoined(region, undefined, world.scheduler.nowMs);
  }
}
