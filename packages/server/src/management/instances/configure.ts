import { ManagementError } from "@holdfast/admin";
import { type Clock, StoreUnavailable, type SystemRecord } from "@holdfast/engine";
import { type Actor, managementEvents } from "../../audit/management-event.ts";
import type { PeerCommands } from "../../records/peer-commands.ts";
import { instanceRecordId, type Records } from "../../records/records.ts";
import { namedRoots, type RootFields } from "../../records/root-reference.ts";
import type { SystemView } from "../../records/system-view.ts";
import { isReady } from "./instance-status.ts";
import type { StatusFollower } from "./status-follower.ts";

export interface ConfigureOptions {
  readonly regions: () => readonly string[];
  readonly view: Pick<SystemView, "get" | "refresh">;
  readonly records: Pick<Records, "change">;
  readonly commands: Pick<PeerCommands, "others" | "ask">;
  readonly statuses: Pick<StatusFollower, "follow">;
  /** Has regions look at the root of trust of an instance now, and make its first KEK where none exists. */
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

  /** A region for which the record names no root of trust; undefined where every region has one. */
  missing(record: RootFields): string | undefined {
    return this.#options.regions().find((region) => {
      const { current, next } = namedRoots(record, region);
      return current === undefined && next === undefined;
    });
  }

  /**
   * Waits a bounded time until the instance is Installed in every region; the leaders do the rest. The instance's
   * record has the reason that a region is not ready.
   */
  async configured(instance: string, actor: Actor): Promise<void> {
    const { records, clock, sleep, view, waitMs = waitDefaultMs } = this.#options;
    const { record } = await records.change(
      "Instance",
      instanceRecordId(instance),
      (found) => {
        if (found.status !== "Inactive" || this.missing(found) !== undefined) return undefined;
        return { status: "Configuring" } as const;
      },
      [],
    );
    if (record.status !== "Configuring") return;
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

  /** Makes an instance Installed where it is usable in every region; answers whether it is Installed now. */
  async install(instance: string, actor: Actor): Promise<boolean> {
    const { records, clock, statuses, commands, regions } = this.#options;
    const known = this.#record(instance);
    if (known === undefined || !isReady(known, regions())) return false;
    // First the stores must accept keys; only then may the certificates admit clients.
    await statuses.follow(instance);
    const others = commands.others.map((other) =>
      commands.ask(other, "followInstance", { instance }).catch(passing),
    );
    await Promise.all(others);
    const timeMs = clock.wallMs();
    const target = { id: instance, name: known.name, instance };
    const { record } = await records.change(
      "Instance",
      instanceRecordId(instance),
      (now) => {
        if (now.status !== "Configuring" || !isReady(now, regions())) return undefined;
        return { status: "Installed", configuredMs: timeMs } as const;
      },
      managementEvents(actor, "instance.configure", target, { timeMs }),
    );
    return record.status === "Installed";
  }

  #record(instance: string): SystemRecord<"Instance"> | undefined {
    return this.#options.view.get("Instance", instanceRecordId(instance));
  }
}

/** The leaders continue the configuration. */
function passing(error: unknown): void {
  if (error instanceof ManagementError || error instanceof StoreUnavailable) return;
  throw error;
}
