import type { SystemRecord } from "@holdfast/engine";
import type { SystemView } from "../../records/system-view.ts";
import { Refused } from "../problem.ts";

/** Finds the instance that a caller names. */
export interface InstanceNames {
  /** By identifier, or by the name of an instance that is not deleted; undefined if none fits. */
  idOf(text: string): string | undefined;
  /** Identifiers of the instances that have all of these labels (key → value). */
  labelled(labels: ReadonlyMap<string, string>): readonly string[];
}

/** Looks instances up in the view of the system records. */
export class ViewedInstances implements InstanceNames {
  readonly #view: Pick<SystemView, "all" | "freshAtMs" | "refresh">;

  constructor(view: Pick<SystemView, "all" | "freshAtMs" | "refresh">) {
    this.#view = view;
  }

  idOf(text: string): string | undefined {
    let named: string | undefined;
    for (const { instance, name, destroyed } of this.#all()) {
      if (instance === text) return instance;
      if (destroyed === undefined && name === text) named ??= instance;
    }
    return named;
  }

  labelled(labels: ReadonlyMap<string, string>): readonly string[] {
    return this.#all()
      .filter((one) => [...labels].every(([key, value]) => one.labels[key] === value))
      .map(({ instance }) => instance);
  }

  #all(): readonly SystemRecord<"Instance">[] {
    if (this.#view.freshAtMs === undefined) {
      throw new Refused({
        code: "storeUnavailable",
        detail: "this node has not read the instances yet; try again in a moment",
      });
    }
    return this.#view.all("Instance");
  }

  /** Reads what other nodes wrote a moment ago; never rejects. */
  async lookAgain(): Promise<void> {
    await this.#view.refresh().catch(() => undefined);
  }
}
