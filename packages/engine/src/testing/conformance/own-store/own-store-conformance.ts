import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { joins, written } from "./own-commit-conformance.ts";
import { counting } from "./own-counts-conformance.ts";
import { resting } from "./own-given-conformance.ts";
import { damaged, leading } from "./own-leader-conformance.ts";
import { changes, digests } from "./own-replication-conformance.ts";
import { agreed, held, reserving } from "./own-reservation-conformance.ts";
import { type OwnStoreSubject, OwnWorld } from "./own-world-conformance.ts";

/** What every `OwnStore` does. The subject is opened once; each test uses an instance of its own. */
export function ownStoreConformance(name: string, open: () => Promise<OwnStoreSubject>): void {
  describe(`${name} as a region's own store`, () => {
    let opened: OwnStoreSubject;
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(async () => {
      await opened?.close();
    });
    const world = (): Promise<OwnWorld> => OwnWorld.make(opened);

    test("reports what it allows, and identifies its data", async () => {
      const { store } = await world();
      expect(store.state()).toBe("full");
      expect(store.storeId).toMatch(/./);
    });

    describe("joins", () => joins(world));
    describe("written", () => written(world));
    describe("reserving", () => reserving(world));
    describe("a reserved record", () => held(world));
    describe("agreed writes", () => agreed(world));
    describe("depending on system records", () => resting(world));
    describe("changes", () => changes(world));
    describe("digests", () => digests(world));
    describe("counts", () => counting(world));
    describe("leading", () => leading(world));
    describe("damage", () => damaged(world));
  });
}
