import type { AuditEvent, InstanceStatus, InstanceStatuses, InstanceStore } from "@holdfast/engine";
import { objectStoreConformance, ownStoreConformance } from "@holdfast/engine/testing";
import { keys } from "./database.ts";
import { Machine } from "./machine.ts";
import { Network } from "./network.ts";
import { Random } from "./random.ts";
import { RedisGroup } from "./redis-group.ts";
import { Scheduler, settled } from "./scheduler.ts";
import { SimStore } from "./sim-store.ts";
import { StoreKeeper } from "./store-keeper.ts";
import { StoreLink } from "./store-link.ts";

/** A region's store on a primary and a replica; time passes while it is open. */
async function open() {
  const scheduler = new Scheduler();
  const random = new Random(1);
  const network = new Network(scheduler, random.fork(), { farMs: 5, loss: 0, late: 0 });
  const group = new RedisGroup("a", 1, { scheduler, network, random: random.fork() });
  group.begin("store", []);
  const life = new Machine("a1", scheduler, random.fork()).start();
  const keeper = new StoreKeeper(new StoreLink(life, group, network), new Set());
  const subject = new SimStore(keeper, new WeakMap(), { audits: true });
  const primary = group.process(0);
  const install = async (instance: string): Promise<InstanceStatus> =>
    primary.execute((tables) => {
      const status = tables.statusOf(instance) ?? "Installed";
      tables.set(keys.status(instance), status);
      return status;
    });
  const instances: InstanceStatuses & InstanceStore = {
    install,
    ensure: install,
    status: async (instance) => primary.execute((tables) => tables.statusOf(instance)),
    move: async (instance, from, to) =>
      primary.execute((tables) => {
        const status = tables.statusOf(instance);
        if (status !== "Deleted" && from.includes(status)) tables.set(keys.status(instance), to);
        return tables.statusOf(instance);
      }),
  };
  const setStatus = async (instance: string, status: InstanceStatus): Promise<void> =>
    primary.execute((tables) => tables.set(keys.status(instance), status));
  const damage = async (instance: string, id: string): Promise<void> =>
    primary.execute((tables) => {
      const row = tables.row(instance, id);
      if (row !== undefined) tables.putRow({ ...row, damaged: true });
    });
  await scheduler.run(1_000);
  const pump = { open: true };
  const pumping = (async () => {
    while (pump.open) {
      await scheduler.run(scheduler.nowMs + 10);
      await settled();
    }
  })();
  return {
    subject,
    instances,
    setStatus,
    damage,
    auditOf: async (instance: string) =>
      primary.execute((tables) => (tables.get(keys.audit(instance)) ?? []) as AuditEvent[]),
    close: async () => {
      pump.open = false;
      await pumping;
    },
  };
}

objectStoreConformance("a simulated Redis", open);
ownStoreConformance("a simulated Redis", open);
