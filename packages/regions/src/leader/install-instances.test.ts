import { instanceRecord, systemInstance } from "@holdfast/engine";
import { expect, test } from "vitest";
import { InstallInstances } from "./install-instances.ts";
import { openStore, VirtualTime } from "./test-leader.ts";

const now = { us: 1, region: "a" };
const context = { epoch: 1, signal: new AbortController().signal, active: () => true };

test("an instance that the other region named is installed; one with a status keeps it", async () => {
  const own = await openStore({ storeId: "b", wallMs: new VirtualTime().wallMs });
  const duty = new InstallInstances({ own, statuses: own.instances });
  const name = async (instance: string, more = {}) => {
    const after = { ...instanceRecord({ instance, name: instance }, now), ...more };
    await own.commit(systemInstance, [{ kind: "create", after }], []);
  };
  await name("pushed");
  await name("deleted");
  await name("tombstone", { facts: { destroyed: { time: 1, region: "a" } } });
  own.instances.setStatus("deleted", "Deleted");
  expect(await duty.run(context)).toEqual({ done: 1, left: 0 });
  expect(await own.instances.status("pushed")).toBe("Installed");
  expect(await own.instances.status("deleted")).toBe("Deleted");
  expect(await own.instances.status("tombstone")).toBeUndefined();
  await name("later");
  expect(await duty.run(context)).toEqual({ done: 1, left: 0 });
  expect(await own.instances.status("later")).toBe("Installed");
});
