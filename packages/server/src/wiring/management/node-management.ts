import { setTimeout as delay } from "node:timers/promises";
import type { InstanceKeyRing, ManagedObject } from "@holdfast/engine";
import { DamagedRecords } from "../../records/damaged-records.ts";
import { PeerCommands } from "../../records/peer-commands.ts";
import { has, Presence } from "../../records/presence.ts";
import { Records } from "../../records/records.ts";
import { SystemView, viewSource } from "../../records/system-view.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import type { Regions } from "../node-regions.ts";
import type { Tenants } from "../node-tenants.ts";

/** How long a start waits for revocation lists. */
const listsMs = 5000;

export interface Management {
  readonly view: SystemView;
  readonly records: Records;
  readonly commands: PeerCommands;
  readonly presence: Presence;
  /** Takes what another region pushed: a revocation takes effect at once. */
  readonly pushed: (objects: readonly ManagedObject[]) => void;
}

/** Follows the system records of all regions, from the own store or the other's, and opens what writes them. */
export function openManagement(
  { config: { region }, observe, opened }: Parts,
  { own, peers, store }: Regions,
): Management {
  const { monotonicMs } = clock;
  const source = () => viewSource(store.serving());
  const { found: damaged } = opened.use(new DamagedRecords({ store, own, observe }));
  const view = opened.use(new SystemView({ own, peers, source, monotonicMs, observe, damaged }));
  const unexpected = (cause: unknown): void =>
    observe({ type: "warning", message: "a command of the other region failed", cause });
  const commands = new PeerCommands({ region, peers, unexpected });
  const presence = new Presence({ region, commands, view, monotonicMs });
  const others = () => commands.others;
  const records = new Records({ region, others, store, view, clock, ids, presence });
  commands.serve({ has: async (input) => ({ had: has(view, input.records) }) });
  return { view, records, commands, presence, pushed: (objects) => view.take(objects) };
}

/** Admits the clients that the system records name. */
export async function followTenants(
  { opened }: Parts,
  { view }: Management,
  keyRing: InstanceKeyRing,
  tenants: Tenants,
): Promise<void> {
  opened.use(tenants.follow(view, keyRing));
  // The trust should be known before the first client connects; the node must not wait for a store out of reach, nor for
  // a web server that does not answer.
  const lists = Promise.race([tenants.revocations.reload(), delay(listsMs)]);
  await Promise.all([view.refresh().catch(() => undefined), lists]);
}
