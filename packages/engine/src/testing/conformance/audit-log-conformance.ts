import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ChainPoint, chainGap, chainHash, chainStart } from "../../audit/audit-chain.ts";
import { auditTimeOf, decodeAudit } from "../../audit/audit-codec.ts";
import type { AuditEvent } from "../../audit/audit-event.ts";
import type { AuditEntry, AuditLog, AuditStanding } from "../../audit/audit-log.ts";
import type { OwnStore } from "../../ports/own-store.ts";
import { partitionOf, trailsOf } from "../../system/partition.ts";

/** An audit trail to test, and the store that holds it; about 512 entries of a partition are kept. */
export interface AuditLogSubject {
  readonly subject: AuditLog;
  readonly store: Pick<OwnStore, "appendAudit" | "newEpoch">;
  close(): Promise<void>;
}

/** How many entries of a partition the store to be tested keeps, about. */
export const auditLogKept = 512;

/** An instance in a partition that nobody else uses. */
class Trail {
  readonly instance: string;
  readonly partition: number;
  readonly #opened: AuditLogSubject;

  constructor(opened: AuditLogSubject, used: Set<number>) {
    do this.instance = randomUUID();
    while (used.has(partitionOf(this.instance)));
    this.partition = partitionOf(this.instance);
    used.add(this.partition);
    this.#opened = opened;
  }

  get log(): AuditLog {
    return this.#opened.subject;
  }

  append(...times: readonly number[]): Promise<void> {
    return this.appendOf(this.instance, ...times);
  }

  /** Another instance of the same partition. */
  neighbour(): string {
    for (;;) {
      const other = randomUUID();
      if (partitionOf(other) === this.partition) return other;
    }
  }

  async appendOf(instance: string, ...times: readonly number[]): Promise<void> {
    const events = times.map(
      (time): AuditEvent => ({
        time,
        action: "a",
        outcome: "success",
        initiator: "i",
        requestId: randomUUID(),
      }),
    );
    await this.#opened.store.appendAudit(instance, events, true);
  }

  epoch(): Promise<number> {
    return this.#opened.store.newEpoch();
  }

  async standing(at = this.partition): Promise<AuditStanding> {
    const trail = (await this.log.standings())[at];
    if (trail === undefined) throw new Error("no trail");
    return trail;
  }

  async after(number: number, limit = 1_000): Promise<readonly AuditEntry[]> {
    return this.log.entries(this.partition, { from: { after: number }, limit, covered: true });
  }

  async points(from: ChainPoint): Promise<ChainPoint[]> {
    const points: ChainPoint[] = [];
    for (const entry of await this.after(from.number)) {
      points.push(next(points.at(-1) ?? from, entry));
    }
    return points;
  }
}

function next(before: ChainPoint, { number, bytes }: AuditEntry): ChainPoint {
  return {
    number,
    hash: chainHash(before.hash, number, bytes),
    bytes: before.bytes + bytes.length,
    timeMs: auditTimeOf(bytes),
  };
}

