import { MemoryOwnStore, objectStoreConformance } from "@holdfast/engine/testing";
import { expect } from "vitest";
import { TestRegions } from "../testing/test-regions.ts";
import { TestTime } from "../testing/test-time.ts";
import { RegionalStore } from "./regional-store.ts";

objectStoreConformance("a region alone", async () => {
  const [own, time] = [new MemoryOwnStore(), new TestTime()];
  const ids = { uuid: () => "", randomBytes: (length: number) => new Uint8Array(length) };
  const observe = () => undefined;
  const store = new RegionalStore({ region: "a", own, peers: [], timers: time, ids, observe });
  return {
    subject: store,
    instances: own.instances,
    auditOf: async (instance) => own.auditOf(instance),
    close: () => time.until(store[Symbol.asyncDispose]()),
  };
});

/** Instances are known in both regions. */
function instancesOf({ a, b }: TestRegions) {
  return {
    ensure: async (instance: string, name: string) => {
      await a.own.instances.ensure(instance, name);
      return await b.own.instances.ensure(instance, name);
    },
  };
}

objectStoreConformance("one of two regions", async () => {
  const regions = await TestRegions.level();
  return {
    subject: regions.a.store,
    instances: instancesOf(regions),
    auditOf: async (instance) => regions.a.own.auditOf(instance),
    close: () => regions.close(),
  };
});

objectStoreConformance("a region that the other one serves", async () => {
  const regions = await TestRegions.level();
  regions.a.own.setState("readOnly");
  return {
    subject: regions.a.store,
    instances: instancesOf(regions),
    // The region that keeps them adds which region sent them, and nothing else.
    auditOf: async (instance) =>
      regions.b.own.auditOf(instance).map(({ detail, ...event }) => {
        const { fromRegion, ...others } = detail ?? {};
        expect(fromRegion).toBe("a");
        return { ...event, ...(Object.keys(others).length > 0 && { detail: others }) };
      }),
    close: () => regions.close(),
  };
});
