import { randomBytes } from "node:crypto";
import type { AdminClient } from "@holdfast/admin";
import { attributeItem, objectItem, tags } from "@holdfast/kmip";
import { byteString, type Item } from "@holdfast/ttlv";
import { describe, expect, test } from "vitest";
import type { Plan } from "./files/plan-file.ts";
import type { ReportFile, ReportLine } from "./files/report-file.ts";
import type { Surroundings } from "./patience.ts";
import type { Peer } from "./peer.ts";
import { run } from "./run.ts";

const idOf = (at: number) => `0a1b2c3d-0000-4000-8000-${String(at).padStart(12, "0")}`;

function planOf(count: number): Plan {
  const rows = Array.from({ length: count }, (_, at) => ({
    id: idOf(at),
    ...{ type: "SymmetricKey", algorithm: "AES", length: 256, names: [], comes: true },
  }));
  const source = { endpoints: [], version: "1.4", vendor: "" };
  const instance = { id: "instance-1", name: "prod" };
  const header = { madeAt: "", source, instance, transportKey: false };
  return { header, rows, hash: "" };
}

const items: readonly Item[] = [
  attributeItem("ObjectType", "SymmetricKey"),
  attributeItem("State", "Active"),
  attributeItem("CryptographicAlgorithm", "AES"),
  attributeItem("CryptographicLength", 256),
];

const source = {
  describe: async (id: string) => ({ id, items, unread: [] }),
  object: async () =>
    objectItem("SymmetricKey", {
      keyBlock: {
        keyFormatType: "Raw",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, randomBytes(32)) },
        cryptographicAlgorithm: "AES",
        cryptographicLength: 256,
      },
    }),
} as unknown as Peer;

interface Sent {
  readonly body: { readonly keys: readonly { readonly identifier: string }[] };
}

/** Runs a plan at an instance that answers with these outcomes; time passes only while something waits. */
function moving(count: number, outcomeOf: (id: string) => string, from: Peer = source) {
  let ms = 0;
  const around: Surroundings = {
    now: () => ms,
    date: () => new Date(ms),
    sleep: async (more) => {
      ms += more;
    },
    newId: () => "id",
  };
  const lines = new Map<string, ReportLine>();
  const report = {
    lines: new Map(),
    add: (more: readonly ReportLine[]) => {
      for (const line of more) lines.set(line.id, line);
    },
  } as unknown as ReportFile;
  const calls: number[] = [];
  const admin = {
    call: async (_: string, { body }: Sent) => {
      calls.push(body.keys.length);
      const results = body.keys.map(({ identifier }) => ({
        identifier,
        outcome: outcomeOf(identifier),
        reason: "the store is full",
      }));
      return { results };
    },
  } as unknown as AdminClient;
  const patience = { ms: 60_000, around, who: "the management API" };
  const plan = planOf(count);
  const ended = run({
    ...{ plan, source: from, admin, patience, around, report },
    rate: undefined,
  });
  return { ended, lines, calls };
}

describe("a run at an instance that decides about nothing", () => {
  test("ends after the patience with the reason, and does not ask for each part", async () => {
    const { ended, calls, lines } = moving(5_000, () => "TryAgain");
    await expect(ended).rejects.toThrow(
      /prod takes nothing now: the store is full; give the same command again to continue/,
    );
    expect(calls.length).toBeLessThan(100);
    expect(lines.get(idOf(0))).toMatchObject({ outcome: "TryAgain" });
  });

  test("moves all others if only one object stays undecided", async () => {
    const { ended, lines } = moving(500, (id) => (id === idOf(7) ? "TryAgain" : "Imported"));
    await expect(ended).rejects.toThrow("1 objects were not moved (see above)");
    const outcomes = [...lines.values()].filter(({ outcome }) => outcome === "Imported");
    expect([outcomes.length, lines.get(idOf(7))?.outcome]).toEqual([499, "TryAgain"]);
  });
});

test("a run leaves an object with an attribute that cannot be read, although the plan says that it comes", async () => {
  const describe = async (id: string) => ({ id, items, unread: id === idOf(1) ? ["Link"] : [] });
  const from = { ...source, describe } as unknown as Peer;
  const { ended, lines } = moving(2, () => "Imported", from);
  await expect(ended).rejects.toThrow("1 objects were not moved (see above)");
  expect(lines.get(idOf(0))?.outcome).toBe("Imported");
  expect(lines.get(idOf(1))).toMatchObject({
    outcome: "Left",
    reason: expect.stringContaining("the source's Link cannot be read now"),
  });
});
