import {
  type ManagedObject,
  readAnyRecord,
  type SystemRecord,
  systemInstance,
} from "@holdfast/engine";
import type { ShownInstance } from "../../packages/server/src/management/instances/show-instance.ts";
import { instanceRecordId } from "../../packages/server/src/records/records.ts";
import { Violation } from "./checker.ts";
import { objectsIn } from "./look.ts";
import { answerOf, callOf, type HandlerAnswer } from "./management-call.ts";
import type { SimNode } from "./node.ts";
import type { Order } from "./order.ts";
import { OrderWork } from "./order-work.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const operators = 3;
const answerMaxMs = 8_000;
/** So few that operators often want the same one. */
const names = ["one", "two", "three"] as const;

/** What operators know of an instance that they ordered. */
interface Ordered {
  /** Somebody was told that it is there. */
  isThere: boolean;
  /** Somebody was told that it is deleted; undefined if nobody tried. */
  deletion: "tried" | "done" | undefined;
  /** Texts that acknowledged changes have replaced. */
  readonly replaced: Set<string>;
}

/** A change that was acknowledged. */
interface Change {
  readonly instance: string;
  /** The version that it needed. */
  readonly version: string;
  /** Whether it renamed the instance: then both regions agreed. */
  readonly renames: boolean;
  /** The region whose own store its node used all the time; undefined if that is unknown. */
  readonly store: string | undefined;
  readonly text: string;
}

/**
 * Operators order instances, change their names and descriptions, and delete them, at any node. Each change needs the
 * version that was read before; an order whose answer was lost is repeated, often at another node.
 */
export class InstanceManagement implements Order {
  readonly #world: World;
  readonly #random: Random;
  readonly #atMs: number;
  readonly #work: OrderWork;
  readonly #instances = new Map<string, Ordered>();
  readonly #changes: Change[] = [];
  #texts = 0;

  constructor(world: World, random: Random, atMs: number) {
    this.#world = world;
    this.#random = random;
    this.#atMs = atMs;
    this.#work = new OrderWork(world);
  }

  async prepare(): Promise<void> {}

  begin(): void {
    for (let operator = 0; operator < operators; operator += 1) {
      this.#work.begin(() => this.#operator());
    }
  }

  end(): void {
    this.#work.end();
  }

  /** Both regions have the same records, which the history waits for; nothing may be under way in them. */
  get open(): string | undefined {
    if (this.#work.isOpen) return "operators manage instances";
    const going = this.#records().find(
      ({ record: { removal, destroyed } }) => removal !== undefined && destroyed === undefined,
    );
    return going && `the deletion of ${going.record.name} is under way in ${going.region}`;
  }

  async check(): Promise<void> {
    const { checker } = this.#world;
    // Another store of a region may have been the one that agreed.
    if (checker.excusesLost) return;
    for (const { region } of this.#world.groups) {
      const records = this.#records().filter((each) => each.region === region);
      this.#requireOne(records.map(({ record }) => record));
      for (const [id, known] of this.#instances) {
        const found = records.find(({ record }) => record.id === instanceRecordId(id))?.record;
        this.#requireKept(id, known, found, region);
      }
    }
    this.#requireOneWinner();
  }

