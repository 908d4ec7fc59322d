import { isDestroyed, type SealedMaterial, systemInstance } from "@holdfast/engine";
import { judge } from "../linearizability/judge.ts";
import { type Answer, Violation } from "./checker.ts";
import { ask, instance, type Wish } from "./client.ts";
import { overdue, requireEvidence, wrongIn } from "./end-checks.ts";
import { requireWork } from "./end-work.ts";
import { acceptDoubted, type Copies, faults, holdCommit, loseStore } from "./faults.ts";
import type { Flaw } from "./flaws.ts";
import { interrupted } from "./interruption.ts";
import { requireWhole } from "./kek-checker.ts";
import { contentOf, objectsIn, openIn, statusIn } from "./look.ts";
import { epochMs } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { operatorOf } from "./operator.ts";
import { makeOrder } from "./order.ts";
import { type Plan, type PlannedFault, type PlannedLoss, planOf } from "./plan.ts";
import { Random } from "./random.ts";
import type { StoryEvent } from "./story/events.ts";
import type { Step } from "./story/recorder.ts";
import { Wishes } from "./wishes.ts";
import { World } from "./world.ts";

/** The result of a history. */
export interface HistoryResult {
  readonly seed: number;
  /** Why it failed; undefined if there was no violation. */
  readonly failure: unknown;
  /** A hash of everything that happened in it. */
  readonly digest: string;
  readonly lines: readonly string[];
  readonly events: number;
  readonly virtualMs: number;
  /** Fault → how often. */
  readonly faults: ReadonlyMap<string, number>;
  /** Answer of a client → how often. */
  readonly answers: ReadonlyMap<string, number>;
  readonly acknowledged: { readonly shared: number; readonly alone: number };
  readonly promotions: number;
  /** What the story and the page tell; empty where it was not recorded. */
  readonly steps: readonly Step[];
}

/** By this time everything serves, and the clients begin. */
const startMaxMs = 10_000;
/** The options of a history. */
export interface HistoryOptions {
  readonly flaw?: Flaw | undefined;
  /** The only kind of fault that it has, instead of all kinds. */
  readonly focus?: string | undefined;
  /** Writes down what happens, for a story. */
  readonly recorded?: boolean | undefined;
}

/** Within this time after that, counts and audit trails must be right. */
const rightMaxMs = 40_000;
const askMaxMs = 5_000;
/** Within this time the checks of an order end, which may lose all stores and restore them. */
const orderMaxMs = 200_000;
/** Within this time every node has taken part in the life of new keys. */
const workMaxMs = 60_000;
/** Within this time every key is shown and handed out. */
const lookMaxMs = 10_000;
/** What a node answers at the end for a key that its region has. */
const finalAnswer = { look: "read", get: "material" } as const;
/** How often a key is asked for at the end: a key-encryption key may have to be opened first. */
const handOutTries = 6;

/** Within this time after all faults everything must be ready again. */
const settleMaxMs = 60_000;

/** Runs the history of a seed, to its end or to the first violation. */
export async function runHistory(
  seed: number,
  options: HistoryOptions = {},
): Promise<HistoryResult> {
  return runPlan(planOf(seed, options.focus), options);
}

/** Runs the history of a plan, to its end or to the first violation. */
export async function runPlan(
  plan: Plan,
  options: Omit<HistoryOptions, "focus"> = {},
): Promise<HistoryResult> {
  const history = new History(plan, options);
  await history.run();
  return history.result();
}

class History {
  readonly #plan: Plan;
  readonly #world: World;
  readonly #random: Random;
  readonly #wishes: Wishes;
  readonly #faults = new Map<string, number>();
  readonly #answers = new Map<string, number>();
  readonly #begun = new Set<() => void>();
  readonly #copies: Copies = new Map();
  readonly #begin: Extract<StoryEvent, { readonly kind: "begin" }>;
  #startMs = 0;
  #clients = 0;

