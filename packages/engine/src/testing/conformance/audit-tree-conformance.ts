import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TreeWrite } from "../../audit/transparency/audit-tree.ts";
import type { AuditLogSubject } from "./audit-log-conformance.ts";

/** The tests that every implementation of `AuditTreeStore` passes. */
export function auditTreeConformance(name: string, open: () => Promise<AuditLogSubject>): void {
  describe(`the log over the audit trail: ${name}`, () => {
    let opened: AuditLogSubject;
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(async () => opened.close());

    const texts = (...names: string[]) => opened.subject.tree.texts(names);
    const write = async (more: Partial<TreeWrite> & { set?: Record<string, string> }) => {
      const { set = {}, ...rest } = more;
      const fields = new Map(Object.entries(set));
      return opened.subject.tree.write({ fields, ...rest }, await opened.store.newEpoch());
    };
    const runs = async (from: number, limit = 10) =>
      (await opened.subject.tree.runs(from, limit)).map(({ number, bytes }) => {
        return `${number} ${Buffer.from(bytes).toString()}`;
      });
    const leaves = (first: number, text: string) => ({ first, bytes: Buffer.from(text) });

    test("grows only from the size that is meant, keeps leaves from a number on, and begins anew", async () => {
      expect(await texts("size", "last")).toEqual([undefined, undefined]);
      expect(await write({ size: 0, leaves: leaves(0, "abc"), set: { size: "3" } })).toBe(true);
      expect(await write({ size: 0, leaves: leaves(3, "x"), set: { size: "4" } })).toBe(false);
      const more = { size: "5", last: "é" };
      expect(await write({ size: 3, leaves: leaves(3, "de"), set: more })).toBe(true);
      expect(await write({ size: 5, leaves: leaves(5, "f"), set: { size: "6" } })).toBe(true);
      expect(await texts("last", "none", "size")).toEqual(["é", undefined, "6"]);
      expect(await runs(0)).toEqual(["0 abc", "3 de", "5 f"]);
      expect(await runs(0, 1)).toEqual(["0 abc"]);
      expect(await runs(1)).toEqual(["3 de", "5 f"]);
      expect(await write({ keepFrom: 3, set: { base: "b" } })).toBe(true);
      expect(await runs(0)).toEqual(["3 de", "5 f"]);
      const anew = { size: 6, anew: true, leaves: leaves(0, "n"), set: { size: "1" } };
      expect(await write(anew)).toBe(true);
      expect(await texts("size", "base", "last")).toEqual(["1", undefined, undefined]);
      expect(await runs(0)).toEqual(["0 n"]);
    });

    test("takes nothing of a leader that was deposed", async () => {
      const before = await opened.store.newEpoch();
      await write({ set: { last: "one" } });
      const late = opened.subject.tree.write({ fields: new Map([["last", "two"]]) }, before);
      await expect(late).rejects.toMatchObject({ failure: "deposed" });
      expect(await texts("last")).toEqual(["one"]);
    });
  });
}
