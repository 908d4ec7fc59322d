import { isDestroyed, isWithheldKek, type ManagedObject } from "@holdfast/engine";
import { restoreKey } from "../../packages/server/src/management/keys/restore.ts";
import { Violation } from "./checker.ts";
import { ask, type ClientParts, instance } from "./client.ts";
import { answerOf, callOf } from "./management-call.ts";
import type { SimNode } from "./node.ts";
import type { Order } from "./order.ts";
import { OrderWork } from "./order-work.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const keys = 5;
const answerMaxMs = 8_000;
const againMs = 500;
const handOutTries = 20;
/** Seconds: one delay is over within a history, the other one is not. */
const delays = [3, 604_800] as const;

/** What operators know of a key. */
interface Known {
  readonly id: string;
  /** SHA-256 of its material, as the first Get showed it. */
  readonly digest: string;
  /**
   * What was acknowledged last. `unsure` once a request had no answer, since it may be done at any later time: then nobody
   * touches the key again.
   */
  state: "live" | "destroyed" | "unsure";
  /** The delay of the last Destroy, seconds. */
  delay: number;
  /** Whether a Destroy with a delay that may be over was ever tried: only then it may be destroyed for good. */
  mayEnd: boolean;
}

/**
 * Operators destroy keys of their own with a delay, and restore them, at any node. At the end each restored key must be
 * handed out everywhere, and each key whose delay is over must be gone in both regions.
 */
export class KeyRestore implements Order {
  readonly #world: World;
  readonly #random: Random;
  readonly #atMs: number;
  readonly #work: OrderWork;
  readonly #keys: Known[] = [];

  constructor(world: World, random: Random, atMs: number) {
    this.#world = world;
    this.#random = random;
    this.#atMs = atMs;
    this.#work = new OrderWork(world);
  }

  async prepare(): Promise<void> {
    const world = this.#world;
    const [node] = world.nodes;
    while (node !== undefined && this.#keys.length < keys && world.failure === undefined) {
      const made = await this.#ask(node, (client) => ask(client, { kind: "create" }));
      const id = made?.answer.kind === "done" ? made.id : undefined;
      const got = id && (await this.#ask(node, (client) => ask(client, { kind: "get", id })));
      if (got && id !== undefined && got.answer.kind === "material") {
        const { digest } = got.answer;
        this.#keys.push({ id, digest, state: "live", delay: 0, mayEnd: false });
      } else await world.sleep(100);
    }
  }

  begin(): void {
    for (const known of this.#keys) {
      this.#work.begin(() => this.#operator(known));
    }
  }

  end(): void {
    this.#work.end();
  }

  get open(): string | undefined {
    return this.#work.isOpen ? "operators destroy and restore keys" : undefined;
  }

  async check(): Promise<void> {
    const { checker, nodes, groups } = this.#world;
    // A store that was put back by hand, or another one, may have been the one that agreed.
    if (checker.excusesLost) return;
    for (const known of this.#keys) {
      for (const { region } of groups) await this.#requireRecord(known, region);
      if (known.state === "destroyed") await this.#requireSameSeals(known);
      if (known.state !== "live") continue;
      for (const node of nodes)
        if (!node.stopped && node.lives) await this.#requireGiven(known, node);
    }
  }

  async #operator(known: Known): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    await world.sleep(this.#atMs * random.between(0.1, 1));
    while (this.#work.goesOn && known.state !== "unsure") {
      const node = random.pick(world.nodes);
      if (known.state === "live") await this.#destroy(known, node);
      else await this.#restore(known, node);
      await world.sleep(random.between(100, 2_500));
    }
  }

