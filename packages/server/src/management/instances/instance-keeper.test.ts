import { type InstanceStatus, StoreUnavailable } from "@holdfast/engine";
import { afterEach, expect, test } from "vitest";
import type { Instance } from "../../access/instances.ts";
import type { NodeEvent } from "../../observe/events.ts";
import { InstanceKeeper } from "./instance-keeper.ts";

const demo: Instance = {
  id: "i",
  name: "demo",
  certificates: [],
  authorities: [],
  users: new Map(),
};
const hour = 3_600_000;
let keeper: InstanceKeeper | undefined;
afterEach(() => keeper?.close());

function start(answer: () => InstanceStatus) {
  const asked: string[] = [];
  const events: NodeEvent[] = [];
  const own = {
    state: (): "full" | "none" => own.lease,
    lease: "full" as "full" | "none",
    storeId: "one",
    /** Tells that the lease is another one. */
    tell: (_state: "full" | "none"): void => undefined,
    onState: (listener: (state: "full" | "none", reason: string) => void) => {
      own.tell = (state) => listener(state, "test");
      return () => undefined;
    },
  };
  keeper = new InstanceKeeper(
    {
      store: {
        ensure: async (id) => {
          asked.push(`${own.storeId} ${id}`);
          return answer();
        },
      },
      own,
      keyRing: { seal: async () => Promise.reject(new Error("not now")) },
      rootFile: "root.key",
      instances: () => [demo],
      observe: (event) => void events.push(event),
    },
    hour,
  );
  return { keeper, own, asked, events };
}

test("a store is given the instances again when it has other data, and only then", async () => {
  const { keeper, own, asked } = start(() => "Installed");
  await keeper.ensureAll();
  await keeper.look();
  expect(asked).toEqual(["one i"]);
  own.storeId = "two";
  own.lease = "none";
  await keeper.look();
  expect(asked).toEqual(["one i"]);
  own.lease = "full";
  await keeper.look();
  await keeper.look();
  expect(asked).toEqual(["one i", "two i"]);
});

test("a store is given the instances again after an outage, which may end with an old copy of it", async () => {
  const { keeper, own, asked } = start(() => "Installed");
  await keeper.ensureAll();
  own.tell("none");
  own.tell("full");
  await keeper.look();
  await keeper.look();
  expect(asked).toEqual(["one i", "one i"]);
});

test("failed work is repeated later; an outage is not reported, a fault is reported once", async () => {
  let status: InstanceStatus | undefined;
  const { keeper, asked, events } = start(() => {
    if (status === undefined) throw new StoreUnavailable("timeout", "x");
    return status;
  });
  await expect(keeper.ensureAll()).rejects.toThrow(StoreUnavailable);
  await keeper.look();
  expect(events).toEqual([]);
  status = "Deleted";
  await keeper.look();
  await keeper.look();
  expect(events).toEqual([
    { type: "warning", message: expect.stringContaining("demo is Deleted in the store") },
  ]);
  status = "Installed";
  await keeper.look();
  expect(asked).toHaveLength(5);
  await keeper.look();
  expect(asked).toHaveLength(5);
});
