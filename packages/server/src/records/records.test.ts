import { ManagementError } from "@holdfast/admin";
import {
  type CommitOptions,
  type ManagedObject,
  type ObjectStore,
  StoreUnavailable,
  systemInstance,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
import { tokenValues } from "../testing/system-records.ts";
import { instanceRecordId, Records } from "./records.ts";

const event = { time: 1, action: "x", outcome: "success", initiator: "t", requestId: "r" } as const;

function world(store: MemoryOwnStore = new MemoryOwnStore(), meddle?: () => Promise<void>) {
  const taken: ManagedObject[] = [];
  const asked: (CommitOptions | undefined)[] = [];
  let ids = 0;
  const through: Pick<ObjectStore, "read" | "commit" | "appendAudit"> = {
    read: (instance, wanted) => store.read(instance, wanted),
    appendAudit: (instance, events) => store.appendAudit(instance, events),
    commit: async (instance, changes, audit, options) => {
      asked.push(options);
      await meddle?.();
      const outcome = await store.commit(instance, changes, audit);
      return outcome.kind === "committed" ? { ...outcome, regions: ["a"] } : outcome;
    },
  };
  const records = new Records({
    region: "a",
    others: () => ["b"],
    store: through,
    view: { take: (objects) => void taken.push(...objects) },
    clock: { wallMs: () => 1_000 + taken.length },
    ids: {
      uuid: () => {
        ids += 1;
        return `00000000-0000-4000-8000-${String(ids).padStart(12, "0")}`;
      },
    },
  });
  return { records, store, taken, asked };
}

const token = "Token";
const ci = { ...tokenValues, name: "ci" };
const refused = (code: string) => expect.objectContaining({ name: "ManagementError", code });

describe("a system record", () => {
  test("is made, changed and deleted, each time with its version and the regions that have it", async () => {
    const { records, taken, asked } = world();
    const made = await records.create(token, ci, [event]);
    expect(made.record).toMatchObject({ type: token, hash: ci.hash, name: "ci" });
    expect(made.regions).toEqual({ a: "applied", b: "pending" });
    const { id } = made.record;
    const changed = await records.change(token, id, () => ({ name: "n" }), [event], {
      ifMatch: made.version,
      agreed: true,
    });
    expect(changed.record).toMatchObject({ hash: ci.hash, name: "n" });
    expect(changed.version).not.toBe(made.version);
    expect(asked.at(-1)).toEqual({ agreed: true });
    await expect(
      records.change(token, id, () => ({ name: "m" }), [], { ifMatch: made.version }),
    ).rejects.toEqual(refused("preconditionFailed"));
    await records.destroy(token, id, [event]);
    await expect(records.destroy(token, id, [event])).rejects.toEqual(refused("notFound"));
    await expect(records.change(token, id, () => ({}), [])).rejects.toEqual(refused("notFound"));
    expect(taken.map(({ facts }) => facts.destroyed !== undefined)).toEqual([false, false, true]);
  });

  test("of another type is not found", async () => {
    const { records } = world();
    const { record } = await records.create(token, ci, []);
    await expect(records.destroy("User", record.id, [])).rejects.toEqual(refused("notFound"));
  });

  test("is edited again when another change was written first", async () => {
    const store = new MemoryOwnStore();
    const { records: other } = world(store);
    const user = { instance: "i", name: "u", setMs: 0 };
    const { record } = await other.create("User", user, []);
    let races = 3;
    const { records } = world(store, async () => {
      if (races === 0) return;
      races -= 1;
      await other.change("User", record.id, () => ({ setBy: String(races) }), []);
    });
    const seen: (string | undefined)[] = [];
    const { record: after } = await records.change(
      "User",
      record.id,
      ({ setBy }) => {
        seen.push(setBy);
        return { setMs: 1 };
      },
      [],
    );
    expect(seen).toEqual([undefined, "2", "1", "0"]);
    expect(after).toMatchObject({ name: "u", setMs: 1, setBy: "0" });
  });

  test("with a taken claim is refused with the caller's error", async () => {
    const { records } = world();
    const both = {
      ...ci,
      claims: [
        ["name", "ci"],
        ["first", "0"],
      ],
    } as const;
    await records.create(token, both, []);
    await expect(records.create(token, both, [])).rejects.toEqual(refused("nameTaken"));
    const taken = (claim: string) => new ManagementError("certificateTaken", claim);
    const first = { ...ci, claims: [["first", "0"]] } as const;
    await expect(records.create(token, first, [], { taken })).rejects.toMatchObject({
      code: "certificateTaken",
      message: "first 0",
    });
  });

  test.each([
    ["noAgreement", "peerUnreachable"],
    ["peerUnreachable", "peerUnreachable"],
    ["barrierShort", "storeUnavailable"],
  ] as const)("that the store refuses with %s is refused with %s", async (failure, code) => {
    const { records } = world(undefined, async () => {
      throw new StoreUnavailable(failure, "because");
    });
    await expect(records.create(token, ci, [])).rejects.toEqual(refused(code));
  });

  test("of an instance has the instance's fixed identifier", async () => {
    const { records, store } = world();
    const id = instanceRecordId("i");
    const values = { instance: "i", name: "kmip-ab", labels: {} };
    const { record } = await records.create("Instance", values, [event], { id });
    expect(record).toMatchObject({ id, ...values });
    expect(await store.read(systemInstance, [id])).toHaveLength(1);
  });
});