  constructor(plan: Plan, { flaw, recorded }: HistoryOptions) {
    this.#plan = plan;
    const { seed, farMs, replicas, required, order } = plan;
    this.#begin = { kind: "begin", seed, farMs, replicas, required, flaw };
    this.#world = new World({ ...plan, flaw, recorded, managed: order?.name });
    if (order !== undefined) this.#world.order = makeOrder(this.#world, order);
    this.#random = this.#world.random.fork();
    const { scheduler } = this.#world;
    this.#wishes = new Wishes(this.#random, () => (epochMs + scheduler.nowMs) / 1_000);
  }

  run(): Promise<void> {
    return this.#play().catch(this.#world.crashed);
  }

  async #play(): Promise<void> {
    const { scheduler, recorder } = this.#world;
    const failed = (): boolean => this.#world.failure !== undefined;
    await scheduler.run(startMaxMs, () => failed() || this.#open() === undefined);
    await this.#sealOnce(failed);
    await this.#within("an order", startMaxMs, this.#world.order?.prepare());
    this.#startMs = scheduler.nowMs;
    recorder?.tell(this.#begin);
    const { clients, readers, busyMs, faults: planned, loss } = this.#plan;
    for (let client = 0; client < clients; client += 1) void this.#client();
    for (let reader = 0; reader < readers; reader += 1) void this.#reader();
    for (const fault of planned) this.#planFault(fault);
    if (loss !== undefined) this.#planLoss(loss);
    this.#beginOrder();
    await scheduler.run(this.#startMs + busyMs, failed);
    if (failed()) return;
    this.#heal();
    await this.#settle(failed);
    if (failed()) return;
    this.#world.settled();
    recorder?.tell({ kind: "settled" });
    recorder?.beginChecks();
    await this.#within("new keys", workMaxMs, requireWork(this.#world));
    await this.#lookAtAll(failed);
    await this.#within("an order", orderMaxMs, this.#world.order?.check());
    const { order } = this.#world;
    if (!failed() && order?.hasRevived !== true) this.#world.guard(() => this.#requireOrder());
    if (!failed()) recorder?.endChecks();
  }

  /** Lets time pass until something has ended, which may take so long. */
  async #within(what: string, ms: number, work: Promise<unknown> | undefined): Promise<void> {
    const world = this.#world;
    const { scheduler } = world;
    if (work === undefined || world.failure !== undefined) return;
    const state = { over: false };
    work.then(
      () => Object.assign(state, { over: true }),
      (error: unknown) => world.fail(error),
    );
    await scheduler.run(scheduler.nowMs + ms, () => world.failure !== undefined || state.over);
    if (!state.over) world.fail(new Violation(`${what}: not ended after ${ms} ms`));
  }

  /** An instance takes keys once its first key-encryption key is in place. */
  async #sealOnce(failed: () => boolean): Promise<void> {
    const world = this.#world;
    const { scheduler } = world;
    const [node] = world.nodes;
    if (node === undefined) return;
    const binding = { instance, uniqueIdentifier: "none", objectType: 2 };
    let sealed: SealedMaterial | undefined;
    const attempt = async (): Promise<void> => {
      while (sealed === undefined && !failed()) {
        const work = async () =>
          await Promise.resolve(node.client?.keyRing.seal(binding, Buffer.from("none"))).catch(
            () => undefined,
          );
        sealed = await world.within(node, work, 3_000);
        if (sealed === undefined) await world.sleep(200);
      }
      world.guard(() => requireWhole(world, sealed?.kekId));
    };
    let over = false;
    void attempt().then(() => {
      over = true;
    });
    await scheduler.run(scheduler.nowMs + startMaxMs, () => failed() || over);
  }

