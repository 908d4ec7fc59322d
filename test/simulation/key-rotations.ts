import { StoreUnavailable } from "@holdfast/engine";
import { Violation } from "./checker.ts";
import { rotationIn, unprovenIn } from "./look.ts";
import type { SimNode } from "./node.ts";
import type { Order } from "./order.ts";
import { OrderWork } from "./order-work.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const operators = 2;
const answerMaxMs = 8_000;

/** A rotation that began for certain. */
interface Rotation {
  readonly storeId: string;
  /** The number of its new key. */
  readonly number: number;
}

/**
 * Operators rotate the storage keys of both regions, at any node, one rotation after the other. Each that began must end, and
 * then everything that is left must prove itself with the new key alone.
 */
export class KeyRotations implements Order {
  readonly #world: World;
  readonly #random: Random;
  readonly #atMs: number;
  readonly #work: OrderWork;
  readonly #begun: Rotation[] = [];

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

  get open(): string | undefined {
    if (this.#work.isOpen) return "operators rotate storage keys";
    const { groups } = this.#world;
    const going = groups.find(({ primary }) => rotationIn(primary).isUnderWay);
    return going && `the rotation of the storage key of ${going.region} is under way`;
  }

  async check(): Promise<void> {
    for (const { region, primary } of this.#world.groups) {
      const { storeId, number } = rotationIn(primary);
      const lost = this.#begun.find((one) => one.storeId === storeId && one.number > number);
      if (lost !== undefined) {
        throw new Violation(
          `storage key ${lost.number} of ${region} was acknowledged, and ${number} is the newest`,
        );
      }
      const unproven = unprovenIn(primary);
      if (unproven === undefined) continue;
      throw new Violation(`storage key ${number} of ${region} does not prove ${unproven}`);
    }
  }

  async #operator(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    await world.sleep(this.#atMs * random.between(0.1, 1));
    while (this.#work.goesOn) {
      await this.#rotate(random.pick(world.nodes));
      await world.sleep(random.between(200, 2_500));
    }
  }

  async #rotate(node: SimNode): Promise<void> {
    const world = this.#world;
    const { own, region, machine } = node;
    const storeId = own?.storeId;
    if (own === undefined || storeId === undefined) return;
    const root = world.rootOf(region);
    const bytes = (count: number) => this.#random.bytes(count);
    const number = await world.within(
      node,
      () => own.rotateStorageKey(root, bytes).catch(refusal),
      answerMaxMs,
    );
    world.trace.line(machine.name, `storage key: ${number ?? "no rotation"}`);
    if (number === undefined || own.storeId !== storeId) return;
    if (this.#begun.some((one) => one.storeId === storeId && one.number === number)) {
      world.fail(new Violation(`two rotations of ${region} have made storage key ${number}`));
    }
    this.#begun.push({ storeId, number });
  }
}

/** Takes the refusal of a rotation, which may have begun or not. Any other error is a bug. */
function refusal(error: unknown): undefined {
  if (!(error instanceof StoreUnavailable)) throw error;
}
