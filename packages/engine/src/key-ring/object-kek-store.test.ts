import { randomBytes, randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { systemInstance } from "../system/partition.ts";
import { withoutKekWraps } from "../system/wrapped-kek.ts";
import { MemoryOwnStore } from "../testing/memory/memory-own-store.ts";
import { ObjectKekStore } from "./object-kek-store.ts";

test("a KEK whose wraps were erased gets none again, even from a node that had its bytes", async () => {
  const store = new MemoryOwnStore();
  const clock = { wallMs: () => 1_000, monotonicMs: () => 0 };
  const keks = new ObjectKekStore(store, { clock, region: "b" });
  const id = randomUUID();
  const wrapIn = (region: string) => ({
    ...{ region, rootOfTrust: "r", rootKeyVersion: "1", blob: randomBytes(8) },
  });
  const kek = { id, createdMs: 0, check: randomBytes(8), wraps: [wrapIn("a")] };
  expect(await keks.add("i", kek, true)).toBe(true);
  const none = new Uint8Array();
  const [before] = await store.read(systemInstance, [id]);
  if (before === undefined) throw new Error("no record");
  const after = withoutKekWraps(before.object, { us: 1, region: "a" });
  await store.commit(systemInstance, [{ kind: "update", before, after }], []);
  expect(await keks.rewrap("i", id, none, wrapIn("b"))).toBe(false);
  expect((await keks.list("i"))[0]?.wraps).toEqual([]);
  // It is still known, to its instance alone.
  expect(await keks.read("i", id)).toMatchObject({ id, wraps: [] });
  expect(await keks.read("other", id)).toBeUndefined();
  expect(await keks.read("i", randomUUID())).toBeUndefined();
});
