import type { SystemView } from "../../records/system-view.ts";
import { Refused } from "../problem.ts";

/** Finds the instance that a caller names. */
export interface InstanceNames {
  /** By identifier, or by the name of an instance that is not deleted; undefined if none fits. */
  idOf(text: string): string | undefined;
  /** Reads what other nodes wrote a moment ago; never rejects. */
  lookAgain?(): Promise<void>;
}

/** Looks instances up in the view of the system records. */
export class ViewedInstances implements InstanceNames {
  readonly #view: Pick<SystemView, "all" | "freshAtMs" | "refresh">;

  constructor(view: Pick<SystemView, "all" | "freshAtMs" | "refresh">) {
    this.#view = view;
  }

  idOf(text: string): string | undefined {
    if (this.#view.freshAtMs === undefined) {
      throw new Refused({
        code: "storeUnavailable",
        detail: "this node has not read the instances yet; try again in a moment",
      });
    }
    let named: string | undefined;
    for (const { instance, name, destroyed } of this.#view.all("Instance")) {
      if (instance === text) return instance;
      if (destroyed === undefined && name === text) named ??= instance;
    }
    return named;
  }

  async lookAgain(): Promise<void> {
    await this.#view.refresh().catch(() => undefined);
  }
}
