import { StoreUnavailable } from "@holdfast/engine";
import type { Life } from "./machine.ts";
import type { Network } from "./network.ts";
import type { RedisGroup, SentinelAnswer } from "./redis-group.ts";
import type { RedisProcess } from "./redis-process.ts";

/** After this time a command fails and its connection is destroyed. */
const commandTimeoutMs = 1_200;

/** A node's connections to its region's Redis and Sentinels. */
export class StoreLink {
  readonly life: Life;
  readonly group: RedisGroup;
  readonly #network: Network;

  constructor(life: Life, group: RedisGroup, network: Network) {
    this.life = life;
    this.group = group;
    this.#network = network;
  }

  /**
   * Runs something in a process and returns its answer. A command that fails by timeout may still be done. `runId`
   * names the process of the connection: another one does not answer. `kind` is for
   * a story.
   */
  call<Value>(
    process: RedisProcess,
    runId: string | undefined,
    work: (answer: (value: Value) => void) => void,
    kind?: string,
  ): Promise<Value> {
    const { name } = this.life.machine;
    return this.life.wait((resolve, reject) => {
      const callOff = this.life.after(commandTimeoutMs, () =>
        reject(new StoreUnavailable("timeout", `${process.name} does not answer`)),
      );
      const back = (settle: () => void): void =>
        this.#network.send(process.name, name, () => {
          callOff();
          settle();
        });
      const refused = (): void =>
        back(() => reject(new StoreUnavailable("noLease", `${process.name}: connection lost`)));
      const come = (): void => {
        try {
          work((value) => back(() => resolve(value)));
        } catch (error) {
          back(() => reject(error));
        }
      };
      this.#network.send(name, process.name, () => process.receive(runId, come, refused), kind);
    });
  }

  /** Asks the Sentinels. */
  ask(): Promise<SentinelAnswer> {
    const { name } = this.life.machine;
    const { sentinel } = this.group;
    return this.life.wait((resolve, reject) => {
      const callOff = this.life.after(commandTimeoutMs, () =>
        reject(new StoreUnavailable("timeout", "no Sentinel answers")),
      );
      this.#network.send(name, sentinel, () => {
        const answer = this.group.ask();
        this.#network.send(sentinel, name, () => {
          callOff();
          resolve(answer);
        });
      });
    });
  }
}
