import { epochMs } from "../machine.ts";
import type { Network } from "../network.ts";
import type { Random } from "../random.ts";
import { LuaMachine } from "../redis/lua-machine.ts";
import type { Scheduler } from "../scheduler.ts";
import { type Copy, Member } from "./member.ts";
import { downAfterMs, Sentinel } from "./sentinel.ts";
import type { Server } from "./server.ts";
import { UseChecker } from "./store-use.ts";

/** Runs the scripts of all groups. */
export const lua = await LuaMachine.create();

const pollMs = 250;
const sentinelCount = 3;
const quorum = 2;

/** What surrounds a group. */
export interface GroupParts {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly random: Random;
  /** What really runs in place of a script: a planted fault. */
  readonly edited?: ((source: string) => string) | undefined;
  /** Told what a script broke that must hold after each one. */
  readonly broken?: ((what: string) => void) | undefined;
  /** How many replicas the nodes' configuration names, which each change must have. */
  readonly leastReplicas?: number | undefined;
  /** Something else than Sentinel replaces the primary: nodes know one address, which leads to the primary. */
  readonly external?: boolean | undefined;
}

/** One region's Redis: a primary, its replicas, and three Sentinels where there are replicas. */
export class RedisGroup {
  readonly region: string;
  readonly members: readonly Member[];
  readonly sentinels: readonly Sentinel[];
  readonly used: UseChecker;
  readonly #leastReplicas: number;
  readonly #external: boolean;
  readonly #scheduler: Scheduler;
  readonly #network: Network;
  readonly #random: Random;
  #primary: Member;
  readonly #named = new Set<Member>();
  #epoch = 0;
  /** A failover that failed is tried again after this time. */
  #notBeforeMs = 0;
  /** Member → since when it does not follow the primary, although it could. */
  readonly #pretendsMs = new Map<Member, number>();
  /** How often all data was lost or replaced by an old copy: data of only this store may be gone. */
  losses = 0;
  promotions = 0;
  /** When its data were last lost or replaced. */
  lostMs = Number.NEGATIVE_INFINITY;
  /** Told of each promotion. */
  promoted: ((name: string) => void) | undefined;

  constructor(region: string, replicas: number, parts: GroupParts, label = "redis") {
    const { scheduler, network, random, edited, broken } = parts;
    this.region = region;
    this.#leastReplicas = parts.leastReplicas ?? replicas;
    this.#external = parts.external === true && replicas > 0;
    this.#scheduler = scheduler;
    this.#network = network;
    this.#random = random;
    const open = (from: string, to: string): boolean => network.open(from, to);
    const neighbours = {
      open,
      copied: (from: string, to: string) =>
        network.watch?.({ from, to, kind: "copy", sentMs: scheduler.nowMs, lost: false }),
      named: (replica: Member) => void this.#named.add(replica),
    };
    this.members = Array.from(
      { length: replicas + 1 },
      (_, at) =>
        new Member({
          scheduler,
          random: random.fork(),
          lua,
          wallMs: () => epochMs + scheduler.nowMs,
          name: `${region}:${label}${at}`,
          address: `${region}-${label}${at}:6379`,
          neighbours,
          edited,
          broken,
        }),
    );
    // Nodes wait for those that are configured, and for those that the primary has named since the store has its data.
    const isKnown = (replica: Member) => this.#leastReplicas > 0 || this.#named.has(replica);
    this.used = new UseChecker(this.members, () => scheduler.nowMs, isKnown);
    this.#primary = this.member(0);
    for (const replica of this.members.slice(1)) replica.follow(this.#primary);
    this.sentinels = Array.from(
      { length: replicas === 0 ? 0 : sentinelCount },
      (_, at) =>
        new Sentinel(
          {
            scheduler,
            name: `${region}:${label === "redis" ? "" : label}sentinel${at}`,
            address: `${region}-${label}-sentinel${at}:26379`,
            members: this.members,
            quorum,
            sentinels: sentinelCount,
            open,
          },
          this.#primary,
        ),
    );
    if (this.sentinels.length > 0) this.#watch();
  }

  /** What a node's configuration says of the store. */
  get settings() {
    const replicas = this.#leastReplicas;
    if (this.#external) return { address: this.#name, externalFailover: true, replicas };
    return this.sentinels.length === 0
      ? { address: this.member(0).address, replicas }
      : { sentinels: this.sentinels.map(({ address }) => address), name: "holdfast", replicas };
  }

  /** The name of the store, where nodes know no other. */
  get #name(): string {
    return `${this.region}-redis:6379`;
  }

  member(at: number): Member {
    const found = this.members[at];
    if (found === undefined) throw new RangeError(`${this.region} has no Redis ${at}`);
    return found;
  }

  /** The member or Sentinel at an address. */
  server(address: string): Server | undefined {
    if (address === this.#name) return this.#namedByOne();
    return [...this.members, ...this.sentinels].find((each) => each.address === address);
  }

  /** Any of them says where the name leads: they agree only after a while. */
  #namedByOne(): Member | undefined {
    return this.sentinels[this.#random.below(this.sentinels.length)]?.named;
  }

  /** The member at an address. */
  readonly memberAt = (address: string): Member | undefined =>
    this.members.find((each) => each.address === address);

  /** The primary: the member that was promoted last. */
  get primary(): Member {
    return this.#primary;
  }

  /** Restarts all members with other data: an operator's old copy, or none. */
  replaceData(copy: Copy): void {
    this.#noteLoss();
    const primary = this.#primary;
    for (const member of this.members) if (member.state !== "down") member.kill(false);
    primary.restore(copy);
    for (const member of this.members) {
      if (member === primary) continue;
      member.restart();
      member.follow(primary);
    }
  }

  /** An operator deletes all data while the processes run. */
  flush(): void {
    this.#noteLoss();
    const { redis } = this.#primary;
    this.#primary.execute(redis.connect(), ["FLUSHALL"]);
  }

  #noteLoss(): void {
    this.losses += 1;
    this.lostMs = this.#scheduler.nowMs;
    this.#named.clear();
  }

  #watch(): void {
    const tick = (): void => {
      for (const sentinel of this.sentinels) sentinel.ping();
      this.#agree();
      this.#failOver();
      for (const member of this.members) this.#lead(member);
      this.#scheduler.after(pollMs, tick);
    };
    this.#scheduler.after(pollMs, tick);
  }

