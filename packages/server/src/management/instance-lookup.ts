import { ManagementError } from "@holdfast/admin";
import type { Instance } from "../access/instances.ts";
import type { SystemView } from "../records/system-view.ts";
import type { InstanceHoldings, InstanceIndex } from "./instance-index.ts";

/** An instance as management finds it. */
export interface FoundInstance extends InstanceHoldings {
  readonly name: string;
  /** What the configuration says of it, where that declares it. */
  readonly declared: Instance | undefined;
  /** As wanted; empty where it is declared. */
  readonly status: string;
}

/** What instances are looked up in. */
export interface InstanceLookupOptions {
  readonly view: Pick<SystemView, "refresh">;
  readonly index: Pick<InstanceIndex, "of" | "all">;
  /** Those of the configuration. */
  readonly declared: () => readonly Instance[];
}

const nothing = { certificates: new Map(), users: new Map(), authority: undefined };

/** Finds the instance that a caller names. */
export class InstanceLookup {
  readonly #options: InstanceLookupOptions;

  constructor(options: InstanceLookupOptions) {
    this.#options = options;
  }

  /** By identifier or name; an instance made at another node a moment ago is found too. Rejects with `notFound`. */
  async find(text: string): Promise<FoundInstance> {
    const found = this.#find(text);
    if (found !== undefined) return found;
    await this.refresh();
    const later = this.#find(text);
    if (later !== undefined) return later;
    throw new ManagementError("notFound", "there is no such instance");
  }

  /** One whose certificates and users management may change. */
  async managed(text: string): Promise<FoundInstance> {
    const found = await this.find(text);
    if (found.declared !== undefined || found.status === "") {
      throw new ManagementError(
        "declared",
        `${found.name} is declared in the nodes' configuration file: change it there, at every node`,
      );
    }
    if (found.status === "Removing" || found.status === "Deleted") {
      throw new ManagementError("wrongState", `${found.name} is ${found.status}`);
    }
    return found;
  }

  /** One that has keys to seal with. */
  async installed(text: string): Promise<FoundInstance> {
    const found = await this.managed(text);
    if (found.status === "Installed") return found;
    throw new ManagementError(
      "wrongState",
      `${found.name} is ${found.status}: configure its root of trust first, since this takes its keys`,
    );
  }

  /** Sees what other nodes wrote; where no store can be read, what is known goes. */
  async refresh(): Promise<void> {
    await this.#options.view.refresh().catch(() => undefined);
  }

  #find(text: string): FoundInstance | undefined {
    const { index, declared } = this.#options;
    const own = declared().find(({ id, name }) => id === text || name === text);
    if (own !== undefined) {
      const holdings = index.of(own.id) ?? { ...nothing, id: own.id, document: undefined };
      return { ...holdings, name: own.name, declared: own, status: "" };
    }
    // The identifier of one that was deleted is no other's name, whatever somebody called it.
    const holdings = index.of(text) ?? this.#named(text);
    if (holdings?.document === undefined) return undefined;
    const { name = "", status = "" } = holdings.document.fields;
    return { ...holdings, name, declared: undefined, status };
  }

  #named(name: string): InstanceHoldings | undefined {
    for (const holdings of this.#options.index.all()) {
      if (holdings.document?.fields["name"] === name) return holdings;
    }
    return undefined;
  }
}
