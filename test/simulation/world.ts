import type { Change, Event, ManagedObject } from "@holdfast/engine";
import type { DeletionStep } from "../../packages/server/src/management/instances/deletion.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import { Archive } from "./archive.ts";
import { Checker, type Observation, Violation } from "./checker.ts";
import {
  actions,
  ask,
  changesInBatches,
  instance,
  type Reply,
  type Wish,
  wishText,
} from "./client.ts";
import type { Dates } from "./end-checks.ts";
import { type Flaw, type Flaws, flawsOf } from "./flaws.ts";
import { FormatChecker } from "./format-checker.ts";
import { InnerChecks } from "./inner-checks.ts";
import { requireWhole } from "./kek-checker.ts";
import { Durability } from "./ledger.ts";
import { LevelChecker } from "./level-checker.ts";
import { lookAt, requiredFormat } from "./look.ts";
import { Machine } from "./machine.ts";
import { brokenIn, Network } from "./network.ts";
import { type NodeListener, SimNode } from "./node.ts";
import { OperationLog } from "./operation-log.ts";
import { operatorOf } from "./operator.ts";
import type { Order } from "./order.ts";
import type { Plan } from "./plan.ts";
import { idsOf, Random } from "./random.ts";
import { reaches, silentMs } from "./reach.ts";
import type { Retirement } from "./retirement.ts";
import { Scheduler } from "./scheduler.ts";
import { SimLock } from "./sim-lock.ts";
import type { Call } from "./sim-peer.ts";
import { initialised } from "./store/operator.ts";
import { type GroupParts, RedisGroup } from "./store/redis-group.ts";
import { StoresChecker } from "./stores-checker.ts";
import { storyEventOf } from "./story/product-events.ts";
import { Recorder } from "./story/recorder.ts";
import { Trace } from "./trace.ts";
import type { Upgrade } from "./upgrade.ts";
import { WatchedRoot } from "./watched-root.ts";

/** The options of a world: what the plan of its history says of it, and more. */
export interface WorldOptions
  extends Pick<
    Plan,
    "seed" | "farMs" | "replicas" | "leastReplicas" | "external" | "required" | "audited"
  > {
  readonly flaw?: Flaw | undefined;
  /** Writes down what happens, for a story. */
  readonly recorded?: boolean | undefined;
  /** The order for which nodes manage instances; in "keys restored" they withhold what is destroyed with a delay. */
  readonly managed?: string | undefined;
}

const regionNames = ["a", "b"] as const;

/** A request that is under way. */
interface Asked {
  readonly id: string;
  readonly searches: boolean;
  /** Regions whose stores answered it. */
  readonly regions: Set<string>;
}

/** Two regions of two nodes, each region with its Redis, and the checks on them. */
export class World implements NodeListener {
  readonly scheduler = new Scheduler();
  readonly random: Random;
  readonly network: Network;
  readonly locks = new Map<string, SimLock>();
  readonly groups: readonly RedisGroup[];
  readonly nodes: readonly SimNode[];
  readonly checker = new Checker(regionNames);
  readonly operations = new OperationLog(regionNames, this.checker.damaged);
  readonly durability = new Durability();
  /** Region → what wraps its key-encryption keys and storage keys. */
  readonly roots = new Map<string, WatchedRoot>();
  /** Region → where it ships audit events; empty if it does not. */
  readonly archives = new Map<string, Archive>();
  /** Objects with planned dates. */
  readonly dated = new Map<string, Dates>();
  /** Object and action → how many acknowledged changes need an audit event. */
  readonly evidence = new Map<string, number>();
  readonly trace: Trace;
  readonly recorder: Recorder | undefined;
  /** The failure that ended the history. */
  failure: unknown;
  /** Open requests, and the regions whose stores were read for each. */
  readonly #requests = new Set<Asked>();
  readonly #acknowledgements = new Acknowledgements(this);
  readonly #required: boolean;
  /** How many records a fault has damaged. */
  damaged = 0;
  /** Regions whose store was replaced by an older copy, and records that were written without a version of their own. */
  readonly older = new Set<string>();
  /** Records of which a node remembers a later state than its store has → the regions of these nodes. */
  readonly olderRecords = new Map<string, Set<string>>();
  readonly formats: FormatChecker;
  readonly stores: StoresChecker;
  readonly levels = new LevelChecker(this);
  readonly inner = new InnerChecks(this);
  readonly flaws: Flaws;
  /** Hear what nodes ask the other region. */
  readonly heeds = new Set<(call: Call) => void>();
  /** Whether the history is over but for the checks. */
  isSettled = false;
  /** What operators do; each at most once. */
  retirement: Retirement | undefined;
  upgrade: Upgrade | undefined;
  order: Order | undefined;
  /** Another Redis, which an operator has made for a region. */
  spare: RedisGroup | undefined;
  readonly pushes = { shared: 0, alone: 0 };

