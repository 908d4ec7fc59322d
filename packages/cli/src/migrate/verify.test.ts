import { attributeItem, objectItem, tags } from "@holdfast/kmip";
import { byteString, type Item } from "@holdfast/ttlv";
import { describe, expect, test, vi } from "vitest";
import type { PlanRow } from "./files/plan-file.ts";
import type { Peer } from "./peer.ts";
import { lacks, staysBehind, verify } from "./verify.ts";

const row = { id: "1", type: "SymmetricKey", names: [], comes: true };
const line = (...left: string[]) => ({ id: "1", outcome: "Imported", left, at: "now" });

describe("an object stays behind", () => {
  test.each([
    "not extractable: the source never gives it",
    "wrong identifier form: an instance keeps only UUIDs in lower case",
    "clash: the instance has destroyed an object of this identifier",
    "the source does not show its attributes: PermissionDenied",
  ])("where the plan says %s", (why) => {
    expect(staysBehind([row, { ...row, id: "2", comes: false, why }])).toEqual([
      `2: stays behind: ${why}`,
    ]);
  });

  test.each(["destroyed: it has no material any more", "a transport key of an earlier run"])(
    "but nobody misses it where the plan says %s",
    (why) => expect(staysBehind([{ ...row, comes: false, why }])).toEqual([]),
  );
});

test("an object lacks attributes that could not come, but not those of each server", () => {
  expect(lacks(row, undefined)).toBe(false);
  expect(lacks(row, line("Lease Time", "Digest"))).toBe(false);
  expect(lacks(row, line("Lease Time", "Usage Limits"))).toBe(true);
  expect(lacks({ ...row, unread: ["Secret Sauce"] }, undefined)).toBe(true);
});

const active = [attributeItem("ObjectType", "SymmetricKey"), attributeItem("State", "Active")];

/** A server with one key, which has these attributes. */
function peerWith(items: readonly Item[], unread: readonly string[] = []): Peer {
  const keyMaterial = byteString(tags.KeyMaterial.tag, Buffer.alloc(32, 1));
  const keyBlock = { keyFormatType: "Raw", keyValue: { keyMaterial } } as const;
  return {
    version: "2.1",
    who: "the source",
    about: async () => ({ vendor: "Holdfast" }),
    identifiers: async () => ({ ids: ["1"], counted: 1, repeated: 0 }),
    describe: async (id: string) => ({ id, items, unread }),
    object: async () => objectItem("SymmetricKey", { keyBlock }),
  } as unknown as Peer;
}

/** What verify says of a key. */
async function saidOf(source: Peer, target: Peer, planned: PlanRow = row): Promise<string> {
  let said = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
  const header = {
    ...{ madeAt: "", transportKey: false, instance: { id: "instance-1", name: "prod" } },
    source: { endpoints: [], version: "2.1", vendor: "" },
  };
  const around = {
    ...{ now: () => 0, date: () => new Date(0) },
    ...{ sleep: async () => undefined, newId: () => "1" },
  };
  try {
    await verify({
      ...{ plan: { header, rows: [planned], hash: "" }, report: new Map(), pageSize: 10 },
      ...{ source, target, acceptsLeft: false, around },
    });
  } catch (error) {
    said += String(error);
  } finally {
    write.mockRestore();
  }
  return said;
}

test("an attribute that cannot be read at the source is a fault, unless the plan says that it does not come", async () => {
  const hidden = peerWith(active, ["Link"]);
  expect(await saidOf(peerWith(active), peerWith(active))).toMatch(/^1 objects are the same/);
  expect(await saidOf(hidden, peerWith(active))).toContain("1: the source's Link cannot be read\n");
  expect(await saidOf(hidden, peerWith(active), { ...row, unread: ["Link"] })).toMatch(
    /^1 objects are the same/,
  );
});

test("a key that ends only at the target differs, and a date of what has ended does not", async () => {
  const end = attributeItem("DeactivationDate", 1_900_000_000);
  const over = [attributeItem("ObjectType", "SymmetricKey"), attributeItem("State", "Deactivated")];
  expect(await saidOf(peerWith(active), peerWith([...active, end]))).toContain(
    "1: differs in Deactivation Date\n",
  );
  expect(await saidOf(peerWith(over), peerWith([...over, end]))).toMatch(/^1 objects are the same/);
  expect(await saidOf(peerWith([...active, end]), peerWith([...active, end]))).toMatch(
    /^1 objects are the same/,
  );
});
