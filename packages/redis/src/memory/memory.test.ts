import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { factBits } from "../proof/record-proof.ts";
import {
  BlockWriter,
  coveredRow,
  type MemoryRow,
  readBlocks,
  readHeader,
  recordRows,
  rowsOf,
  storeRow,
  writeHeader,
} from "./memory-blocks.ts";
import {
  lackedFacts,
  MemoryTable,
  type Remembered,
  readRow,
  relationOf,
  rowOf,
} from "./memory-table.ts";

const storeId = "00112233445566778899aabbccddeeff";
const header = writeHeader({ region: "a", node: "a1", rootOfTrust: "r", wrap: Buffer.of(1, 2) });
const key = randomBytes(32);
const met = fc.record({
  version: fc.integer({ min: 1, max: 2 ** 40 - 1 }),
  facts: fc.integer({ min: 0, max: 255 }),
  tag: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
});
const identifiers = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes));
const ofRecord = (facts: number, version: number, tag = 0): Remembered => {
  return { facts, version, tag: Buffer.alloc(8, tag) };
};

test("a record is older with a lower version, the same one and another tag, or without a fact", () => {
  const known = ofRecord(0b0101, 7);
  expect(relationOf(ofRecord(0b0101, 7), known)).toBe("same");
  expect(relationOf(ofRecord(0b1101, 8, 1), known)).toBe("newer");
  expect(relationOf(ofRecord(0b0101, 6), known)).toBe("older");
  expect(relationOf(ofRecord(0b0101, 7, 1), known)).toBe("older");
  expect(relationOf(ofRecord(0b0001, 99), known)).toBe("older");
  // An activation that is lost gives nothing to anybody.
  expect(relationOf(ofRecord(0b0100, 8), known)).toBe("newer");
  // Whether the body is sealed is no fact.
  expect(relationOf(ofRecord(0b0101, 8), ofRecord(0x85, 7))).toBe("newer");
  expect(relationOf(ofRecord(0, 1), undefined)).toBe("newer");
});

test("a destruction that can be restored is missed too, until it is final or restored", () => {
  const { activated, destroyed, destructionPending, restored } = factBits;
  const [identifier, table] = [randomBytes(16), new MemoryTable(1)];
  table.learn(3, identifier, ofRecord(activated | destructionPending, 7));
  const known = table.get(3, identifier);
  expect(relationOf(ofRecord(activated, 99), known)).toBe("older");
  expect(relationOf(ofRecord(0, 99), known)).toBe("older");
  expect(relationOf(ofRecord(activated | destructionPending, 8), known)).toBe("newer");
  expect(relationOf(ofRecord(activated | destroyed, 8), known)).toBe("newer");
  expect(relationOf(ofRecord(activated | restored, 8), known)).toBe("newer");
  expect(lackedFacts(destructionPending, activated)).toBe(destructionPending);
  // So does a row of a file.
  const row = readRow(rowOf(3, identifier, ofRecord(destructionPending, 7)));
  expect(relationOf(ofRecord(activated, 8), row?.met)).toBe("older");
  // What was restored is missed no more.
  table.learn(3, identifier, ofRecord(activated | restored, 8));
  expect(relationOf(ofRecord(activated, 9), table.get(3, identifier))).toBe("newer");
});

test("the table remembers the newest of each record, as a map would", () => {
  const learned = fc.array(fc.tuple(fc.integer({ min: 0, max: 64 }), identifiers, met), {
    maxLength: 400,
  });
  fc.assert(
    fc.property(learned, fc.integer(), (rows, salt) => {
      const table = new MemoryTable(salt);
      const model = new Map<string, Remembered>();
      for (const [partition, identifier, one] of rows) {
        const name = `${partition} ${identifier.toString("hex")}`;
        const relation = relationOf(one, model.get(name));
        expect(table.learn(partition, identifier, one)).toBe(relation);
        if (relation === "newer") model.set(name, { ...one, facts: one.facts & 0x1f });
      }
      expect(table.size).toBe(model.size);
      for (const [partition, identifier] of rows) {
        const known = model.get(`${partition} ${identifier.toString("hex")}`);
        expect(table.get(partition, identifier)).toEqual(known);
      }
      const all = [...table.slices()].flatMap((slice) => recordRows(slice));
      expect(all.length).toBe(model.size);
    }),
    { numRuns: 60 },
  );
});

test("what is written to a file is read from it, also beyond one block", () => {
  const writer = new BlockWriter(key, header, randomBytes);
  const rows = Array.from({ length: 5_000 }, (_, at) =>
    recordRows(rowOf(at % 65, randomBytes(16), ofRecord(1, at + 1))),
  ).flat();
  const bytes = Buffer.concat([
    header,
    writer.write([storeRow(storeId), ...rows]),
    writer.write([coveredRow(64, 2 ** 40)]),
  ]);
  const found = readHeader(bytes);
  expect(found).toMatchObject({ header: { region: "a", node: "a1", rootOfTrust: "r" } });
  const { length } = found as { readonly length: number };
  const read = [...readBlocks(key, bytes, length)].flat() as MemoryRow[];
  expect(read.length).toBe(rows.length + 2);
  expect(read[0]).toEqual({ kind: "store", storeId });
  expect(read.at(-1)).toEqual({ kind: "covered", partition: 64, number: 2 ** 40 });
  const second = read[1];
  expect(second?.kind === "record" && readRow(second.row)?.met.version).toBe(1);
});

test("any other bytes are torn or damaged, and nothing after them is read", () => {
  const writer = new BlockWriter(key, header, randomBytes);
  const blocks = [1, 2, 3].map((number) => writer.write([coveredRow(number, number)]));
  const bytes = Buffer.concat([header, ...blocks]);
  const whole = [...readBlocks(key, bytes, header.length)];
  fc.assert(
    fc.property(
      fc.integer({ min: header.length, max: bytes.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (at, change) => {
        const cut = [...readBlocks(key, bytes.subarray(0, at), header.length)];
        const kept = cut.filter((block) => typeof block !== "string");
        expect(kept).toEqual(whole.slice(0, kept.length));
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(at) ^ change, at);
        const read = [...readBlocks(key, changed, header.length)];
        expect(["torn", "damaged"]).toContain(read.at(-1));
        expect(read.slice(0, -1)).toEqual(whole.slice(0, read.length - 1));
      },
    ),
  );
  const moved = Buffer.concat([header, ...blocks.toReversed()]);
  expect([...readBlocks(key, moved, header.length)]).toEqual(["damaged"]);
});

test("no bytes make a reader of rows, headers or blocks throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (given) => {
      const bytes = Buffer.from(given);
      rowsOf(bytes);
      readHeader(Buffer.concat([header.subarray(0, 16), bytes]));
      expect(typeof [...readBlocks(key, bytes, 0)].at(-1)).toBe(
        bytes.length ? "string" : "undefined",
      );
    }),
  );
});
