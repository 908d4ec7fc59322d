import type { Moment } from "@holdfast/engine";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Lease, type LeaseEvent, type LeaseRules, noLease, stateAt, step } from "./lease.ts";

const seed = 20260201;
const storeLeaseMs = 1_000;
const start: Moment = { monotonicMs: 50_000, wallMs: 1_700_000_000_000 };
const holder = { connection: 1, runId: "r1", address: "a:1" };

function after(ms: number, wallMs = ms): Moment {
  return { monotonicMs: start.monotonicMs + ms, wallMs: start.wallMs + wallMs };
}

function rules(promotion: LeaseRules["promotion"], sentinels = 3): LeaseRules {
  return { storeLeaseMs, promotion, sentinels };
}

function barrier(ms: number, local: boolean, replicas: boolean, connection = 1): LeaseEvent {
  return { type: "barrier", connection, began: after(ms), local, replicas };
}

function heard(sentinel: string, ms: number, address = "a:1", sentinels = 3): LeaseEvent {
  return { type: "heard", sentinel, hearing: { address, at: after(ms), sentinels } };
}

function leaseOf(...events: readonly LeaseEvent[]): Lease {
  return events.reduce(step, noLease);
}

const connected: LeaseEvent = { type: "connected", holder };
const lost: LeaseEvent = { type: "ended", connection: 1, reason: "lost" };

describe("the state of the lease", () => {
  test.each<[string, readonly LeaseEvent[], LeaseRules, Moment, string]>([
    ["never connected", [], rules("nobody"), after(0), "none"],
    ["connected, no barrier", [connected], rules("nobody"), after(0), "none"],
    ["full barrier", [connected, barrier(0, true, true)], rules("nobody"), after(999), "full"],
    [
      "full barrier, counted from its beginning",
      [connected, barrier(0, true, true)],
      rules("nobody"),
      after(1_000),
      "none",
    ],
    [
      "the wall clock runs out first",
      [connected, barrier(0, true, true)],
      rules("nobody"),
      after(10, 1_000),
      "none",
    ],
    [
      "the monotonic clock runs out first",
      [connected, barrier(0, true, true)],
      rules("nobody"),
      after(1_000, 10),
      "none",
    ],
    [
      "the wall clock went back",
      [connected, barrier(0, true, true)],
      rules("nobody"),
      after(999, -9_000),
      "full",
    ],
    [
      "connection lost",
      [connected, barrier(0, true, true), lost],
      rules("nobody"),
      after(1),
      "none",
    ],
    [
      "another connection",
      [connected, barrier(0, true, true), connected],
      rules("nobody"),
      after(1),
      "none",
    ],
    [
      "a lost connection's barrier",
      [connected, lost, barrier(0, true, true)],
      rules("nobody"),
      after(1),
      "none",
    ],
    [
      "an older connection's barrier",
      [connected, barrier(0, true, true, 7)],
      rules("nobody"),
      after(1),
      "none",
    ],
    [
      "an older connection's end",
      [connected, barrier(0, true, true), { ...lost, connection: 7 }],
      rules("nobody"),
      after(1),
      "full",
    ],
    ["local disk short", [connected, barrier(0, false, true)], rules("nobody"), after(1), "none"],
    [
      "replicas short",
      [connected, barrier(0, true, false)],
      rules("nobody"),
      after(999),
      "readOnly",
    ],
    [
      "replicas short, over",
      [connected, barrier(0, true, false)],
      rules("nobody"),
      after(1_000),
      "none",
    ],
    [
      "something else may promote",
      [connected, barrier(0, true, false)],
      rules("unknown"),
      after(1),
      "none",
    ],
    [
      "something else may promote, although Sentinels heard it",
      [connected, barrier(0, true, false), heard("s1", 0), heard("s2", 0)],
      rules("unknown"),
      after(1),
      "none",
    ],
    [
      "short after full",
      [connected, barrier(0, true, true), barrier(900, true, false)],
      rules("nobody"),
      after(999),
      "full",
    ],
    [
      "short after full, when the full one is over",
      [connected, barrier(0, true, true), barrier(900, true, false)],
      rules("nobody"),
      after(1_001),
      "readOnly",
    ],
    [
      "no Sentinel heard it",
      [connected, barrier(0, true, false)],
      rules("sentinels"),
      after(1),
      "none",
    ],
    [
      "one of three heard it",
      [connected, barrier(0, true, false), heard("s1", 0)],
      rules("sentinels"),
      after(1),
      "none",
    ],
    [
      "two of three heard it",
      [connected, barrier(0, true, false), heard("s1", 0), heard("s2", 0)],
      rules("sentinels"),
      after(1),
      "readOnly",
    ],
    [
      "the second of three too long ago",
      [
        ...[connected, barrier(500, true, false)],
        ...[heard("s1", 500), heard("s2", 0), heard("s3", 500)],
      ],
      rules("sentinels"),
      after(1_000),
      "readOnly",
    ],
    [
      "one of them too long ago",
      [connected, barrier(500, true, false), heard("s1", 500), heard("s2", 0)],
      rules("sentinels"),
      after(1_000),
      "none",
    ],
    [
      "one names another primary",
      [connected, barrier(0, true, false), heard("s1", 0), heard("s2", 0, "b:1")],
      rules("sentinels"),
      after(1),
      "none",
    ],
    [
      "one changed its mind",
      [connected, barrier(0, true, false), heard("s1", 0), heard("s2", 0), heard("s2", 1, "b:1")],
      rules("sentinels"),
      after(1),
      "none",
    ],
    [
      "more Sentinels than configured",
      [connected, barrier(0, true, false), heard("s1", 0, "a:1", 5), heard("s2", 0)],
      rules("sentinels", 2),
      after(1),
      "none",
    ],
    [
      "Sentinels do not matter to a full lease",
      [connected, barrier(0, true, true), heard("s1", 0, "b:1"), heard("s2", 0, "b:1")],
      rules("sentinels"),
      after(1),
      "full",
    ],
  ])("%s", (_name, events, leaseRules, now, state) => {
    expect(stateAt(leaseOf(...events), leaseRules, now).state).toBe(state);
  });
});