  async #operator(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    await world.sleep(this.#atMs * 0.3);
    while (this.#work.goesOn) {
      const known = [...this.#instances].filter(
        ([, { isThere, deletion }]) => isThere && !deletion,
      );
      const [id] = known[random.below(known.length + 1)] ?? [];
      if (id === undefined) await this.#create();
      else if (random.chance(0.1)) await this.#delete(id);
      else await this.#change(id);
      await world.sleep(random.between(20, 500));
    }
  }

  async #create(): Promise<void> {
    const random = this.#random;
    const key = random.uuid();
    const name = random.pick(names);
    const body = { name, description: this.#text(), labels: { key } };
    const call = callOf("createInstance", { body, key });
    const known: Ordered = { isThere: false, deletion: undefined, replaced: new Set() };
    for (let tries = 0; tries < 4; tries += 1) {
      const answer = await this.#ask(random.pick(this.#world.nodes), ({ create }) =>
        create(call, key),
      );
      // From now on it may be there.
      this.#instances.set(call.newId, known);
      if (answer?.kind === "done") known.isThere = true;
      if (answer?.kind === "done" || answer?.code === "nameTaken" || random.chance(0.2)) return;
      await this.#world.sleep(random.between(50, 600));
    }
  }

  /** Reads an instance, and changes what was read; two operators often do so at the same time. */
  async #change(id: string): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    const params = { instance: id };
    const read = await this.#ask(random.pick(world.nodes), ({ handlers }) =>
      handlers.readInstance(callOf("readInstance", { params })),
    );
    if (read?.kind !== "done") return;
    if (read.value.status === "Deleted") return;
    await world.sleep(random.between(0, 200));
    const node = random.pick(world.nodes);
    const neighbour = world.nodes.find((each) => each !== node && each.region === node.region);
    const both = neighbour !== undefined && random.chance(0.5) ? [node, neighbour] : [node];
    await Promise.all(both.map((each) => this.#update(each, read.value)));
  }

  async #update(node: SimNode, read: ShownInstance): Promise<void> {
    const random = this.#random;
    const { id, name: before, version, description } = read;
    const name = random.chance(0.3) ? random.pick(names) : before;
    const text = this.#text();
    const body = { description: text, ...(name !== before && { name }) };
    const call = callOf("updateInstance", { params: { instance: id }, body, ifMatch: version });
    const used = storeOf(node);
    const answer = await this.#ask(node, ({ handlers }) => handlers.updateInstance(call));
    if (answer?.kind !== "done") return;
    const store = storeOf(node) === used ? used : undefined;
    this.#changes.push({ instance: id, version, renames: name !== before, store, text });
    this.#instances.get(id)?.replaced.add(description);
  }

  async #delete(id: string): Promise<void> {
    const known = this.#instances.get(id);
    if (known === undefined) return;
    known.deletion ??= "tried";
    const call = callOf("deleteInstance", { params: { instance: id }, query: {} });
    const node = this.#random.pick(this.#world.nodes);
    const answer = await this.#ask(node, ({ handlers }) => handlers.deleteInstance(call));
    if (answer?.kind === "done") known.deletion = "done";
  }

  /** Runs a handler at a node; undefined if there is no answer. */
  async #ask<Value>(
    node: SimNode,
    work: (management: NonNullable<SimNode["management"]>) => Promise<Value>,
  ): Promise<HandlerAnswer<Value> | undefined> {
    const world = this.#world;
    const { management } = node;
    if (management === undefined || !node.reachable) return undefined;
    const answer = await world.within(node, () => answerOf(() => work(management)), answerMaxMs);
    const told = answer?.kind === "refused" ? answer.code : answer?.kind;
    world.trace.line(node.machine.name, `management: ${told ?? "no answer"}`);
    return answer;
  }

  #text(): string {
    this.#texts += 1;
    return `d${this.#texts}`;
  }

  #records() {
    return this.#world.groups.flatMap(({ region, primary }) =>
      objectsIn(primary, systemInstance).flatMap((object) => {
        const record = instanceIn(object);
        return record === undefined ? [] : [{ region, record }];
      }),
    );
  }

  /**
   * A name belongs to one instance, and an order that was repeated has made one. What a retired region made without an
   * answer comes back with it, also if its name was given again meanwhile.
   */
  #requireOne(records: readonly SystemRecord<"Instance">[]): void {
    const isRetired = this.#world.retirement !== undefined;
    const live = records.filter(
      ({ destroyed, instance }) =>
        destroyed === undefined && (!isRetired || this.#instances.get(instance)?.isThere === true),
    );
    const twice = live.find(({ name }, at) => live.findIndex((one) => one.name === name) !== at);
    if (twice !== undefined) throw new Violation(`two instances are called ${twice.name}`);
    const keys = records.map(({ labels }) => labels["key"]);
    const made = keys.find((key, at) => keys.indexOf(key) !== at);
    if (made !== undefined) throw new Violation(`the order ${made} has made two instances`);
  }

  #requireKept(
    id: string,
    { isThere, deletion, replaced }: Ordered,
    found: SystemRecord<"Instance"> | undefined,
    region: string,
  ): void {
    const isLive = found !== undefined && found.destroyed === undefined;
    if (isThere && !isLive && deletion === undefined) {
      throw new Violation(`instance ${id} was acknowledged, and is not in ${region} at the end`);
    }
    if (deletion === "done" && isLive) {
      throw new Violation(`instance ${id} is in ${region}, and its deletion was acknowledged`);
    }
    // A store that is lost takes with it what it had alone.
    if (this.#world.groups.some(({ losses }) => losses > 0)) return;
    if (isLive && replaced.has(found.description)) {
      throw new Violation(
        `instance ${id} has the description ${found.description} in ${region}, which an acknowledged change replaced`,
      );
    }
  }

  /** Of two changes that need the same version, one is refused: by both regions if they agree on it, else by one store. */
  #requireOneWinner(): void {
    for (const [at, one] of this.#changes.entries()) {
      for (const other of this.#changes.slice(0, at)) {
        if (one.instance !== other.instance || one.version !== other.version) continue;
        const isOneStore = one.store !== undefined && one.store === other.store;
        if (!isOneStore && !(one.renames && other.renames)) continue;
        throw new Violation(
          `${one.text} and ${other.text} both changed version ${one.version} of instance ${one.instance}`,
        );
      }
    }
  }
}

/** The region whose own store a node uses, and which data it has. */
function storeOf({ store, region, own }: SimNode): string | undefined {
  return store?.serving().from === "local" ? `${region} ${own?.storeId}` : undefined;
}

function instanceIn(object: ManagedObject): SystemRecord<"Instance"> | undefined {
  const record = readAnyRecord(object);
  return record?.type === "Instance" ? record : undefined;
}