  #meet(one: Sentinel, other: Sentinel): boolean {
    const network = this.#network;
    return (
      one === other || (network.open(one.name, other.name) && network.open(other.name, one.name))
    );
  }

  /** Tells each Sentinel of the latest failover that one which it reaches knows. */
  #agree(): void {
    for (const sentinel of this.sentinels) {
      for (const other of this.sentinels) {
        const later = other.epoch > sentinel.epoch && this.#meet(sentinel, other);
        if (later) sentinel.take(other.named, other.epoch);
      }
    }
  }

  /** A Sentinel that a majority elects makes a replica the primary, if as many as the quorum call the primary down. */
  #failOver(): void {
    if (this.#scheduler.nowMs < this.#notBeforeMs) return;
    const down = (sentinel: Sentinel): boolean =>
      sentinel.silentMs > downAfterMs || sentinel.named.role !== "primary";
    for (const sentinel of this.sentinels) {
      if (!down(sentinel)) continue;
      const met = this.sentinels.filter((other) => this.#meet(sentinel, other));
      const votes = met.filter((other) => other.epoch === sentinel.epoch && down(other));
      if (votes.length < quorum || met.length * 2 <= sentinelCount) continue;
      this.#notBeforeMs = this.#scheduler.nowMs + this.#random.between(250, 1_500);
      this.#promote(sentinel);
      return;
    }
  }

  #promote(by: Sentinel): void {
    const candidates = this.members.filter(
      (member) => member !== by.named && member.role === "replica" && by.hears(member),
    );
    const [best] = candidates.toSorted((one, other) => other.offset - one.offset);
    if (best === undefined) return;
    best.promote();
    this.promotions += 1;
    this.#epoch += 1;
    this.#primary = best;
    by.take(best, this.#epoch);
    this.#agree();
    this.promoted?.(best.name);
  }

  /** Makes a member follow the primary after a time, if it does not. */
  #lead(member: Member): void {
    const primary = this.#primary;
    if (member === primary) return;
    if (member.source === primary && member.replicationId === primary.replicationId) {
      member.pull();
      return;
    }
    const hears = this.sentinels.some(
      (sentinel) => sentinel.named === primary && sentinel.hears(member),
    );
    if (!hears || primary.state !== "up" || !this.#network.open(primary.name, member.name)) {
      this.#pretendsMs.delete(member);
      return;
    }
    const since = this.#pretendsMs.get(member) ?? this.#scheduler.nowMs;
    this.#pretendsMs.set(member, since);
    if (this.#scheduler.nowMs - since < this.#random.between(500, 6_000)) return;
    this.#pretendsMs.delete(member);
    member.follow(primary);
  }
}