test("a short barrier's reason ends with the replicas that it does not cover, where they are known", () => {
  const short = { ...barrier(0, true, false), lacking: "10.0.0.7:6379" } as const;
  const { reason } = leaseOf(connected, short);
  expect(reason).toMatch(/: 10\.0\.0\.7:6379$/);
  const unnamed = leaseOf(connected, barrier(0, true, false)).reason;
  expect(reason).toBe(`${unnamed}: 10.0.0.7:6379`);
  // Each event that changes what is allowed says why.
  const steps = [[], [connected], [connected, lost], [connected, barrier(0, false, true)]];
  const reasons = [...steps.map((events) => leaseOf(...events).reason), unnamed];
  expect(new Set(reasons).size).toBe(reasons.length);
});

interface Timed {
  readonly now: Moment;
  readonly event: LeaseEvent;
}

const connectionNumber = fc.integer({ min: 1, max: 3 });
const address = fc.constantFrom("a:1", "b:1");
const ageMs = fc.integer({ min: 0, max: 1_500 });

/** Events in order of time; the two clocks drift apart now and then. */
const story: fc.Arbitrary<readonly Timed[]> = fc
  .array(
    fc.record({
      monotonicMs: fc.nat({ max: 600 }),
      wallMs: fc.integer({ min: -200, max: 900 }),
      kind: fc.constantFrom("connected", "barrier", "barrier", "barrier", "ended", "heard"),
      connection: connectionNumber,
      address,
      ageMs,
      local: fc.boolean(),
      replicas: fc.boolean(),
      sentinel: fc.constantFrom("s1", "s2", "s3"),
    }),
    { maxLength: 25 },
  )
  .map((steps) => {
    let now = start;
    return steps.map((made) => {
      now = {
        monotonicMs: now.monotonicMs + made.monotonicMs,
        wallMs: now.wallMs + made.wallMs,
      };
      return { now, event: eventOf(made, now) };
    });
  });

