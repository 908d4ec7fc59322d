import { ManagementError } from "@holdfast/admin";
import { type ManagedObject, readAnyRecord, readKekRecord, systemInstance } from "@holdfast/engine";
import type { CommandLine } from "@holdfast/redis";
import type { DeletionStep } from "../../packages/server/src/management/instances/deletion.ts";
import { instanceRecordId } from "../../packages/server/src/records/records.ts";
import { certificateValues } from "../../packages/server/src/testing/system-records.ts";
import { Violation } from "./checker.ts";
import { ask, type Reply, type Wish } from "./client.ts";
import { faults } from "./faults.ts";
import { objectsIn, statusIn } from "./look.ts";
import { answerOf, callOf } from "./management-call.ts";
import type { SimNode } from "./node.ts";
import type { Order } from "./order.ts";
import { OrderWork } from "./order-work.ts";
import type { Random } from "./random.ts";
import { holdNext, isOf } from "./rare-faults.ts";
import type { World } from "./world.ts";

/** The instance that is deleted. It is in the partition of the histories' other instance. */
const deleted = "instance-214";
const name = "tenant";
const fingerprint = "ab".repeat(32);
const certificateId = "5b6d6f0e-6c1f-4f0f-9a4e-0d5b1f9c2e77";

const clientTimeoutMs = 6_000;
/** How long an operator waits for an answer, and for how long at most a handler works after that. */
const answerMaxMs = 8_000;
/** A node whose list of clients is older than ten seconds admits nobody. */
const staleMs = 11_000;
const handOutTries = 6;
const killsMax = 2;

/** What an operator wants: to delete with all keys, to delete after destroying them, or a deletion that must be refused. */
type Aim = "forced" | "emptied" | "refused";

/** What the clients of the instance know of a key. */
interface Known {
  /** Of its material, once it was read. */
  digest: string | undefined;
  /** Somebody tried to destroy it. */
  ends: boolean;
}

/**
 * A second instance, with clients of its own, which an operator deletes. Nodes die at some of the deletion's steps.
 * The operator may get no answer; then the order is given again, or the leaders must finish it or drop it.
 */
export class InstanceDeletion implements Order {
  readonly #world: World;
  readonly #random: Random;
  readonly #atMs: number;
  readonly #work: OrderWork;
  readonly #aim: Aim;
  /** Whether the operator tries until there is an answer. */
  readonly #persists: boolean;
  readonly #keys = new Map<string, Known>();
  #isPrepared = false;
  #emptying = false;
  #kills = 0;
  #heal: (() => void) | undefined;
  /** When the operator was told that the deletion is decided. */
  #toldMs: number | undefined;

  constructor(world: World, random: Random, atMs: number) {
    this.#world = world;
    this.#random = random;
    this.#atMs = atMs;
    this.#work = new OrderWork(world);
    this.#aim = random.pick(["forced", "forced", "emptied", "refused"] as const);
    this.#persists = random.chance(0.6);
  }

  async prepare(): Promise<void> {
    const world = this.#world;
    const [node] = world.nodes;
    if (node === undefined) return;
    while (this.#wrongIfOpen() !== undefined || !this.#hasCertificate()) {
      await world.within(node, () => makeInstance(node), answerMaxMs);
      await world.sleep(500);
    }
    for (const each of world.nodes) {
      while (each.management?.admits(fingerprint, deleted) !== true) await world.sleep(100);
    }
    while (this.#keys.size === 0) {
      await this.#request(node, { kind: "create" });
      await world.sleep(100);
    }
    this.#isPrepared = true;
  }

  begin(): void {
    this.#work.begin(() => this.#client());
    this.#work.begin(() => this.#client());
    this.#work.begin(() => this.#operator());
  }

  end(): void {
    this.#work.end();
    this.#heal?.();
  }

