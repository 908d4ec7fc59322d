import type { X509Certificate } from "node:crypto";
import { type Call, type Contract, contract, type Handlers } from "@holdfast/admin";
import type { Event, Ids, InstanceKeyRing, OwnStore } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { Duty, Peer, RegionalStore } from "@holdfast/regions";
import { Trust } from "../../packages/server/src/access/trust.ts";
import { Idempotency } from "../../packages/server/src/admin/idempotency.ts";
import { MadeBefore } from "../../packages/server/src/admin/made-before.ts";
import { RecordedTrust } from "../../packages/server/src/management/certificates/recorded-trust.ts";
import { Freshness } from "../../packages/server/src/management/freshness.ts";
import { InstanceLookup } from "../../packages/server/src/management/instance-lookup.ts";
import { ConfigureInstance } from "../../packages/server/src/management/instances/configure.ts";
import { Deletion, keyCounts } from "../../packages/server/src/management/instances/deletion.ts";
import { Endpoints } from "../../packages/server/src/management/instances/endpoints.ts";
import { instanceHandlers } from "../../packages/server/src/management/instances/instance-handlers.ts";
import { InstancesDuty } from "../../packages/server/src/management/instances/instances-duty.ts";
import { ShowInstances } from "../../packages/server/src/management/instances/show-instance.ts";
import { StatusFollower } from "../../packages/server/src/management/instances/status-follower.ts";
import type { NodeEvent } from "../../packages/server/src/observe/events.ts";
import { PeerCommands } from "../../packages/server/src/records/peer-commands.ts";
import { has, Presence } from "../../packages/server/src/records/presence.ts";
import { Records } from "../../packages/server/src/records/records.ts";
import { SystemView, viewSource } from "../../packages/server/src/records/system-view.ts";
import { instance } from "./client.ts";
import type { Life } from "./machine.ts";
import type { NodeOptions, SimNode } from "./node.ts";
import { timersOf } from "./store/sim-connection.ts";

/** How soon a leader continues a deletion without progress: sooner than in the product, since a history is short. */
const abandonedMs = 2_000;
/** How often a node looks whether its list of clients is fresh, as in the product. */
const freshEveryMs = 250;

/** What manages instances at a node, and decides who is their client. */
export interface NodeManagement {
  readonly view: SystemView;
  readonly records: Records;
  readonly commands: PeerCommands;
  readonly handlers: ReturnType<typeof instanceHandlers>;
  /** Orders an instance; a call with the idempotency key of an earlier one makes nothing twice. */
  readonly create: (call: CreateCall, key: string) => Promise<unknown>;
  readonly duty: Duty;
  /** Whether a client with this certificate, by its SHA-256 in hex, may use an instance here now. */
  readonly admits: (fingerprint: string, instance: string) => boolean;
}

type CreateCall = Call<Contract["createInstance"]>;

/** The parts of a node that its management uses. */
interface ManagedParts {
  readonly opened: RedisStore;
  readonly own: OwnStore;
  readonly store: RegionalStore;
  readonly peers: readonly Peer[];
  readonly ids: Ids;
  readonly keyRing: InstanceKeyRing;
}

