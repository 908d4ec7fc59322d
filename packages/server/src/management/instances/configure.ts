import { ManagementError } from "@holdfast/admin";
import { type Clock, StoreUnavailable, systemTypes } from "@holdfast/engine";
import { type Actor, managementEvents } from "../../audit/management-event.ts";
import type { PeerCommands } from "../../records/peer-commands.ts";
import { instanceRecordId, type Records } from "../../records/records.ts";
import { namedRoots } from "../../records/root-reference.ts";
import type { SystemView } from "../../records/system-view.ts";
import { type InstanceEntry, isReady, readInstance } from "./instance-entry.ts";
import type { StatusFollower } from "./status-follower.ts";

export interface ConfigureOptions {
  readonly regions: () => readonly string[];
  readonly view: Pick<SystemView, "get" | "refresh">;
  readonly records: Pick<Records, "change">;
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly statuses: Pick<StatusFollower, "follow">;
  /** Has regions look at the root of trust of an instance now, and make its first KEK where there is none. */
  readonly settle: (instance: string, regions: readonly string[]) => Promise<unknown>;
  readonly clock: Clock;
  readonly sleep: (ms: number) => Promise<void>;
  /** How long an order waits until the instance is Installed; 6,000 unless given. */
  readonly waitMs?: number;
}

const waitDefaultMs = 6_000;
const lookAgainMs = 150;

/** Brings an instance from Inactive over Configuring to Installed, once its roots of trust were named and checked. */
export class ConfigureInstance {
  readonly #options: ConfigureOptions;

  constructor(options: ConfigureOptions) {
    this.#options = options;
  }

  /** Its roots of trust were named: in which region one is missing, or undefined where none is. */
  missing({ fields }: Pick<InstanceEntry, "fields">): string | undefined {
    return this.#options.regions().find((region) => {
      const { current, next } = namedRoots(fields, region);
      return current === undefined && next === undefined;
    });
  }

  /**
   * Waits a bounded time until the instance is Installed in every region; what is left then is the leaders'. Whatever
   * keeps a region from it stands in the instance's record.
   */
  async configured(instance: string, actor: Actor): Promise<void> {
    const { records, clock, sleep, view, waitMs = waitDefaultMs } = this.#options;
    const written = await records.change(
      systemTypes.Instance,
      instanceRecordId(instance),
      (document) => {
        const entry = readInstance(document);
        if (entry?.wanted !== "Inactive" || this.missing(entry) !== undefined) return undefined;
        return { status: "Configuring" };
      },
      [],
    );
    if (readInstance(written.document)?.wanted !== "Configuring") return;
    const untilMs = clock.monotonicMs() + waitMs;
    for (;;) {
      // One after the other: two that find no KEK at the same time would make two.
      for (const region of this.#options.regions().toSorted()) {
        await this.#options.settle(instance, [region]).catch(passing);
      }
      await view.refresh().catch(passing);
      if (await this.install(instance, actor)) return;
      if (clock.monotonicMs() >= untilMs) return;
      await sleep(lookAgainMs);
    }
  }

  /** Makes an instance Installed where it is usable in every region; whether it is so now. */
  async install(instance: string, actor: Actor): Promise<boolean> {
    const { records, clock, statuses, commands, regions } = this.#options;
    const entry = this.#entry(instance);
    if (entry === undefined || !isReady(entry, regions())) return false;
    // The stores take keys first; then the certificates let clients in.
    await statuses.follow(instance);
    const others = commands.others.map((other) =>
      commands.ask(other, "followInstance", { instance }).catch(passing),
    );
    await Promise.all(others);
    const timeMs = clock.wallMs();
    const target = { id: instance, name: entry.name, instance };
    const { document } = await records.change(
      systemTypes.Instance,
      instanceRecordId(instance),
      (found) => {
        const now = readInstance(found);
        if (now?.wanted !== "Configuring" || !isReady(now, regions())) return undefined;
        return { status: "Installed", configuredMs: String(timeMs) };
      },
      managementEvents(actor, "instance.configure", target, { timeMs }),
    );
    return readInstance(document)?.wanted === "Installed";
  }

  #entry(instance: string): InstanceEntry | undefined {
    const document = this.#options.view.get(systemTypes.Instance, instanceRecordId(instance));
    return document && readInstance(document);
  }
}

/** The leaders go on with it. */
function passing(error: unknown): void {
  if (error instanceof ManagementError || error instanceof StoreUnavailable) return;
  throw error;
}