function eventOf(
  made: {
    readonly kind: string;
    readonly connection: number;
    readonly address: string;
    readonly ageMs: number;
    readonly local: boolean;
    readonly replicas: boolean;
    readonly sentinel: string;
  },
  now: Moment,
): LeaseEvent {
  const { connection, local, replicas, sentinel } = made;
  const at = { monotonicMs: now.monotonicMs - made.ageMs, wallMs: now.wallMs - made.ageMs };
  switch (made.kind) {
    case "connected":
      return {
        type: "connected",
        holder: { connection, runId: `r${connection}`, address: made.address },
      };
    case "barrier":
      return { type: "barrier", connection, began: at, local, replicas };
    case "ended":
      return { type: "ended", connection, reason: "lost" };
    default:
      return {
        type: "heard",
        sentinel,
        hearing: { address: made.address, at, sentinels: 3 },
      };
  }
}

function young(moment: Moment, now: Moment): boolean {
  return (
    now.monotonicMs - moment.monotonicMs < storeLeaseMs && now.wallMs - moment.wallMs < storeLeaseMs
  );
}

/** The rule of the design, computed from the whole history. */
function allowed(history: readonly LeaseEvent[], now: Moment): "full" | "readOnly" | "none" {
  const since = history.findLastIndex((event) => event.type === "connected");
  const begin = history[since];
  if (begin?.type !== "connected") return "none";
  const own = begin.holder;
  const later = history.slice(since + 1);
  const ends = later.some((event) => event.type === "ended" && event.connection === own.connection);
  if (ends) return "none";
  const lastBarrier = (wanted: (event: Extract<LeaseEvent, { type: "barrier" }>) => boolean) =>
    later.findLast(
      (event) => event.type === "barrier" && event.connection === own.connection && wanted(event),
    );
  const full = lastBarrier((event) => event.local && event.replicas);
  if (full?.type === "barrier" && young(full.began, now)) return "full";
  const local = lastBarrier((event) => event.local);
  if (local?.type !== "barrier" || !young(local.began, now)) return "none";
  const votes = ["s1", "s2", "s3"].filter((sentinel) => {
    const said = history.findLast((event) => event.type === "heard" && event.sentinel === sentinel);
    return (
      said?.type === "heard" && said.hearing.address === own.address && young(said.hearing.at, now)
    );
  });
  return votes.length >= 2 ? "readOnly" : "none";
}

test(`the lease allows what its whole history allows, at every moment (seed ${seed})`, () => {
  fc.assert(
    fc.property(story, fc.nat({ max: 1_200 }), (steps, laterMs) => {
      let lease = noLease;
      const history: LeaseEvent[] = [];
      for (const { event, now } of steps) {
        lease = step(lease, event);
        history.push(event);
        for (const ms of [0, laterMs]) {
          const moment = { monotonicMs: now.monotonicMs + ms, wallMs: now.wallMs + ms };
          const { state } = stateAt(lease, rules("sentinels"), moment);
          expect(state).toBe(allowed(history, moment));
        }
      }
    }),
    { seed, numRuns: 2_000 },
  );
});

test(`the remaining time is never longer than the lease really lasts (seed ${seed})`, () => {
  fc.assert(
    fc.property(story, (steps) => {
      const lease = steps.reduce((before, { event }) => step(before, event), noLease);
      const now = steps.at(-1)?.now ?? start;
      const { state, remainingMs } = stateAt(lease, rules("sentinels"), now);
      if (state === "none") return;
      const justBefore = remainingMs - 0.5;
      const at = (ms: number) => ({ monotonicMs: now.monotonicMs + ms, wallMs: now.wallMs + ms });
      expect(stateAt(lease, rules("sentinels"), at(justBefore)).state).toBe(state);
      expect(stateAt(lease, rules("sentinels"), at(remainingMs)).state).not.toBe(state);
    }),
    { seed, numRuns: 1_000 },
  );
});