  constructor(options: WorldOptions) {
    const { seed, flaw, farMs, replicas, leastReplicas, external, required, recorded } = options;
    this.#required = required;
    this.random = new Random(seed);
    const { scheduler } = this;
    this.trace = new Trace(() => scheduler.nowMs);
    const rules = { farMs, loss: 0, late: 0.01, ...brokenIn(seed) };
    this.network = new Network(scheduler, this.random.fork(), rules);
    const { network } = this;
    const flaws = flawsOf(flaw);
    this.flaws = flaws;
    this.groups = regionNames.map(
      (region) =>
        new RedisGroup(region, replicas, {
          ...this.#groupParts(this.random),
          leastReplicas,
          external,
        }),
    );
    if (options.audited) {
      const failed = (error: Violation): void => this.fail(error);
      for (const region of regionNames) {
        this.archives.set(region, new Archive(this.random.fork(), failed));
      }
    }
    for (const region of regionNames) {
      const ids = idsOf(this.random.fork());
      this.roots.set(region, new WatchedRoot(ids, `root of ${region}`));
    }
    this.nodes = this.groups.flatMap((group) => {
      const lock = new SimLock(group.region, network);
      this.locks.set(group.region, lock);
      return [1, 2].map(
        (number) =>
          new SimNode({
            machine: new Machine(`${group.region}${number}`, scheduler, this.random.fork()),
            region: group.region,
            group,
            network,
            lock: (life) => lock.of(life),
            others: () => this.#othersOf(group.region),
            flaws,
            acknowledgement: required ? "required" : "preferred",
            root: this.rootOf(group.region),
            archive: this.archives.get(group.region),
            managed: options.managed !== undefined,
            withholds: options.managed === "keys restored",
            undoes: changesInBatches(seed),
            listener: this,
          }),
      );
    });
    const nowMs = () => scheduler.nowMs;
    this.formats = new FormatChecker(this.nodes, nowMs);
    this.stores = new StoresChecker(this.nodes, nowMs, (error) => this.fail(error));
    this.recorder = recorded === true ? new Recorder(this) : undefined;
    for (const group of this.groups) {
      const { region } = group;
      group.promoted = (process) => this.recorder?.tell({ kind: "promotion", region, process });
      this.initialise(group);
    }
    for (const node of this.nodes) node.start();
  }

  durable(region: string, objects: readonly ManagedObject[]): void {
    for (const object of objects) this.durability.note(region, object);
  }

  read(region: string, ids: readonly string[]): void {
    for (const request of this.#requests) {
      if (ids.includes(request.id)) request.regions.add(region);
    }
  }

  searched(region: string): void {
    for (const request of this.#requests) if (request.searches) request.regions.add(region);
  }

  tried(change: Change): void {
    this.checker.tried(change);
  }

  stands(region: string, life: object): void {
    this.checker.stands(region, life);
  }

  led(region: string, store: string | undefined, epoch: number, life: object): void {
    this.guard(() => this.checker.led(region, `${store} ${epoch}`, life));
  }

  agreed(region: string, format: number): void {
    this.trace.line(region, `requires format ${format}`);
    this.guard(() => this.formats.agreed(region, format));
  }

  used(node: SimNode): void {
    this.guard(() => this.formats.used(node));
  }

  called(call: Call): void {
    for (const heed of this.heeds) heed(call);
  }

  deletes(node: SimNode, step: DeletionStep): void {
    this.order?.deletes?.(node, step);
  }

  event(node: string, event: Event): void {
    if (event.type === "regionStores") this.stores.reported(node, event.region, event.stores);
    if (event.type === "olderRecord") {
      const [region, id] = [node.charAt(0), event.uniqueIdentifier];
      this.olderRecords.set(id, (this.olderRecords.get(id) ?? new Set()).add(region));
      this.checker.damaged.damage(region, id, this.scheduler.nowMs);
      const what = `${node} holds an older record ${id} against a healthy store`;
      if (!this.older.has(region) && !this.older.has(id)) this.fail(new Violation(what));
    }
    if (event.type === "storeDoubt" && event.doubted && !this.older.has(node.charAt(0))) {
      this.fail(new Violation(`${node} doubts a healthy store: ${event.reason}`));
    }
    if (event.type === "push") this.pushes[event.result] += event.records;
    this.guard(() => this.levels.event(node, event));
    const [region = ""] = node;
    if (event.type === "serving") {
      this.formats.serves(node, event.from === "local" && event.writes);
      const isLevel = event.reason === "own store" && !this.checker.doubts(region);
      if (isLevel) this.#level(region);
    }
    this.trace.event(node, event);
    const told = storyEventOf(node, event);
    if (told !== undefined) this.recorder?.tell(told);
  }

  /** A region's store has all that the other region has. */
  #level(region: string): void {
    this.checker.level(region, this.scheduler.nowMs);
    this.operations.level(region, this.scheduler.nowMs);
  }

