import type { PeerCommands } from "../../records/peer-commands.ts";

export interface EndpointsOptions {
  readonly region: string;
  readonly own: readonly string[];
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly monotonicMs: () => number;
}

const askAgainMs = 30_000;

/** Where clients connect in each region: this one's as configured, the others' as they last reported. */
export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly #others = new Map<string, readonly string[]>();
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(options: EndpointsOptions) {
    this.#options = options;
  }

  /** Never waits. */
  readonly of = (region: string): readonly string[] => {
    const { own } = this.#options;
    return region === this.#options.region ? own : (this.#others.get(region) ?? []);
  };

  /** Asks the other regions if the last time was long ago; a region that cannot be asked keeps its last answer. */
  async refresh(): Promise<void> {
    const { commands, monotonicMs } = this.#options;
    if (monotonicMs() - this.#askedMs < askAgainMs) return;
    this.#askedMs = monotonicMs();
    const asked = commands.others.map(async (region) => {
      const { endpoints } = await commands.ask(region, "readEndpoints", {});
      this.#others.set(region, endpoints);
    });
    const answers = await Promise.allSettled(asked);
    if (answers.some(({ status }) => status === "rejected")) {
      this.#askedMs = Number.NEGATIVE_INFINITY;
    }
  }
}
