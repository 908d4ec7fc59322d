import { HelperProcess } from "./helper-process.ts";
import type { HoldPlan, LoadAnswer, LoadPlan, LoadRequest, LoadResult } from "./load-plan.ts";

/** Makes load from its own process, so that its work is not counted as the server's. */
export class LoadGenerator implements AsyncDisposable {
  readonly #process: HelperProcess<LoadRequest, LoadAnswer>;

  /** The signal ends it, and rejects everything that waits for its answer. */
  constructor(signal: AbortSignal) {
    this.#process = new HelperProcess("load-process.ts", signal);
  }

  async load(plan: LoadPlan): Promise<LoadResult> {
    const answer = await this.#process.ask({ do: "load", plan });
    if ("result" in answer) return answer.result;
    throw new Error(reasonIn(answer));
  }

  /** Opens connections and keeps them until `release`. */
  async hold(plan: HoldPlan): Promise<void> {
    const answer = await this.#process.ask({ do: "hold", plan });
    if (!("held" in answer) || answer.held !== plan.connections) throw new Error(reasonIn(answer));
  }

  async release(): Promise<void> {
    const answer = await this.#process.ask({ do: "release" });
    if (!("released" in answer)) throw new Error(reasonIn(answer));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

function reasonIn(answer: LoadAnswer): string {
  return "error" in answer ? answer.error : "the load generator answered something else";
}
