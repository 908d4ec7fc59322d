import type { Duty } from "@holdfast/regions";
import { printAddress } from "../../base/address.ts";
import { InstanceLookup } from "../../management/instance-lookup.ts";
import { ConfigureInstance } from "../../management/instances/configure.ts";
import { Deletion, keyCounts } from "../../management/instances/deletion.ts";
import { Endpoints } from "../../management/instances/endpoints.ts";
import { instanceHandlers } from "../../management/instances/instance-handlers.ts";
import { InstancesDuty } from "../../management/instances/instances-duty.ts";
import { ShowInstances, statusCounts } from "../../management/instances/show-instance.ts";
import { StatusFollower } from "../../management/instances/status-follower.ts";
import type { NodeReadings } from "../../observe/metrics/metric-row.ts";
import { clock, ids, type Parts } from "../node-parts.ts";
import type { Regions } from "../node-regions.ts";
import type { Tenants } from "../node-tenants.ts";
import type { Management } from "./node-management.ts";
import type { NodeRoots } from "./node-roots.ts";

/** The life of instances at a node: the leader's duties, and the routes that manage it. */
export interface NodeInstances {
  readonly duties: readonly Duty[];
  readonly readings: Pick<NodeReadings, "instances">;
  readonly handlers: ReturnType<NodeRoots["handlers"]> & ReturnType<typeof instanceHandlers>;
}

/** Opens the life of instances, from their order to their deletion. */
export function openLifeOfInstances(
  { config, observe, opened }: Parts,
  { own, store }: Regions,
  management: Management,
  roots: NodeRoots,
  tenants: Tenants,
): NodeInstances {
  const { region, node, kmip, rootOfTrust } = config;
  const { view, records, commands, presence } = management;
  const { orders, keyRing } = roots;
  const regions = () => orders.regions;
  const statuses = new StatusFollower({ own, regions });
  const endpoints = new Endpoints({
    region,
    own: (kmip.endpoints ?? [kmip.listen]).map(printAddress),
    commands,
    monotonicMs: clock.monotonicMs,
  });
  commands.serve({
    countStates: async ({ instance }) => {
      const states = await keyCounts(own, instance);
      return { ...(states !== undefined && { states }) };
    },
    followInstance: async ({ instance }) => {
      const followed = await statuses.follow(instance);
      return { ...(followed !== undefined && { status: followed.status }) };
    },
    readEndpoints: async () => ({ endpoints: [...endpoints.of(region)] }),
  });
  const deletion = new Deletion({
    region,
    own,
    store,
    view,
    records,
    commands,
    statuses,
    clock,
    ids,
  });
  const configure = new ConfigureInstance({
    regions,
    view,
    records,
    commands,
    statuses,
    clock,
    settle: (instance, some) => orders.settle(instance, some),
    sleep: (ms) => clock.sleep(ms),
  });
  const duty = opened.use(
    new InstancesDuty({
      node,
      own,
      view,
      statuses,
      deletion,
      configure,
      clock,
      observe,
      requestId: ids.uuid,
    }),
  );
  const declared = () => tenants.instances;
  const lookup = new InstanceLookup({ view, declared });
  const show = new ShowInstances({
    region,
    regions,
    required: roots.required,
    view,
    presence,
    own,
    declared,
    endpoints,
    rootKind: rootOfTrust.type,
    keyStatus: (instance) => keyRing.statusOf(instance),
  });
  const declaredNames = () => declared().map(({ name }) => name);
  const deps = { view, records, lookup, show, configure, deletion, orders, keyRing, clock, ids };
  return {
    duties: [duty],
    readings: { instances: () => statusCounts(view.all("Instance")) },
    handlers: {
      ...roots.handlers((instance, call) => configure.configured(instance, call)),
      ...instanceHandlers({ ...deps, declaredNames }),
    },
  };
}