  get open(): string | undefined {
    if (!this.#isPrepared) return undefined;
    if (this.#work.isOpen) return "the second instance is in use";
    return this.#isGone() ? this.#wrongIfGone() : this.#wrongIfOpen();
  }

  async check(): Promise<void> {
    const isGone = this.#isGone();
    if (this.#toldMs !== undefined && !isGone)
      throw broken("is there, and its deletion was acknowledged");
    const kept = [...this.#keys].filter(([, { ends }]) => !ends);
    if (this.#aim !== "forced" && isGone && kept.length > 0 && !this.#mayLackKeys()) {
      throw broken(`is deleted, although it had ${kept.length} keys`);
    }
    for (const node of this.#world.nodes.filter(({ stopped }) => !stopped)) {
      if (isGone) await this.#requireClosed(node);
      else await this.#requireOpen(node, kept);
    }
  }

  deletes(node: SimNode, step: DeletionStep): void {
    const world = this.#world;
    world.trace.line(node.machine.name, `deletes the second instance: ${step}`);
    if (step === "reserve" && this.#random.chance(0.3)) {
      const group = this.#random.pick(world.groups);
      holdNext(world, group, isChange, this.#random.between(2_000, 9_000), () => undefined);
    }
    if (this.#work.isOver || this.#kills >= killsMax || !this.#random.chance(0.15)) return;
    this.#kills += 1;
    const { life } = node.machine;
    world.scheduler.after(this.#random.between(0, 40), () => {
      if (node.machine.life !== life) return;
      world.trace.line("fault", `${node.machine.name} dies at ${step}`);
      node.kill();
      world.scheduler.after(this.#random.between(300, 2_000), () => {
        if (!node.lives) node.start();
      });
    });
  }

  async #client(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    while (this.#work.goesOn) {
      await this.#request(random.pick(world.nodes), this.#wish());
      await world.sleep(random.between(20, 400));
    }
  }

  #wish(): Wish {
    const random = this.#random;
    const ids = [...this.#keys.keys()];
    if (!this.#emptying && random.chance(ids.length === 0 ? 1 : 0.2)) return { kind: "create" };
    const id = random.pick(ids.length === 0 ? ["none"] : ids);
    if (random.chance(0.05)) return { kind: "activate", id };
    return { kind: "get", id };
  }

  async #operator(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    await world.sleep(this.#atMs);
    if (this.#aim === "emptied") await this.#empty();
    if (random.chance(0.5)) this.#cut();
    while (world.failure === undefined) {
      const answer = await this.#order(random.pick(world.nodes));
      world.trace.line("operator", `deletes the second instance: ${answer}`);
      // Not found: an earlier try has deleted it, or the node uses a wrong Redis, so nothing is promised.
      if (answer === "done" || answer === "notFound" || answer === "keysRemain") return;
      if (!this.#persists && (this.#work.isOver || random.chance(0.5))) return;
      await world.sleep(random.between(200, 1_500));
    }
  }

  /** The line between the regions is cut just before the first order. */
  #cut(): void {
    const { scheduler, trace } = this.#world;
    if (this.#work.isOver) return;
    trace.line("fault", "cut between the regions before the deletion");
    const begun = faults["cut between the regions"]?.(this.#world, this.#random);
    const heal = (): void => {
      if (this.#heal === heal) begun?.end?.();
      this.#heal = undefined;
    };
    this.#heal = heal;
    scheduler.after(this.#random.between(2_000, 8_000), heal);
  }

  /** Tries once to destroy each key. */
  async #empty(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    this.#emptying = true;
    for (const [id, known] of this.#keys) {
      known.ends = true;
      await this.#request(random.pick(world.nodes), { kind: "revoke", id, compromised: false });
      await this.#request(random.pick(world.nodes), { kind: "destroy", id });
    }
  }

  /** Orders the deletion at a node: `done`, the code of the refusal, or no answer. */
  async #order(node: SimNode): Promise<string> {
    const world = this.#world;
    const { management } = node;
    if (management === undefined || !node.reachable) return "no answer";
    const query = { name, force: this.#aim === "forced" };
    const call = callOf("deleteInstance", { params: { instance: deleted }, query });
    const work = async (): Promise<string> => {
      const answer = await answerOf(() => management.handlers.deleteInstance(call));
      return answer.kind === "done" ? "done" : answer.code;
    };
    const answer = await world.within(node, work, answerMaxMs);
    if (answer === "done") this.#toldMs ??= world.scheduler.nowMs;
    return answer ?? "no answer";
  }

  /** Sends a client's request, as a node does: only if its certificate is trusted there. */
  async #request(node: SimNode, wish: Wish): Promise<Reply | undefined> {
    const world = this.#world;
    const { client, management } = node;
    if (client === undefined || management === undefined || !node.reachable) return undefined;
    if (!management.admits(fingerprint, deleted)) return undefined;
    const askedMs = world.scheduler.nowMs;
    const freshMs = management.view.freshAtMs ?? 0;
    const reply = await world.within(node, () => ask(client, wish, deleted), clientTimeoutMs);
    if (reply === undefined) return undefined;
    const { answer, id } = reply;
    world.trace.line(node.machine.name, `second instance: ${wish.kind} → ${answer.kind}`);
    if (answer.kind === "done" && wish.kind === "create") {
      this.#keys.set(id, { digest: undefined, ends: this.#emptying });
    }
    if (answer.kind === "material") {
      this.#same(id, answer.digest);
      this.#notTooLate(node, askedMs, freshMs);
    }
    return reply;
  }

  #same(id: string, digest: string): void {
    const known = this.#keys.get(id);
    if (known === undefined) return;
    known.digest ??= digest;
    if (known.digest !== digest) this.#world.fail(broken(`hands out two materials of ${id}`));
  }

  /** After the deletion was acknowledged, a node hands out no key once it has read the system records again. */
  #notTooLate({ machine, region }: SimNode, askedMs: number, freshMs: number): void {
    const { checker, groups } = this.#world;
    const toldMs = this.#toldMs ?? Number.POSITIVE_INFINITY;
    if (askedMs <= toldMs) return;
    // An old copy of a store, or another one, may lack the deletion until it has caught up.
    if (checker.doubts(region) || groups.some(({ losses }) => losses > 0)) return;
    if (freshMs <= toldMs && askedMs <= toldMs + staleMs) return;
    this.#world.fail(
      broken(
        `is deleted since ${Math.round(toldMs)} ms, and ${machine.name} handed out a key of it`,
      ),
    );
  }

  /** Whether a region may have lost keys that it had acknowledged. */
  #mayLackKeys(): boolean {
    const { checker, groups } = this.#world;
    return checker.excusesLost || groups.some(({ losses }) => losses > 0);
  }

  async #requireClosed(node: SimNode): Promise<void> {
    const { machine, management, client } = node;
    if (management?.admits(fingerprint, deleted) === true) {
      throw broken(`is deleted, and ${machine.name} admits its client`);
    }
    for (const id of this.#keys.keys()) {
      if (client === undefined) continue;
      const work = () => ask(client, { kind: "get", id }, deleted);
      const reply = await this.#world.within(node, work, clientTimeoutMs);
      if (reply?.answer.kind === "material") {
        throw broken(`is deleted, and ${machine.name} hands out key ${id} of it`);
      }
    }
  }