  async #destroy(known: Known, node: SimNode): Promise<void> {
    const delay = this.#random.pick(delays);
    const { id } = known;
    if (node.client === undefined || !node.reachable) return;
    known.mayEnd ||= delay === delays[0];
    const reply = await this.#ask(node, (client) =>
      ask({ ...client, destroyDelay: () => delay }, { kind: "destroy", id }),
    );
    known.delay = delay;
    // An error does not say that nothing happened, nor that nothing will.
    known.state = reply?.answer.kind === "done" ? "destroyed" : "unsure";
    this.#tell(node, `destroy ${id.slice(0, 8)} for ${delay} s: ${known.state}`);
    if (known.state === "destroyed") await this.#requireWithheld(known);
  }

  /** Once a Destroy is acknowledged, nobody gets the key, unless a store was lost or is not the one that agreed. */
  async #requireWithheld({ id }: Known): Promise<void> {
    const { groups, checker, nodes } = this.#world;
    const node = this.#random.pick(nodes);
    const reply = await this.#ask(node, (client) => ask(client, { kind: "get", id }));
    if (groups.some(({ losses }) => losses > 0) || checker.excusesAlone) return;
    if (reply?.answer.kind !== "material") return;
    throw new Violation(
      `${id} is handed out at ${node.machine.name}, and was destroyed with a delay`,
    );
  }

  async #restore(known: Known, node: SimNode): Promise<void> {
    const { id } = known;
    const { client, region } = node;
    const keyRing = client?.releaser;
    if (client === undefined || keyRing === undefined || !node.reachable) return;
    const call = callOf("restoreKey", { params: { instance, key: id } });
    const { store, clock } = client;
    const parts = { region, store, keyRing, wallMs: clock.wallMs };
    const work = () => answerOf(() => restoreKey(parts, instance, call));
    const answer = await this.#world.within(node, work, answerMaxMs);
    if (answer?.kind === "done") known.state = "live";
    // Its delay was over.
    else if (answer?.kind === "refused" && answer.code === "wrongState") return this.#ended(known);
    else known.state = "unsure";
    this.#tell(node, `restore ${id.slice(0, 8)}: ${known.state}`);
  }

  #ended(known: Known): void {
    if (known.mayEnd) known.state = "unsure";
    else if (!this.#world.checker.excusesAlone) {
      throw new Violation(`${known.id} is not restored, and its delay is not over`);
    } else known.state = "unsure";
  }

  /** What a region has of a key at the end. */
  async #requireRecord(known: Known, region: string): Promise<void> {
    const world = this.#world;
    const { id, state, mayEnd, delay } = known;
    const record = () => world.record(region, id);
    const isFinal = (object: ManagedObject | undefined) => object?.facts.destroyed !== undefined;
    if (state === "destroyed" && delay === delays[0]) {
      for (let tries = 0; !isFinal(record()) && tries < handOutTries; tries += 1) {
        await world.sleep(againMs);
      }
    }
    const object = record();
    const broken = (what: string) => new Violation(`key ${id} ${what} in ${region} at the end`);
    if (object === undefined) throw broken("is not");
    if (isFinal(object) !== (object.material === undefined)) {
      throw broken("is destroyed for good and has material, or the opposite,");
    }
    if (isFinal(object) && !mayEnd) throw broken("is destroyed for good before its time");
    if (state === "live" && isDestroyed(object.facts))
      throw broken("was restored and is destroyed");
    if (state === "destroyed" && !isDestroyed(object.facts)) throw broken("is no longer destroyed");
    if (state === "destroyed" && delay === delays[0] && !isFinal(object)) {
      throw broken("still has its material");
    }
  }

  /** Material that can be restored is withheld, with the same bytes in both regions. */
  async #requireSameSeals({ id }: Known): Promise<void> {
    const world = this.#world;
    const found = () =>
      world.groups.map(({ region }) => {
        const { material } = world.record(region, id) ?? {};
        if (material === undefined) return "none";
        const { kekId, nonce, ciphertext } = material;
        const bytes = Buffer.concat([nonce, ciphertext]).toString("hex");
        return isWithheldKek(kekId) ? `${kekId} ${bytes}` : `served by ${kekId}`;
      });
    const isRight = ([one, other]: readonly string[]) =>
      one === other && one?.startsWith("served") === false;
    for (let tries = 0; !isRight(found()) && tries < handOutTries; tries += 1) {
      await world.sleep(againMs);
    }
    if (isRight(found())) return;
    throw new Violation(
      `destroyed ${id} is not withheld alike in both regions: ${found().join(", ")}`,
    );
  }

  async #requireGiven({ id, digest }: Known, node: SimNode): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      const reply = await this.#ask(node, (client) => ask(client, { kind: "get", id }));
      if (reply?.answer.kind === "material") {
        if (reply.answer.digest === digest) return;
        throw new Violation(`restored ${id} has other material at ${node.machine.name}`);
      }
      if (tries === handOutTries || this.#world.failure !== undefined) {
        const answer = JSON.stringify(reply?.answer);
        throw new Violation(`restored ${id} is not handed out at ${node.machine.name}: ${answer}`);
      }
      await this.#world.sleep(againMs);
    }
  }

  /** Sends a request to a node; undefined if there is no answer. */
  async #ask(
    node: SimNode,
    work: (client: ClientParts) => ReturnType<typeof ask>,
  ): Promise<Awaited<ReturnType<typeof ask>> | undefined> {
    const { client } = node;
    if (client === undefined || !node.reachable) return undefined;
    return await this.#world.within(node, () => work(client), answerMaxMs);
  }

  #tell(node: SimNode, what: string): void {
    this.#world.trace.line(node.machine.name, what);
  }
}
