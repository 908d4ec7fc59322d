import type { World } from "./world.ts";

/** What the clients and operators of an order do until its end. */
export class OrderWork {
  readonly #world: World;
  #atWork = 0;
  #isOver = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** Whether somebody has not ended yet. */
  get isOpen(): boolean {
    return this.#atWork > 0;
  }

  /** Whether the order has ended: nobody begins anything more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the next turn may begin. */
  get goesOn(): boolean {
    return !this.#isOver && this.#world.failure === undefined;
  }

  begin(work: () => Promise<void>): void {
    this.#atWork += 1;
    const end = (): void => {
      this.#atWork -= 1;
    };
    work().then(end, (error: unknown) => this.#world.crashed(error));
  }

  end(): void {
    this.#isOver = true;
  }
}
