import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chainHash, chainStart } from "../audit/audit-chain.ts";
import { auditTimeOf, decodeAudit, encodeAudit } from "../audit/audit-codec.ts";
import type { AuditEvent } from "../audit/audit-event.ts";
import { auditWords } from "../audit/audit-words.ts";
import { auditLogConformance, auditLogKept } from "../testing/conformance/audit-log-conformance.ts";
import { auditTreeConformance } from "../testing/conformance/audit-tree-conformance.ts";
import { MemoryOwnStore } from "../testing/memory/memory-own-store.ts";

for (const conformance of [auditLogConformance, auditTreeConformance]) {
  conformance("MemoryOwnStore", async () => {
    const store = new MemoryOwnStore({ auditEntriesMax: auditLogKept });
    return { subject: store.audit, store, close: async () => undefined };
  });
}

const seed = 20261125;
const hash = "0123456789abcdef".repeat(4);
const text = fc.oneof(
  fc.string({ maxLength: 300, unit: "grapheme" }),
  fc.uuid(),
  fc.constantFrom(hash, hash.toUpperCase(), "", ...auditWords),
);
const anyEvent: fc.Arbitrary<AuditEvent> = fc.record(
  {
    time: fc.nat(2 ** 31),
    action: text,
    outcome: fc.constantFrom("pending", "success", "failure", "unknown"),
    initiator: text,
    requestId: text,
    target: text,
    reason: text,
    detail: fc.dictionary(fc.string({ maxLength: 9 }), fc.oneof(fc.string(), fc.nat())),
  },
  { requiredKeys: ["time", "action", "outcome", "initiator", "requestId"] },
) as fc.Arbitrary<AuditEvent>;

describe("an audit entry", () => {
  test("decodes to the events that it was made from", () => {
    fc.assert(
      fc.property(text, fc.array(anyEvent, { maxLength: 5 }), (instance, some) => {
        const events = some.flatMap((event): AuditEvent[] => {
          const { reason: _, ...bare } = event;
          return [{ ...bare, outcome: "pending" }, event];
        });
        const decoded = encodeAudit(instance, events).map(decodeAudit);
        expect(decoded.flatMap((entry) => entry.events)).toEqual(events);
        expect(decoded.every((entry) => entry.instance === instance)).toBe(true);
      }),
      { seed, numRuns: 300 },
    );
  });

  test("holds pending and outcome of vCenter's Create in less than 100 bytes", () => {
    const event = {
      time: 1_795_000_000_000,
      action: "kmip-key.create",
      initiator: hash,
      target: randomUUID(),
      requestId: randomUUID(),
    };
    const entries = encodeAudit(randomUUID(), [
      { ...event, outcome: "pending" },
      { ...event, outcome: "success" },
    ]);
    expect(entries).toHaveLength(1);
    expect(entries[0]?.length).toBeLessThan(100);
    expect(auditTimeOf(entries[0] ?? Buffer.alloc(0))).toBe(event.time);
  });

  test("is refused if it is cut short or garbage", () => {
    fc.assert(
      fc.property(anyEvent, fc.nat(), (event, cut) => {
        const [entry = Buffer.alloc(0)] = encodeAudit("i", [event]);
        expect(() => decodeAudit(entry.subarray(0, cut % entry.length))).toThrow("decode");
        expect(() => decodeAudit(Buffer.concat([entry, Buffer.of(0)]))).toThrow("decode");
      }),
      { seed },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decodeAudit(bytes);
        } catch (error) {
          expect(error).toMatchObject({ failure: "corrupt" });
        }
      }),
      { seed },
    );
  });

  test("cuts a text that is longer than the limit", () => {
    const long = "x".repeat(100_000);
    const event = { time: 1, outcome: "failure", initiator: long, requestId: long } as const;
    const detail = { long };
    const all = { ...event, action: long, target: long, reason: long, detail };
    const [entry = Buffer.alloc(0)] = encodeAudit(long, [all]);
    expect(entry.length).toBeLessThan(65_536);
    expect(decodeAudit(entry).events[0]?.detail).toEqual({ tooLong: 100_011 });
  });
});

test("a chain depends on store, partition, number, order and every byte", () => {
  const of = (store: string, partition: number, entries: readonly (readonly [number, string])[]) =>
    entries.reduce(
      (hash, [number, bytes]) => chainHash(hash, number, Buffer.from(bytes)),
      chainStart(store, partition).hash,
    );
  const all = [
    of("a", 1, [
      [1, "x"],
      [2, "y"],
    ]),
    of("b", 1, [
      [1, "x"],
      [2, "y"],
    ]),
    of("a", 2, [
      [1, "x"],
      [2, "y"],
    ]),
    of("a", 1, [
      [1, "y"],
      [2, "x"],
    ]),
    of("a", 1, [
      [1, "x"],
      [3, "y"],
    ]),
    of("a", 1, [[1, "x"]]),
  ].map((hash) => Buffer.from(hash).toString("hex"));
  expect(new Set(all).size).toBe(all.length);
});
