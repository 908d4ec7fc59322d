import { ManagementError } from "@holdfast/admin";
import type { SystemRecord } from "@holdfast/engine";
import type { Instance } from "../access/instances.ts";
import type { SystemView } from "../records/system-view.ts";

/** An instance as management finds it. */
export interface FoundInstance {
  readonly id: string;
  readonly name: string;
  /** Undefined while this node has not seen it, and after its deletion. */
  readonly record: SystemRecord<"Instance"> | undefined;
  readonly certificates: ReadonlyMap<string, SystemRecord<"Certificate">>;
  /** By the identifiers of their records. */
  readonly users: ReadonlyMap<string, SystemRecord<"User">>;
  /** Its own authority. */
  readonly authority: SystemRecord<"Authority"> | undefined;
  /** Its declaration in the configuration, where it has one. */
  readonly declared: Instance | undefined;
  /** The wanted status; empty where it is declared. */
  readonly status: string;
}

/** What instances are looked up in. */
export interface InstanceLookupOptions {
  readonly view: Pick<SystemView, "refresh" | "of" | "all">;
  /** Those of the configuration. */
  readonly declared: () => readonly Instance[];
}

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
    throw new ManagementError("notFound", "instance not found");
  }

  /** Finds an instance whose certificates and users management may change. */
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

  /** Finds an instance that has keys to seal with. */
  async installed(text: string): Promise<FoundInstance> {
    const found = await this.managed(text);
    if (found.status === "Installed") return found;
    throw new ManagementError(
      "wrongState",
      `${found.name} is ${found.status}: configure its root of trust first, since this needs its keys`,
    );
  }

  /** Sees what other nodes wrote; where no store can be read, uses what this node knows. */
  async refresh(): Promise<void> {
    await this.#options.view.refresh().catch(() => undefined);
  }

  #find(text: string): FoundInstance | undefined {
    const { view, declared } = this.#options;
    const own = declared().find(({ id, name }) => id === text || name === text);
    if (own !== undefined) {
      return { ...this.#holdings(own.id), name: own.name, declared: own, status: "" };
    }
    const all = view.all("Instance");
    // The identifier of a deleted instance finds no other one, even if somebody gave it that name.
    const record =
      all.find(({ instance }) => instance === text) ??
      all.find(({ name, destroyed }) => name === text && destroyed === undefined);
    if (record === undefined || record.destroyed !== undefined) return undefined;
    const { instance, name, status = "" } = record;
    return { ...this.#holdings(instance), name, declared: undefined, status };
  }

  #holdings(id: string) {
    const { view } = this.#options;
    const [record] = view.of("Instance", id).values();
    const [authority] = view.of("Authority", id).values();
    const [certificates, users] = [view.of("Certificate", id), view.of("User", id)];
    return { id, record, certificates, users, authority };
  }
}