  /** Both regions have the same again, and every node uses its region's store. */
  settled(): void {
    this.isSettled = true;
    const { nowMs } = this.scheduler;
    for (const { region } of this.groups) {
      if (!this.checker.doubts(region)) continue;
      this.checker.trust(region, nowMs);
      this.#level(region);
      // What only the other Redis had is gone with it.
      this.operations.lost(region, nowMs - 2);
      this.operations.level(region, nowMs);
    }
    // A moment before the last look, so that it does not overlap with it.
    this.operations.converged(nowMs - 1);
  }

  readonly crashed = (error: unknown): void => {
    this.fail(error);
  };

  /** Ends the history. */
  fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.recorder?.failed(error);
  }

  /** Runs a check; an error that it throws ends the history. */
  guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Resolves after some time. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.scheduler.after(ms, () => {
        this.scheduler.stir();
        resolve();
      });
    });
  }

  /** What operators have not ended yet. */
  get open(): string | undefined {
    return this.retirement?.open ?? this.upgrade?.open ?? this.order?.open;
  }

  /** Another empty Redis for a region. */
  addSpare(region: string, random: Random): RedisGroup {
    const parts = this.#groupParts(random);
    const spare = new RedisGroup(region, random.below(2), parts, "spare");
    this.spare = spare;
    this.initialise(spare);
    return spare;
  }

  #groupParts(random: Random): GroupParts {
    const { scheduler, network, flaws } = this;
    const broken = (what: string): void => this.fail(new Violation(what));
    return { scheduler, network, random: random.fork(), edited: flaws.edited, broken };
  }

  /** An operator marks an empty Redis as a region's store. */
  initialise(group: RedisGroup): void {
    const { scheduler, network } = this;
    const machine = new Machine(operatorOf(group.region), scheduler, this.random.fork());
    // Of a release that every node's fits, and that the store takes.
    const formats = () => this.nodes.map(({ setup }) => setup.format);
    const format = (): number => Math.max(requiredFormat(group.primary), Math.min(...formats()));
    const place = { group, machine, network, root: this.rootOf(group.region) };
    initialised(place, format).catch((error: unknown) => this.crashed(error));
  }

  /** Runs something in a node's process, for at most so long; a process that ends meanwhile answers nothing. */
  within<Value>(node: SimNode, work: () => Promise<Value>, ms: number): Promise<Value | undefined> {
    return new Promise((resolve) => {
      const { life } = node.machine;
      const end = (error: unknown): void => {
        this.crashed(error);
        resolve(undefined);
      };
      life?.run(() => void work().then((value) => life.run(() => resolve(value)), end));
      this.scheduler.after(ms, () => {
        this.scheduler.stir();
        resolve(undefined);
      });
    });
  }

  rootOf(region: string): WatchedRoot {
    const found = this.roots.get(region);
    if (found === undefined) throw new RangeError(`no region ${region}`);
    return found;
  }

  group(region: string): RedisGroup {
    const found = this.groups.find((each) => each.region === region);
    if (found === undefined) throw new RangeError(`no region ${region}`);
    return found;
  }

  /** A record in a region's named primary now, covered or not. */
  readonly record = (region: string, id: string): ManagedObject | undefined =>
    lookAt(this.group(region).primary, instance, id)?.object;

  /** A record that no fail-over of its region can take back, according to its store. */
  covered(region: string, id: string): ManagedObject | undefined {
    const found = lookAt(this.group(region).primary, instance, id);
    return found?.covered === true ? found.object : undefined;
  }

  /** Sends a client's request to a node, and checks the answer. */
  async request(node: SimNode, wish: Wish): Promise<Reply | undefined> {
    const { client } = node;
    const { life } = node.machine;
    if (client === undefined || life === undefined || !node.reachable) return undefined;
    const askedMs = this.scheduler.nowMs;
    const reached = reaches(this, node);
    const id = "id" in wish ? wish.id : "";
    const asked: Asked = { id, searches: wish.kind === "locate", regions: new Set<string>() };
    this.#requests.add(asked);
    const reply = await this.within(node, () => ask(client, wish), clientTimeoutMs);
    this.#requests.delete(asked);
    this.#tell(node, wish, reply, askedMs);
    if (reply === undefined) {
      this.#note(node, wish, { id: asked.id, askedMs, store: undefined }, undefined);
      this.trace.line(node.machine.name, `${wishText(wish)} → no answer`);
      return undefined;
    }
    // If several stores were read, it is unknown which of them answered.
    const [store, ...others] = asked.regions;
    const seen = { askedMs, store: others.length === 0 ? store : undefined };
    this.trace.line(
      node.machine.name,
      `${wishText(wish)} ${reply.id.slice(0, 8)} → ${JSON.stringify(reply.answer)} (${seen.store})`,
    );
    this.#note(node, wish, { id: reply.id, ...seen }, reply);
    const isQuick = this.scheduler.nowMs - askedMs < silentMs;
    const couldAsk = reached && isQuick && reaches(this, node);
    this.guard(() => this.#check(node, wish, reply, { ...seen, reaches: couldAsk }));
    return reply;
  }

  #tell(node: SimNode, wish: Wish, reply: Reply | undefined, askedMs: number): void {
    const { recorder } = this;
    if (recorder === undefined) return;
    const made = reply?.answer.kind === "done" ? reply.made.at(-1)?.after : undefined;
    const regions = made === undefined ? [] : [...this.#acknowledgements.of(wish, made).regions];
    const key = recorder.nameOf(reply?.id ?? ("id" in wish ? wish.id : ""));
    const text = "text" in wish ? wish.text : undefined;
    const about = { node: node.machine.name, wish: wish.kind, key, text };
    recorder.tell({ kind: "request", ...about, answer: reply?.answer, regions }, askedMs);
  }

  #note(
    node: SimNode,
    wish: Wish,
    asked: { readonly id: string; readonly askedMs: number; readonly store: string | undefined },
    reply: Reply | undefined,
  ): void {
    const answer = reply?.answer;
    const { dates } = wish.kind === "create" ? wish : {};
    if (dates !== undefined && reply !== undefined && reply.id !== "") {
      this.dated.set(reply.id, dates);
    }
    const answeredMs = this.scheduler.nowMs;
    const acknowledged = reply === undefined ? [] : this.#holders(wish, reply, asked.store);
    const { name } = node.machine;
    this.operations.note({ ...asked, node: name, wish, answeredMs, answer, acknowledged });
  }

  /** The regions that have what a client was told to be done. */
  #holders(wish: Wish, { made, rests }: Reply, store: string | undefined): readonly string[] {
    // A date that has come is written before the change that was asked for.
    const change = made.at(-1);
    if (change !== undefined) return [...this.#acknowledgements.of(wish, change.after).regions];
    const isKnown = rests !== undefined && store !== undefined;
    return isKnown ? [...this.#acknowledgements.already(rests, store).regions] : [];
  }

  #check(
    node: SimNode,
    wish: Wish,
    reply: Reply,
    seen: Pick<Observation, "askedMs" | "store" | "reaches">,
  ): void {
    const answeredMs = this.scheduler.nowMs;
    const { answer, id, made, rests } = reply;
    const { name } = node.machine;
    if (answer.kind !== "refused" && this.retirement?.refuses(node) === true) {
      throw new Violation(`${name} of a retired region answered a ${wish.kind}`);
    }
    const text = "text" in wish ? wish.text : undefined;
    const operation = wish.kind;
    this.checker.observe({ ...seen, node: name, operation, id, text, answeredMs, answer });
    if (answer.kind === "done") {
      this.#acknowledge(node, wish, reply, seen.askedMs);
      const { store } = seen;
      // Of nodes that use different stores, it is unknown which of these has it.
      const isKnown = store !== undefined && !this.checker.doubts(store);
      if (made.length === 0 && rests !== undefined && isKnown) {
        this.checker.acknowledge(this.#acknowledgements.already(rests, store), rests);
      }
    }
    for (const { region } of this.groups) {
      const record = this.record(region, id);
      if (record !== undefined) this.checker.inspect(region, record);
    }
  }

  /** What was done for a request counts from now on. */
  #acknowledge(node: SimNode, wish: Wish, { id, made }: Reply, askedMs: number): void {
    for (const { before, after } of made) {
      if (before === undefined) requireWhole(this, after.material?.kekId);
      const change = this.#acknowledgements.of(wish, after);
      if (this.#required && !change.shared && !change.lost && !this.checker.mayBeAlone(askedMs)) {
        throw new Violation(
          `${wish.kind} of ${id} was acknowledged by ${[...change.regions].join("+")} alone`,
        );
      }
      this.checker.acknowledge(change, before);
      this.levels.acknowledged(node, askedMs, change);
    }
    const action = actions[wish.kind];
    if (made.length === 0 || action === undefined) return;
    const key = `${action} ${id}`;
    this.evidence.set(key, (this.evidence.get(key) ?? 0) + 1);
  }

  #othersOf(region: string) {
    return this.groups
      .filter((group) => group.region !== region)
      .map((group) => ({
        region: group.region,
        nodes: this.nodes.filter((node) => node.region === group.region),
      }));
  }
}

/** Shorter than vCenter's timeout, since a history is short. */
const clientTimeoutMs = 6_000;
