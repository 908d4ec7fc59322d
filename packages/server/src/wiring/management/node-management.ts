import { setTimeout as delay } from "node:timers/promises";
import {
  type InstanceKeyRing,
  KeyRingUnavailable,
  type ManagedObject,
  systemInstance,
} from "@holdfast/engine";
import { filledOnce, JoinRules } from "../../approvals/join-rules.ts";
import { isEmptyIn } from "../../management/instances/deletion.ts";
import { isSamePassword } from "../../management/users/recorded-users.ts";
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
  parts: Parts,
  regions: Regions,
  tenants: Pick<Tenants, "instances">,
): Management {
  const { region } = parts.config;
  const { observe, opened } = parts;
  const { own, peers, store } = regions;
  const { monotonicMs } = clock;
  const source = () => viewSource(store.serving());
  const { found: damaged } = opened.use(new DamagedRecords({ store, own, observe }));
  const believes = (object: ManagedObject) => regions.joining.rules?.believes(object) ?? true;
  const isFilled = filledOnce(own);
  const options = { own, peers, source, monotonicMs, observe, believes, isFilled, damaged };
  const view = opened.use(new SystemView(options));
  regions.joining.rules = joinRules(region, view, regions, tenants);
  const unexpected = (cause: unknown): void =>
    observe({ type: "warning", message: "a command of the other region failed", cause });
  const commands = new PeerCommands({ region, peers, unexpected });
  const presence = new Presence({ region, commands, view, monotonicMs });
  const others = () => commands.others;
  const records = new Records({ region, others, store, view, clock, ids, presence });
  commands.serve({ has: async (input) => ({ had: has(view, input.records) }) });
  return { view, records, commands, presence, pushed: (objects) => view.take(objects) };
}

/** What this region takes from the other. */
function joinRules(
  region: string,
  view: SystemView,
  { own, clocks, joining }: Regions,
  tenants: Pick<Tenants, "instances">,
): JoinRules {
  return new JoinRules({
    region,
    view,
    policyMs: () => clocks.earliestMs(),
    wallMs: clock.wallMs,
    isFilled: filledOnce(own),
    declared: (instance) => tenants.instances.find(({ id }) => id === instance),
    checks: {
      isEmpty: (instance) => isEmptyIn(own, instance),
      sameSecret: async (user, one, other) =>
        joining.keyRing !== undefined && (await isSamePassword(joining.keyRing, user, one, other)),
      prove: async (kek, wrap) => {
        if (joining.keyRing !== undefined) return await joining.keyRing.prove(kek, wrap);
        throw new KeyRingUnavailable(false, "no root of trust is open yet");
      },
      stored: async (ids) => {
        const { replicationId: store } = await own.position();
        const found = await own.read(systemInstance, ids);
        return { store, records: found.flatMap((each) => each?.object ?? []) };
      },
    },
  });
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
