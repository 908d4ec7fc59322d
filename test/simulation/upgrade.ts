import { recordFormat } from "@holdfast/engine";
import { requiredFormat } from "./look.ts";
import type { SimNode } from "./node.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const againMs = 500;
/** A leader of the new release that is replaced may still require its format for so long. */
const lateMs = 3_000;
const nextFormat = recordFormat + 1;

/**
 * A release that writes the next format of records comes to all nodes, one after the other; some nodes, or all of them, may
 * go back. Once a store requires the new format, the operator must finish the upgrade.
 */
export class Upgrade {
  readonly #world: World;
  readonly #random: Random;
  #target = nextFormat;
  #isEnding = false;
  #isOver = false;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#run().catch((error: unknown) => world.crashed(error));
  }

  end(): void {
    this.#isEnding = true;
  }

  /** What is not over yet. */
  get open(): string | undefined {
    if (!this.#isOver) return "the upgrade is under way";
    if (this.#target === recordFormat) return undefined;
    const behind = this.#world.groups.find(({ primary }) => requiredFormat(primary) !== nextFormat);
    return behind && `the store of region ${behind.region} does not require the new format`;
  }

  async #run(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    await this.#roll(nextFormat);
    const goesBack = random.chance(0.3);
    while (!this.#isEnding) {
      await world.sleep(random.between(200, againMs));
      if (random.chance(0.2)) await this.#start(random.pick(world.nodes), recordFormat);
    }
    // Going back is possible until a store requires the new format: then nodes of the old release do not start.
    if (goesBack && !this.#isRequired()) {
      this.#target = recordFormat;
      await this.#roll(recordFormat);
      await world.sleep(lateMs);
    }
    if (this.#isRequired() || this.#target === nextFormat) {
      this.#target = nextFormat;
      await this.#roll(nextFormat);
    }
    if (this.#target === nextFormat) await this.#comeTooLate();
    this.#isOver = true;
  }

  /** One node goes back although its store requires the new format. */
  async #comeTooLate(): Promise<void> {
    const world = this.#world;
    const random = this.#random;
    while (!this.#isRequired()) await world.sleep(againMs);
    const node = random.pick(world.nodes);
    await this.#start(node, recordFormat);
    await world.sleep(random.between(1_000, 3_000));
    await this.#start(node, nextFormat);
  }

  #isRequired(): boolean {
    return this.#world.groups.some(({ primary }) => requiredFormat(primary) === nextFormat);
  }

  async #roll(format: number): Promise<void> {
    const random = this.#random;
    const mixed = this.#world.nodes.toSorted(() => random.below(3) - 1);
    const byRegion = random.chance(0.5);
    const order = byRegion ? mixed.toSorted((a, b) => (a.region < b.region ? -1 : 1)) : mixed;
    for (const [at, node] of order.entries()) {
      // One region may be ready long before the other one.
      if (byRegion && order[at - 1]?.region !== node.region) {
        await this.#world.sleep(random.between(0, 7_000));
      }
      await this.#start(node, format);
    }
  }

  async #start(node: SimNode, format: number): Promise<void> {
    if (node.setup.format === format) return;
    this.#world.trace.line("operator", `starts ${node.machine.name} with format ${format}`);
    node.restart({ format });
    await this.#world.sleep(this.#random.between(100, 1_500));
  }
}
