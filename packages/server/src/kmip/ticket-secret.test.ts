import { randomBytes } from "node:crypto";
import { StoreUnavailable } from "@holdfast/engine";
import { MemoryRootOfTrust } from "@holdfast/engine/testing";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { NodeEvent } from "../observe/events.ts";
import { TicketSecret } from "./ticket-secret.ts";

const hourMs = 3_600_000;
const ids = { uuid: () => "", randomBytes: (length: number) => randomBytes(length) };

let nowMs: number;
let stored: string;
let root: MemoryRootOfTrust;
let events: NodeEvent[];

const own = {
  localValue: async () => stored,
  setLocalValue: async (_: string, read: string, value: string) => {
    if (stored !== read) return false;
    stored = value;
    return true;
  },
};

function node(makes: boolean, given: Partial<ConstructorParameters<typeof TicketSecret>[0]> = {}) {
  const tickets = new TicketSecret({
    ...{ region: "a", own, root, makes: () => makes, wallMs: () => nowMs },
    randomBytes: ids.randomBytes,
    observe: (event) => events.push(event),
    ...given,
  });
  const used: Buffer[] = [];
  tickets.onChange((secret) => used.push(Buffer.from(secret)));
  return { tickets, used };
}

beforeEach(() => {
  nowMs = 500_000 * hourMs;
  stored = "";
  root = new MemoryRootOfTrust(ids);
  events = [];
});

test("nodes share the leader's secret, which is in the store wrapped only", async () => {
  const [leader, other] = [node(true), node(false)];
  expect(leader.tickets.secret).not.toEqual(other.tickets.secret);
  await other.tickets.look();
  expect(stored).toBe("");
  await leader.tickets.look();
  await other.tickets.look();
  expect(other.tickets.secret).toEqual(leader.tickets.secret);
  expect(other.used.at(-1)).toEqual(leader.tickets.secret);
  const bytes = Buffer.from(stored.split(" ")[1] ?? "", "base64");
  expect(bytes.includes(leader.tickets.secret)).toBe(false);
});

test("each hour has another secret, and the old one is zeroed at once, even if no store answers", async () => {
  const leader = node(true);
  await leader.tickets.look();
  const old = leader.tickets.secret;
  const copy = Buffer.from(old);
  nowMs += hourMs;
  own.localValue = async () => Promise.reject(new StoreUnavailable("noLease", "away"));
  await leader.tickets.look();
  own.localValue = async () => stored;
  expect(old.every((byte) => byte === 0)).toBe(true);
  expect(leader.tickets.secret).not.toEqual(copy);
  expect(leader.used.at(-1)).toEqual(leader.tickets.secret);
});

describe("what is in the store is believed for its own hour only", () => {
  test.each([-1, 1])(
    "%d hours away: not opened, nor if it is said to be of this hour",
    async (hours) => {
      const there = node(true, { wallMs: () => nowMs + hours * hourMs });
      await there.tickets.look();
      const unwrap = vi.spyOn(root, "unwrap");
      for (const claimed of [stored, stored.replace(/^\d+/, String(nowMs / hourMs))]) {
        expect(unwrap).not.toHaveBeenCalled();
        stored = claimed;
        const here = node(false);
        const before = Buffer.from(here.tickets.secret);
        await here.tickets.look();
        expect(here.tickets.secret).toEqual(before);
        expect(here.used).toHaveLength(1);
      }
      // The leader replaces it.
      stored = stored.replace(/^\d+/, String(nowMs / hourMs + hours));
      const leader = node(true);
      await leader.tickets.look();
      const other = node(false);
      await other.tickets.look();
      expect(other.tickets.secret).toEqual(leader.tickets.secret);
    },
  );

  test("another region's, garbage and another length are not used", async () => {
    await node(true, { region: "b" }).tickets.look();
    const foreign = stored;
    await node(true, { randomBytes: () => randomBytes(16) }).tickets.look();
    const hour = nowMs / hourMs;
    for (const value of [foreign, stored, `${hour} AAAA`, "x", `${hour} `]) {
      stored = value;
      const here = node(false);
      const before = Buffer.from(here.tickets.secret);
      await here.tickets.look();
      await here.tickets.look();
      expect(here.tickets.secret).toEqual(before);
    }
    // Each node has told once what it could not open.
    expect(events.map(({ type }) => type)).toContain("warning");
  });
});

test("a root of trust that does not answer costs resumption only, and is told once an hour", async () => {
  root.fail("unavailable");
  const leader = node(true);
  await leader.tickets.look();
  await leader.tickets.look();
  expect(events).toHaveLength(1);
  expect(leader.tickets.secret).toHaveLength(32);
});

/** Looks as often as in some minutes. */
async function looks(one: ReturnType<typeof node>, times = 100): Promise<void> {
  for (let at = 0; at < times; at++) await one.tickets.look();
}

test("a value of this hour that does not open is replaced by the leader, and is not opened again and again", async () => {
  const [leader, other] = [node(true), node(false)];
  const bad = `${nowMs / hourMs} ${randomBytes(60).toString("base64")}`;
  stored = bad;
  const unwrap = vi.spyOn(root, "unwrap");
  await looks(other);
  // Every two seconds, they would be a hundred.
  expect(unwrap.mock.calls.length).toBeLessThan(10);
  expect(stored).toBe(bad);
  await leader.tickets.look();
  expect(stored).not.toBe(bad);
  await looks(other);
  expect(other.tickets.secret).toEqual(leader.tickets.secret);
  expect(events.map(({ type }) => type)).toEqual(["warning", "warning"]);
  // A node that has opened it does not do so again.
  unwrap.mockClear();
  await looks(other);
  await looks(leader);
  expect(unwrap).not.toHaveBeenCalled();
});

test("after a fail-over that lost the value, the leader writes it again, and the nodes go on with it", async () => {
  const [leader, other] = [node(true), node(false)];
  await leader.tickets.look();
  await other.tickets.look();
  const before = Buffer.from(leader.tickets.secret);
  stored = "";
  const wrap = vi.spyOn(root, "wrap");
  await looks(other);
  expect(stored).toBe("");
  await looks(leader);
  expect(stored).not.toBe("");
  const late = node(false);
  await looks(late);
  for (const { tickets } of [leader, other, late]) expect(tickets.secret).toEqual(before);
  expect(wrap).not.toHaveBeenCalled();
});

test("a root of trust that does not answer is asked ever less often, and again after the hour", async () => {
  root.fail("unavailable");
  const wrap = vi.spyOn(root, "wrap");
  const leader = node(true);
  await looks(leader);
  expect(wrap.mock.calls.length).toBeLessThan(10);
  root.fail(undefined);
  nowMs += hourMs;
  await leader.tickets.look();
  expect(stored).not.toBe("");
});
