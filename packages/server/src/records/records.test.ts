import { ManagementError } from "@holdfast/admin";
import {
  type CommitOptions,
  claimsField,
  type ManagedObject,
  type ObjectStore,
  StoreUnavailable,
  systemInstance,
  systemTypes,
} from "@holdfast/engine";
import { MemoryOwnStore } from "@holdfast/engine/testing";
import { describe, expect, test } from "vitest";
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

const token = systemTypes.Token;
const refused = (code: string) => expect.objectContaining({ name: "ManagementError", code });

describe("a system record", () => {
  test("is made, changed and deleted, each time with its version and who has it", async () => {
    const { records, taken, asked } = world();
    const made = await records.create(token, { hash: "h" }, { name: "ci" }, [event]);
    expect(made.document).toMatchObject({
      type: token,
      fixed: { hash: "h" },
      fields: { name: "ci" },
    });
    expect(made.regions).toEqual({ a: "applied", b: "pending" });
    const { id } = made.document;
    const changed = await records.change(token, id, () => ({ note: "n" }), [event], {
      ifMatch: made.version,
      agreed: true,
    });
    expect(changed.document.fields).toEqual({ name: "ci", note: "n" });
    expect(changed.version).not.toBe(made.version);
    expect(asked.at(-1)).toEqual({ agreed: true });
    await expect(
      records.change(token, id, () => ({ note: "m" }), [], { ifMatch: made.version }),
    ).rejects.toEqual(refused("preconditionFailed"));
    await records.destroy(token, id, [event]);
    await expect(records.destroy(token, id, [event])).rejects.toEqual(refused("notFound"));
    await expect(records.change(token, id, () => ({}), [])).rejects.toEqual(refused("notFound"));
    expect(taken.map(({ facts }) => facts.destroyed !== undefined)).toEqual([false, false, true]);
  });

  test("of another type is none", async () => {
    const { records } = world();
    const { document } = await records.create(token, {}, { name: "ci" }, []);
    await expect(records.destroy(systemTypes.User, document.id, [])).rejects.toEqual(
      refused("notFound"),
    );
  });

  test("is edited anew when another change was faster", async () => {
    const store = new MemoryOwnStore();
    const { records: other } = world(store);
    const { document } = await other.create(token, {}, { name: "ci", count: "0" }, []);
    let races = 3;
    const { records } = world(store, async () => {
      if (races === 0) return;
      races -= 1;
      await other.change(token, document.id, () => ({ race: String(races) }), []);
    });
    const seen: (string | undefined)[] = [];
    const { document: after } = await records.change(
      token,
      document.id,
      ({ fields }) => {
        seen.push(fields["race"]);
        return { count: "1" };
      },
      [],
    );
    expect(seen).toEqual([undefined, "2", "1", "0"]);
    expect(after.fields).toEqual({ name: "ci", count: "1", race: "0" });
  });

  test("claims are refused in words of the caller's", async () => {
    const { records } = world();
    const claims = { [claimsField]: JSON.stringify(["name ci", "print ab"]) };
    await records.create(token, {}, claims, []);
    await expect(records.create(token, {}, claims, [])).rejects.toEqual(refused("nameTaken"));
    const taken = (claim: string) => new ManagementError("certificateTaken", claim);
    const print = { [claimsField]: JSON.stringify(["print ab"]) };
    await expect(records.create(token, {}, print, [], { taken })).rejects.toMatchObject({
      code: "certificateTaken",
      message: "print ab",
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
    await expect(records.create(token, {}, {}, [])).rejects.toEqual(refused(code));
  });

  test("of an instance is the one that was always there", async () => {
    const { records, store } = world();
    const { document } = await records.create(
      systemTypes.Instance,
      { instance: "i" },
      { name: "kmip-ab", labels: "{}" },
      (made) => [{ ...event, target: made.id }],
    );
    expect(document.id).toBe(instanceRecordId("i"));
    expect(document.fields).toEqual({ name: "kmip-ab", labels: "{}" });
    expect(await store.read(systemInstance, [document.id])).toHaveLength(1);
  });
});
