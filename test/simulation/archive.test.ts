import { type AuditEvent, type AuditStanding, chainStart, encodeAudit } from "@holdfast/engine";
import { type ChainedEntry, chainPoint } from "@holdfast/regions";
import { expect, test } from "vitest";
import { Archive } from "./archive.ts";
import { Random } from "./random.ts";

const storeId = "store";
const event: AuditEvent = {
  time: 1,
  action: "kmip-key.activate",
  outcome: "success",
  initiator: "client",
  requestId: "request",
  target: "key",
};

/** A chain of as many events, and how its partition stands. */
function chainOf(count: number) {
  const base = chainStart(storeId, 0);
  const entries: ChainedEntry[] = [];
  let head = base;
  for (let number = 1; number <= count; number += 1) {
    const [bytes = new Uint8Array()] = encodeAudit("instance", [{ ...event, time: number }]);
    head = chainPoint(head, { number, bytes });
    entries.push({ storeId, partition: 0, number, bytes, hash: head.hash });
  }
  const standings: readonly AuditStanding[] = [{ last: count, dropped: 0, base, head }];
  return { entries, standings };
}

async function filled(entries: readonly ChainedEntry[]) {
  const failures: string[] = [];
  const archive = new Archive(new Random(1), ({ message }) => failures.push(message));
  for (const entry of entries) {
    // It is out at times.
    for (let tries = 0; tries < 20; tries += 1)
      await archive.deliver([entry]).catch(() => undefined);
  }
  return { archive, failures };
}

test("has a whole chain once each event was delivered, even twice", async () => {
  const { entries, standings } = chainOf(3);
  const { archive, failures } = await filled([...entries, ...entries]);
  expect(archive.lacks(storeId, standings)).toBeUndefined();
  expect(archive.successes()).toEqual(new Map([["kmip-key.activate key", 3]]));
  expect(failures).toEqual([]);
});

test("tells of an event that it lacks, and of a chain that ends otherwise", async () => {
  const { entries, standings } = chainOf(3);
  const { archive } = await filled(entries.filter(({ number }) => number !== 2));
  expect(archive.lacks(storeId, standings)).toBe("event 2 of partition 0");
  const last = entries.at(-1) as ChainedEntry;
  const other = await filled([...entries.slice(0, 2), { ...last, hash: new Uint8Array(32) }]);
  expect(other.archive.lacks(storeId, standings)).toBe("the chained event 3 of partition 0");
});

test("refuses two events with one number, unless the store was lost meanwhile", async () => {
  const { entries } = chainOf(1);
  const [first] = entries as [ChainedEntry];
  const other = { ...first, bytes: Uint8Array.from([...first.bytes, 1]) };
  expect((await filled([first, other])).failures[0]).toMatch(
    /two different audit events store 0 1/,
  );
  const { archive, failures } = await filled([first]);
  archive.forget();
  for (let tries = 0; tries < 20; tries += 1) await archive.deliver([other]).catch(() => undefined);
  expect(failures).toEqual([]);
});