/** What every audit trail does. */
export function auditLogConformance(name: string, open: () => Promise<AuditLogSubject>): void {
  describe(`${name}: an audit trail`, () => {
    let opened: AuditLogSubject;
    const used = new Set<number>();
    const trail = (): Trail => new Trail(opened, used);

    beforeAll(async () => {
      opened = await open();
    });
    afterAll(() => opened.close());

    test("begins at a point that is its store's own", async () => {
      const t = trail();
      const start = chainStart(t.log.storeId ?? "", t.partition);
      expect(await t.standing()).toEqual({ last: 0, dropped: 0, base: start, head: start });
      expect(await t.after(0)).toEqual([]);
    });

    test("numbers entries without gaps, and returns them in both directions, a page at a time", async () => {
      const t = trail();
      await t.append(10, 20, 30);
      await t.append(40);
      const numbers = (entries: readonly AuditEntry[]) => entries.map(({ number }) => number);
      expect(numbers(await t.after(0))).toEqual([1, 2, 3, 4]);
      expect(numbers(await t.after(1, 2))).toEqual([2, 3]);
      const before = (number: number, limit: number) =>
        t.log.entries(t.partition, { from: { before: number }, limit, covered: false });
      expect(numbers(await before(5, 3))).toEqual([4, 3, 2]);
      expect(numbers(await before(2, 3))).toEqual([1]);
      expect(numbers(await before(1, 3))).toEqual([]);
      const [first] = await t.after(0);
      expect(decodeAudit(first?.bytes ?? new Uint8Array())).toMatchObject({
        instance: t.instance,
        events: [{ time: 10 }],
      });
      expect((await t.standing()).last).toBe(4);
    });

    test("finds the first entry since a time", async () => {
      const t = trail();
      expect(await t.log.seek(t.partition, 5)).toBe(1);
      await t.append(...Array.from({ length: 100 }, (_, at) => 10 * (at + 1)));
      const found = [5, 10, 11, 500, 1_000, 1_001].map((time) => t.log.seek(t.partition, time));
      expect(await Promise.all(found)).toEqual([1, 1, 2, 50, 100, 101]);
    });

    test("extends its chain only from the head, and keeps points to begin at", async () => {
      const t = trail();
      await t.append(...Array.from({ length: 300 }, (_, at) => at));
      const epoch = await t.epoch();
      const { head } = await t.standing();
      const points = await t.points(head);
      expect(await t.log.extend(t.partition, head, points, epoch)).toBe(true);
      expect(await t.log.extend(t.partition, head, points, epoch)).toBe(false);
      expect((await t.standing()).head).toEqual(points.at(-1));
      expect(await t.log.points(t.partition, [255, 256])).toEqual([undefined, points[255]]);
    });

    test("can be trimmed at its beginning, and continues", async () => {
      const t = trail();
      await t.append(...Array.from({ length: 300 }, (_, at) => at));
      const epoch = await t.epoch();
      const { head } = await t.standing();
      const points = await t.points(head);
      await t.log.extend(t.partition, head, points, epoch);
      await t.log.trim(t.partition, points[279] as ChainPoint, epoch);
      expect((await t.after(0)).map(({ number }) => number)).toEqual(
        Array.from({ length: 20 }, (_, at) => 281 + at),
      );
      expect(await t.standing()).toEqual({
        last: 300,
        dropped: 0,
        base: points[279],
        head: points[299],
      });
      expect(await t.log.points(t.partition, [256])).toEqual([undefined]);
      await t.append(7);
      expect((await t.standing()).last).toBe(301);
    });

    test("refuses all writes of a leader of an older epoch", async () => {
      const t = trail();
      await t.append(1);
      const old = await t.epoch();
      const epoch = await t.epoch();
      const { head } = await t.standing();
      const points = await t.points(head);
      const point = { number: 1, hash: new Uint8Array(32) };
      await t.log.setSinkPoints("fenced", new Map(), epoch);
      await t.log.extend(t.partition, head, [], epoch);
      const failures = await Promise.allSettled([
        t.log.extend(t.partition, head, points, old),
        t.log.trim(t.partition, points[0] as ChainPoint, old),
        t.log.setSinkPoints("fenced", new Map([[t.partition, point]]), old),
      ]);
      for (const each of failures) {
        expect(each).toMatchObject({ status: "rejected", reason: { failure: "deposed" } });
      }
      expect((await t.standing()).head).toEqual(head);
      expect(await t.after(0)).toHaveLength(1);
      expect((await t.log.sinkPoints("fenced")).size).toBe(0);
    });

    test("remembers how far each sink has received each partition", async () => {
      const t = trail();
      const epoch = await t.epoch();
      const point = (number: number) => ({ number, hash: new Uint8Array(32).fill(number) });
      const [one, other] = [randomUUID(), randomUUID()];
      await t.log.setSinkPoints(
        one,
        new Map([
          [3, point(7)],
          [64, point(9)],
        ]),
        epoch,
      );
      await t.log.setSinkPoints(other, new Map([[3, point(1)]]), epoch);
      await t.log.setSinkPoints(one, new Map([[3, point(8)]]), epoch);
      const points = await t.log.sinkPoints(one);
      expect([...points].map(([at, { number }]) => [at, number]).toSorted()).toEqual([
        [3, 8],
        [64, 9],
      ]);
      expect(Buffer.from(points.get(64)?.hash ?? [])).toEqual(Buffer.alloc(32, 9));
      expect([...(await t.log.sinkPoints(other)).keys()]).toEqual([3]);
    });

    test("drops the oldest entries beyond its limit, and the chain continues after them", async () => {
      const t = trail();
      for (let round = 0; round < 12; round += 1) {
        await t.append(...Array.from({ length: 100 }, (_, at) => at));
      }
      const { last, dropped, head } = await t.standing();
      expect([last, dropped]).toEqual([1_200, 1_024 - auditLogKept]);
      expect((await t.after(0))[0]?.number).toBe(dropped + 1);
      const epoch = await t.epoch();
      const gap = chainGap(head, dropped);
      expect(await t.log.extend(t.partition, head, [gap], epoch, gap)).toBe(true);
      expect(await t.standing()).toMatchObject({ base: gap, head: gap });
    });

    test("an instance beyond its share pushes out its own entries only, and gets room again", async () => {
      const t = trail();
      const neighbour = t.neighbour();
      const surplus = trailsOf(t.instance)[1] ?? 0;
      await t.appendOf(neighbour, 1, 2, 3);
      for (let round = 0; round < 12; round += 1) {
        await t.append(...Array.from({ length: 100 }, (_, at) => at));
      }
      await t.appendOf(neighbour, 4);
      const share = auditLogKept / 4;
      const own = (await t.after(0)).map(({ bytes }) => decodeAudit(bytes).instance);
      expect(own.filter((instance) => instance === neighbour)).toHaveLength(4);
      expect(own).toHaveLength(share + 4);
      expect(await t.standing()).toMatchObject({ last: share + 4, dropped: 0 });
      // The surplus numbers its entries itself, and keeps the newest.
      const { last, dropped, base, head } = await t.standing(surplus);
      expect([last, dropped]).toEqual([1_200 - share, 1_024 - auditLogKept]);
      expect(base).toEqual(chainStart(t.log.storeId ?? "", surplus));
      const beyond = await t.log.entries(surplus, {
        ...{ from: { after: 0 }, limit: 1_000, covered: true },
      });
      expect(beyond[0]?.number).toBe(dropped + 1);
      const epoch = await t.epoch();
      const gap = chainGap(head, dropped);
      expect(await t.log.extend(surplus, head, [gap], epoch, gap)).toBe(true);
      expect(await t.standing(surplus)).toMatchObject({ base: gap, head: gap });
      // What retention removes makes room.
      const points = await t.points((await t.standing()).head);
      await t.log.extend(t.partition, (await t.standing()).head, points, epoch);
      await t.log.trim(t.partition, points[12] as ChainPoint, epoch);
      await t.append(...Array.from({ length: 20 }, (_, at) => at));
      expect((await t.standing()).last).toBe(share + 4 + 10);
      expect((await t.standing(surplus)).last).toBe(1_200 - share + 10);
    });
  });
}