  async #requireOpen(node: SimNode, kept: readonly (readonly [string, Known])[]): Promise<void> {
    if (this.#mayLackKeys()) return;
    for (const [id] of kept) {
      for (let tries = 0; ; tries += 1) {
        const reply = await this.#request(node, { kind: "get", id });
        if (reply?.answer.kind === "material") break;
        if (tries === handOutTries) {
          const answer = JSON.stringify(reply?.answer);
          throw broken(
            `is not deleted, and ${node.machine.name} does not hand out ${id}: ${answer}`,
          );
        }
        await this.#world.sleep(500);
      }
    }
  }

  #isGone(): boolean {
    return this.#world.groups.some(
      (group) => this.#record(group)?.object.facts.destroyed !== undefined,
    );
  }

  #hasCertificate(): boolean {
    return this.#world.groups.every(({ primary }) =>
      objectsIn(primary, systemInstance).some((each) => each.uniqueIdentifier === certificateId),
    );
  }

  #record({ primary }: World["groups"][number]) {
    const id = instanceRecordId(deleted);
    const object = objectsIn(primary, systemInstance).find((each) => each.uniqueIdentifier === id);
    const record = object && readAnyRecord(object);
    return object && record?.type === "Instance" ? { object, record } : undefined;
  }

  /** What is wrong in some region if it is not deleted. */
  #wrongIfOpen(): string | undefined {
    for (const group of this.#world.groups) {
      const found = this.#record(group)?.record;
      if (found?.status !== "Installed" || found.removal !== undefined) {
        return `the second instance is ${found?.status} in ${group.region}`;
      }
      const status = statusIn(group.primary, deleted);
      if (status !== "Installed")
        return `the second instance has status ${status} in ${group.region}`;
    }
    return undefined;
  }

  /** What is wrong in some region if it is deleted. */
  #wrongIfGone(): string | undefined {
    for (const group of this.#world.groups) {
      const { region, primary } = group;
      const status = statusIn(primary, deleted);
      if (status !== "Deleted") return `the deleted instance has status ${status} in ${region}`;
      const object = objectsIn(primary, deleted).find(isReadable);
      if (object)
        return `${object.uniqueIdentifier} of the deleted instance has material in ${region}`;
      const record = objectsIn(primary, systemInstance).find(givesAccess);
      if (record)
        return `record ${record.uniqueIdentifier} of the deleted instance is left in ${region}`;
    }
    return undefined;
  }
}

function broken(what: string): Violation {
  return new Violation(`the second instance ${what}`);
}

/** Whether a command changes objects of the second instance, and is refused once that is deleted. */
function isChange(line: CommandLine): boolean {
  const args = line.slice(3 + Number(line[2]));
  return isOf("commit", line) && args[1] === deleted && args[3] !== "none";
}

function isReadable({ facts, material }: ManagedObject): boolean {
  return facts.destroyed === undefined || material !== undefined;
}

/** Whether a system record opens something of the deleted instance. */
function givesAccess(object: ManagedObject): boolean {
  const kek = readKekRecord(object);
  if (kek !== undefined) return kek.instance === deleted && kek.kek.wraps.length > 0;
  const record = readAnyRecord(object);
  if (record === undefined || !("instance" in record) || record.instance !== deleted) return false;
  if (record.type === "Instance" && Object.keys(record.root).length > 0) return true;
  return object.facts.destroyed === undefined;
}

/**
 * An instance that was ordered and configured, and a client's certificate for it. Another try may have made either,
 * or be still without an answer.
 */
async function makeInstance({ management, region }: SimNode): Promise<void> {
  if (management === undefined) return;
  const { records } = management;
  const root = Object.fromEntries(["a", "b"].map((of) => [of, { type: "local" }]));
  const made = { name, createdMs: 1, createdBy: region, status: "Installed", root } as const;
  const dates = { notBeforeMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER };
  const certificate = { ...certificateValues, ...dates, fingerprint, name: "client" };
  const at = instanceRecordId(deleted);
  const work = [
    () => records.create("Instance", { ...made, instance: deleted }, [], { id: at }),
    () =>
      records.create("Certificate", { ...certificate, instance: deleted }, [], {
        id: certificateId,
      }),
  ];
  for (const make of work) {
    try {
      await make();
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error;
    }
  }
}