  /** Some order of all requests must explain all answers; not about a record that a fault has put back as it was. */
  #requireOrder(): void {
    const { checker, operations, older } = this.#world;
    const all = operations.history((text) => checker.triesOf(text));
    const judged = all.operations.filter(({ object }) => !older.has(object));
    const { violations, undecided } = judge({ ...all, operations: judged });
    const [first] = [...violations, ...undecided];
    if (first !== undefined) throw new Violation(first);
  }

  result(): HistoryResult {
    const { scheduler, trace, checker, failure, groups, recorder } = this.#world;
    recorder?.end();
    return {
      steps: recorder?.steps ?? [],
      seed: this.#plan.seed,
      failure,
      lines: trace.lines,
      digest: trace.digest(),
      events: scheduler.events,
      virtualMs: scheduler.nowMs,
      faults: this.#faults,
      answers: this.#answers,
      acknowledged: checker.acknowledged,
      promotions: groups.reduce((sum, { promotions }) => sum + promotions, 0),
    };
  }

  /** Sends one request after another, each to a random endpoint. */
  async #client(): Promise<void> {
    this.#clients += 1;
    const { scheduler, nodes } = this.#world;
    const endMs = this.#startMs + this.#plan.busyMs;
    while (scheduler.nowMs < endMs && this.#world.failure === undefined) {
      const wish = this.#wishes.next();
      await Promise.all(this.#sent(this.#random.pick(nodes), wish));
      await this.#world.sleep(this.#random.chance(0.3) ? 1 : this.#random.between(1, 350));
    }
    this.#clients -= 1;
  }

  /** Often adds values at both nodes of a region at once: each node may write to another store. */
  #sent(node: SimNode, wish: Wish): readonly Promise<unknown>[] {
    const sent = [this.#request(node, wish)];
    if (wish.kind !== "add" && wish.kind !== "name") return sent;
    const neighbour = this.#world.nodes.find(
      (each) => each !== node && each.region === node.region,
    );
    if (neighbour === undefined || this.#random.chance(0.3)) return sent;
    return [...sent, this.#request(neighbour, { ...wish, text: this.#wishes.text() })];
  }

  async #reader(): Promise<void> {
    this.#clients += 1;
    const { scheduler, nodes } = this.#world;
    const endMs = this.#startMs + this.#plan.busyMs;
    while (scheduler.nowMs < endMs && this.#world.failure === undefined) {
      // Older ones too: an old copy of a store has these.
      const among = this.#random.chance(0.7) ? 3 : this.#wishes.objects.length;
      const id = this.#wishes.objects.at(-1 - this.#random.below(among));
      if (id !== undefined) await this.#request(this.#random.pick(nodes), { kind: "look", id });
      await this.#world.sleep(this.#random.between(10, 60));
    }
    this.#clients -= 1;
  }

  async #request(node: SimNode, wish: Wish): Promise<Answer | undefined> {
    const reply = await this.#world.request(node, wish);
    const answer = reply === undefined ? "no answer" : textOf(reply.answer);
    this.#count(this.#answers, `${wish.kind}: ${answer}`);
    if (reply?.answer.kind === "done") this.#wishes.done(wish, reply.id);
    return reply?.answer;
  }

  #planFault({ name, atMs, lastsMs, seed }: PlannedFault): void {
    const { scheduler, trace, recorder } = this.#world;
    scheduler.after(atMs, () => {
      const begun = faults[name]?.(this.#world, new Random(seed));
      if (begun === undefined) return;
      this.#count(this.#faults, name);
      trace.line("fault", `${name}: ${begun.what}`);
      recorder?.tell({ kind: "fault", name, what: begun.what });
      const { end } = begun;
      if (end === undefined) return;
      this.#begun.add(end);
      scheduler.after(lastsMs, () => this.#end(name, begun.what, end));
    });
  }

  #end(name: string, what: string, end: () => void): void {
    if (!this.#begun.delete(end)) return;
    this.#world.trace.line("fault", `${name}: ${what}: over`);
    end();
    this.#world.recorder?.tell({ kind: "faultOver", name, what });
  }

  #beginOrder(): void {
    const { scheduler, recorder, order } = this.#world;
    const planned = this.#plan.order;
    if (planned === undefined) return;
    const { name, atMs } = planned;
    order?.begin();
    scheduler.after(atMs, () => {
      this.#count(this.#faults, name);
      recorder?.tell({ kind: "fault", name, what: "" });
    });
  }

  #planLoss({ atMs, copyAtMs, seed, isMidway = false }: PlannedLoss): void {
    const random = new Random(seed);
    const { scheduler, groups } = this.#world;
    const copy = (): void => {
      for (const { region, primary } of groups) {
        if (statusIn(primary, instance) !== undefined) this.#copies.set(region, primary.copy);
        // Another node leads from now on, in an epoch that the copy does not know.
        if (random.chance(0.3)) this.#world.locks.get(region)?.forget();
      }
    };
    if (copyAtMs !== undefined) scheduler.after(copyAtMs, copy);
    const lose = (): void => {
      const what = loseStore(this.#world, random, this.#copies);
      if (what === undefined) return;
      this.#count(this.#faults, what.includes("old") ? "old copy put back" : "store emptied");
      this.#world.trace.line("fault", `store lost: ${what}`);
      const [region = ""] = what;
      const changes = this.#world.checker.lostAlone;
      const lost = { region, copy: what.includes("old"), changes };
      this.#world.recorder?.tell({ kind: "storeLost", ...lost });
    };
    scheduler.after(atMs, () => {
      if (!isMidway) {
        lose();
        return;
      }
      const heldMs = random.chance(0.5) ? random.between(300, 4_000) : 0;
      const happens = () => {
        lose();
        return heldMs === 0 ? [] : [holdCommit(this.#world, heldMs)];
      };
      this.#begun.add(interrupted(this.#world, random, happens).end);
    });
  }

  #heal(): void {
    for (const end of this.#begun) end();
    this.#begun.clear();
    const { network, trace, order } = this.#world;
    order?.end();
    network.calm();
    trace.line("fault", "all healed");
    this.#remain();
    this.#world.recorder?.tell({ kind: "healed" });
  }

  /** Takes away for good what the plan says. */
  #remain(): void {
    const { nodes, groups, network, trace } = this.#world;
    const { remains } = this.#plan;
    if (remains === "nothing") return;
    trace.line("fault", `${remains} stays away`);
    if (remains === "a node") {
      this.#random.pick(nodes).stop();
      return;
    }
    const { sentinels, members } = this.#random.pick(groups);
    const [away, ...others] = sentinels.map(({ name }) => name);
    const operators = groups.map(({ region }) => operatorOf(region));
    const rest = [...others, ...operators, ...members, ...nodes.map(({ machine }) => machine)];
    const beyond = rest.map((one) => (typeof one === "string" ? one : one.name));
    if (away !== undefined) network.cut([away], beyond, true);
  }

  /** Waits until everything serves again and both regions have the same records. */
  async #settle(failed: () => boolean): Promise<void> {
    const { scheduler, trace } = this.#world;
    const endMs = scheduler.nowMs + settleMaxMs;
    while (!failed()) {
      await scheduler.run(scheduler.nowMs + 500, failed);
      const open = this.#open();
      if (open === undefined) return;
      if (acceptDoubted(this.#world, endMs - settleMaxMs / 2)) this.#count(this.#answers, "accept");
      if (scheduler.nowMs > endMs) {
        trace.line("end", open);
        this.#world.fail(new Violation(`not settled after ${settleMaxMs} ms: ${open}`));
      }
    }
  }

  /** What has not settled yet. */
  #open(): string | undefined {
    const { nodes, groups } = this.#world;
    if (this.#clients > 0) return "clients are at work";
    if (this.#world.open !== undefined) return this.#world.open;
    for (const { store, machine, stopped } of nodes) {
      if (stopped) continue;
      const serving = store?.serving();
      if (serving?.from !== "local" || !serving.writes) {
        return `${machine.name} serves from ${serving?.from}: ${serving?.reason}`;
      }
    }
    for (const { region, primary } of groups) {
      const { reserved, aside } = openIn(primary);
      if (reserved > 0) return `${reserved} records are reserved in ${region}`;
      if (aside > 0 && this.#world.damaged === 0 && this.#world.older.size === 0)
        return `${aside} records are in quarantine in ${region}`;
    }
    return this.#differs() ? "the regions differ" : overdue(this.#world);
  }

  /** Reads every object at every endpoint, and checks every acknowledgement in every region. */
  async #lookAtAll(failed: () => boolean): Promise<void> {
    const world = this.#world;
    const { nodes, groups, checker } = world;
    const running = nodes.filter(({ stopped }) => !stopped);
    const looks = this.#wishes.objects.flatMap((id) =>
      running.flatMap((node) =>
        (["look", "get"] as const).map((kind) => this.#lookAt(node, { kind, id })),
      ),
    );
    await this.#within("looking", lookMaxMs, Promise.all(looks));
    if (failed()) return;
    await this.#within("reading", lookMaxMs, Promise.all(running.map(this.#readUnknown)));
    if (failed()) return;
    // After the reads, which repair what was damaged.
    for (const { region } of groups) {
      world.guard(() => checker.settle(region, (id) => world.record(region, id)));
    }
    if (!failed()) await this.#checkStores(failed);
    if (!failed()) world.guard(() => requireEvidence(world));
  }

  /** Reads what no client knows of, outside of the histories that are judged: this finds what is damaged. */
  readonly #readUnknown = async (node: SimNode): Promise<void> => {
    const { groups } = this.#world;
    const { client } = node;
    const stored = groups.flatMap(({ primary }) => objectsIn(primary, instance));
    for (const id of new Set(stored.map(({ uniqueIdentifier }) => uniqueIdentifier))) {
      if (client === undefined || this.#wishes.objects.includes(id)) continue;
      await this.#world.within(node, () => ask(client, { kind: "look", id }), askMaxMs);
    }
  };

  /** At every node, each key must be shown, and handed out if it is not destroyed, but for what an old copy lacks. */
  async #lookAt(node: SimNode, wish: Extract<Wish, { kind: "look" | "get" }>): Promise<void> {
    const world = this.#world;
    for (let tries = 0; tries < handOutTries && world.failure === undefined; tries += 1) {
      const answer = await this.#request(node, wish);
      const facts = world.record(node.region, wish.id)?.facts;
      if (world.older.has(node.region) || !facts || answer?.kind === finalAnswer[wish.kind]) return;
      if (wish.kind === "get" && isDestroyed(facts)) return;
      await world.sleep(500);
    }
    const what = wish.kind === "get" ? "handed out" : "shown";
    world.fail(new Violation(`${wish.id} is not ${what} at ${node.machine.name} at the end`));
  }

  /** Waits until each region's counts and its audit trail are right. */
  async #checkStores(failed: () => boolean): Promise<void> {
    const world = this.#world;
    const { scheduler, nodes, groups } = world;
    const endMs = scheduler.nowMs + rightMaxMs;
    const ask = ({ region }: (typeof groups)[number]): Promise<string | undefined> => {
      const node = nodes.find((each) => each.region === region && !each.stopped);
      if (node === undefined) return Promise.resolve(undefined);
      return world.within(node, async () => (await wrongIn(world, node)) ?? "", askMaxMs);
    };
    while (!failed()) {
      const asked: { answers?: readonly (string | undefined)[] } = {};
      void Promise.all(groups.map(ask)).then((answers) => Object.assign(asked, { answers }));
      const over = (): boolean => failed() || asked.answers !== undefined;
      await scheduler.run(scheduler.nowMs + askMaxMs + 1, over);
      const wrong = asked.answers
        ?.map((answer) => answer ?? "no answer")
        .find((each) => each !== "");
      if (wrong === undefined) return;
      if (scheduler.nowMs > endMs) world.fail(new Violation(wrong));
      await scheduler.run(scheduler.nowMs + 1_000, failed);
    }
  }

  /** Whether the regions have different records; system records count where an order writes them. */
  #differs(): boolean {
    const { groups, order } = this.#world;
    const used = order === undefined ? [instance] : [instance, systemInstance];
    return used.some((of) => {
      const [one, other] = groups.map(({ primary }) => contentOf(primary, of));
      return one !== other;
    });
  }

  #count(counts: Map<string, number>, name: string): void {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
}

function textOf(answer: { readonly kind: string; readonly reason?: string }): string {
  return answer.reason === undefined ? answer.kind : answer.reason.slice(0, 60);
}