/** Puts the management of a node together as the product does. */
export function manage(
  life: Life,
  node: SimNode,
  { region, machine, listener, flaws }: NodeOptions,
  { opened, own, store, peers, ids, keyRing }: ManagedParts,
): NodeManagement {
  const { timers: clock } = life;
  const { monotonicMs } = clock;
  const observe = (event: NodeEvent): void => listener.event(machine.name, event as Event);
  const source = () => viewSource(store.serving());
  const timers = timersOf(life);
  const view = new SystemView({ own, peers, source, monotonicMs, timers, observe });
  const commands = new PeerCommands({ region, peers, unexpected: listener.crashed });
  const presence = new Presence({ region, commands, view, monotonicMs });
  const others = () => commands.others;
  const records = new Records({ region, others, store, view, clock, ids, presence });
  const regions = () => [region, ...others()];
  const statuses = new StatusFollower({ own: { ...statusesOf(opened), read: own.read }, regions });
  const endpoints = new Endpoints({ region, own: [machine.name], commands, monotonicMs });
  commands.serve({
    has: async (input) => ({ had: has(view, input.records) }),
    countStates: async ({ instance: of }) => {
      const states = await keyCounts(own, of);
      return { ...(states !== undefined && { states }) };
    },
    followInstance: async ({ instance: of }) => {
      const followed = await statuses.follow(of);
      return { ...(followed !== undefined && { status: followed.status }) };
    },
    readEndpoints: async () => ({ endpoints: [...endpoints.of(region)] }),
  });
  const parts = { region, own, store, view, records, commands, statuses, clock, ids };
  const deletion = flaws.deleting(
    new Deletion(flaws.deletion({ ...parts, step: (step) => listener.deletes(node, step) })),
  );
  const configure = new ConfigureInstance({
    ...{ regions, view, records, commands, statuses, clock, sleep: clock.sleep },
    settle: async () => undefined,
  });
  const duty = new InstancesDuty({
    ...{ node: machine.name, own, view, statuses, deletion, configure, clock, observe },
    requestId: ids.uuid,
    abandonedMs,
  });
  // The instance of all histories is in no record: it is one of the configuration.
  const isDeclared = (of: string): boolean => of === instance;
  const declared = () => [];
  const show = new ShowInstances({
    ...{ region, regions, view, presence, own, declared, endpoints, rootKind: "local" },
    required: regions,
    keyStatus: (of) => keyRing.statusOf(of),
  });
  const lookup = new InstanceLookup({ view, declared });
  const handlers = instanceHandlers({
    ...{ view, records: flaws.records(records), lookup, show, configure, deletion, clock, ids },
    keyRing,
    // No order of a history names a root of trust.
    orders: { regions: regions(), check: noRoots, newFields: () => ({}) },
    declaredNames: () => [],
  });
  const repeats = new Idempotency(monotonicMs);
  const madeBefore = new MadeBefore(view, handlers as Handlers);
  const create: NodeManagement["create"] = async (call, key) => {
    const work = () => handlers.createInstance(call);
    const first = async () => ({
      status: 201,
      body: await madeBefore.once(contract.createInstance, call, work),
    });
    const { params, body, principal } = call;
    const repeated = { key, operation: "createInstance", principal, params, body };
    return (await repeats.run({ ...repeated, shownOnce: false }, first)).sent.body;
  };
  const admits = admitting(life, store, flaws.trusted(view), {
    view,
    keyRing,
    isDeclared,
    observe,
  });
  return { view, records, commands, handlers, create, duty, admits };
}

function statusesOf({ status, move }: RedisStore): Pick<RedisStore, "status" | "move"> {
  return { status, move };
}

async function noRoots(): Promise<never> {
  throw new Error("a history names no root of trust");
}

/** The node's list of clients, and whether it is fresh enough to admit anyone. */
function admitting(
  life: Life,
  store: RegionalStore,
  followed: SystemView,
  {
    view,
    ...rest
  }: Pick<NodeManagement, "view"> &
    Pick<ConstructorParameters<typeof RecordedTrust>[0], "keyRing" | "isDeclared" | "observe">,
): NodeManagement["admits"] {
  const { timers } = life;
  const trust = new Trust();
  const followTrust = new RecordedTrust({
    ...rest,
    view: followed,
    trust,
    changed: () => undefined,
  });
  followTrust.lookAtAll();
  const freshness = new Freshness();
  const known = { ok: true };
  const look = (): void => {
    known.ok = freshness.look({
      nowMs: timers.monotonicMs(),
      serves: store.serving().from !== "none",
      freshAtMs: view.freshAtMs,
    });
    life.after(freshEveryMs, look);
  };
  look();
  return (fingerprint256, of) => {
    if (!known.ok) return false;
    const found = trust.check({ fingerprint256 } as X509Certificate, timers.wallMs());
    return typeof found !== "string" && found.instance.id === of;
  };
}
