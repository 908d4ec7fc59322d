import type { LeaderLock } from "@holdfast/regions";
import type { Life } from "./machine.ts";
import type { Network } from "./network.ts";

/** A region's lock masters in one place: it answers by name, and forgets a lease at its end. */
export class SimLock {
  readonly #network: Network;
  readonly #place: string;
  #holder: Life | undefined;
  #untilMs = 0;

  constructor(region: string, network: Network) {
    this.#network = network;
    this.#place = `${region}:lock`;
  }

  /** The lock for one node. */
  of(life: Life): LeaderLock {
    return {
      acquire: (ttlMs) => this.#ask(life, () => this.#take(life, ttlMs, false)),
      extend: (ttlMs) => this.#ask(life, () => this.#take(life, ttlMs, true)),
      release: async () => {
        await this.#ask(life, () => {
          if (this.#holder === life) this.#holder = undefined;
          return true;
        });
      },
    };
  }

  /** Loses its memory, as lock masters do that start anew without a file. */
  forget(): void {
    this.#holder = undefined;
  }

  #take(life: Life, ttlMs: number, again: boolean): boolean {
    const now = life.machine.monotonicMs();
    const held = this.#holder !== undefined && this.#untilMs > now;
    if (held ? this.#holder !== life : again) return false;
    this.#holder = life;
    this.#untilMs = now + ttlMs;
    return true;
  }

  #ask(life: Life, work: () => boolean): Promise<boolean> {
    const { name } = life.machine;
    return life.wait((resolve) => {
      const callOff = life.after(800, () => resolve(false));
      this.#network.send(name, this.#place, () => {
        const result = work();
        this.#network.send(this.#place, name, () => {
          callOff();
          resolve(result);
        });
      });
    });
  }
}
