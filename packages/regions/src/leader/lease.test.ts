import type { Moment } from "@holdfast/engine";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  actingEpoch,
  type LeaderEvent,
  type LeaderLease,
  leaderRules,
  leaseStep,
  noLeadership,
  remainingMs,
} from "./lease.ts";

const seed = 20260301;
const start: Moment = { monotonicMs: 50_000, wallMs: 1_700_000_000_000 };
const { leaseMs } = leaderRules;

function after(ms: number, wallMs = ms): Moment {
  return { monotonicMs: start.monotonicMs + ms, wallMs: start.wallMs + wallMs };
}

type Step = readonly [event: LeaderEvent, now: Moment];

function leaseOf(...steps: readonly Step[]): LeaderLease {
  return steps.reduce((lease, [event, now]) => leaseStep(lease, event, now), noLeadership);
}

const locked: Step = [{ type: "locked", asked: start }, after(5)];
const elected: Step = [{ type: "epoch", epoch: 7 }, after(10)];
const tick = { type: "tick" } as const;

describe("the state of the lease", () => {
  test.each<[string, readonly Step[], Moment, LeaderLease["state"], number | undefined]>([
    ["nothing yet", [], after(0), "follower", undefined],
    ["the lock alone is not enough", [locked], after(20), "standing", undefined],
    ["the lock and a durable epoch", [locked, elected], after(20), "leader", 7],
    ["an epoch without the lock", [elected], after(20), "follower", undefined],
    ["a lease in its last moment", [locked, elected], after(leaseMs - 1), "leader", 7],
    ["counted from the request", [locked, elected], after(leaseMs), "follower", undefined],
    ["the wall clock ran out", [locked, elected], after(20, leaseMs), "follower", undefined],
    ["monotonic clock ran out", [locked, elected], after(leaseMs, 20), "follower", undefined],
    ["a wall clock that goes back", [locked, elected], after(20, -60_000), "leader", 7],
    [
      "renewed",
      [locked, elected, [{ type: "extended", asked: after(1_500) }, after(1_600)]],
      after(1_499 + leaseMs),
      "leader",
      7,
    ],
    [
      "renewed from when it asked, not from when the answer came",
      [locked, elected, [{ type: "extended", asked: after(1_500) }, after(4_900)]],
      after(1_500 + leaseMs),
      "follower",
      undefined,
    ],
    [
      "an answer that comes after the end renews nothing",
      [locked, elected, [{ type: "extended", asked: after(1_500) }, after(leaseMs)]],
      after(leaseMs),
      "follower",
      undefined,
    ],
    [
      "the answers of two renewals in the wrong order",
      [
        locked,
        elected,
        [{ type: "extended", asked: after(3_000) }, after(3_100)],
        [{ type: "extended", asked: after(1_500) }, after(3_200)],
      ],
      after(2_999 + leaseMs),
      "leader",
      7,
    ],
    [
      "a lock that was won too long ago",
      [[{ type: "locked", asked: start }, after(leaseMs)]],
      after(leaseMs),
      "follower",
      undefined,
    ],
    [
      "an epoch that came too late",
      [locked, [{ type: "epoch", epoch: 7 }, after(leaseMs)]],
      after(leaseMs),
      "follower",
      undefined,
    ],
    [
      "ended",
      [locked, elected, [{ type: "ended", reason: "deposed" }, after(20)]],
      after(20),
      "follower",
      undefined,
    ],
    [
      "a second lock while it leads changes nothing",
      [locked, elected, [{ type: "locked", asked: after(1_000) }, after(1_001)]],
      after(leaseMs),
      "follower",
      undefined,
    ],
  ])("%s", (_name, steps, now, state, epoch) => {
    const lease = leaseOf(...steps);
    expect(leaseStep(lease, tick, now).state).toBe(state);
    expect(actingEpoch(lease, now)).toBe(epoch);
  });

  test("a leader that was paused for longer than its lease stops leading, even without an event", () => {
    const lease = leaseOf(locked, elected);
    expect(lease.state).toBe("leader");
    expect(actingEpoch(lease, after(60_000))).toBeUndefined();
    const resumed = leaseStep(lease, { type: "extended", asked: after(59_000) }, after(60_000));
    expect(resumed).toEqual({ state: "follower", reason: "the lease ran out" });
  });
});

/** One node of the model: its clocks, its lease, and the answers that have not come yet. */
interface Model {
  lease: LeaderLease;
  monotonicMs: number;
  wallMs: number;
  answers: LeaderEvent[];
}

type Action =
  | { readonly type: "wait"; readonly ms: number }
  | { readonly type: "acquire" | "extend" | "epoch"; readonly node: number }
  | { readonly type: "answer"; readonly node: number; readonly at: number }
  | { readonly type: "tick" | "ended" | "stand" | "renew"; readonly node: number }
  | { readonly type: "jump"; readonly node: number; readonly ms: number }
  | { readonly type: "suspend"; readonly node: number; readonly ms: number }
  | { readonly type: "forgetLock" };

const nodes = 3;
const node = fc.nat(nodes - 1);
const plain = fc.oneof(
  fc.record({ type: fc.constant("wait" as const), ms: fc.nat(3_000) }),
  fc.record({ type: fc.constantFrom("acquire" as const, "extend", "epoch"), node }),
  fc.record({ type: fc.constant("answer" as const), node, at: fc.nat(5) }),
  fc.record({ type: fc.constant("answer" as const), node, at: fc.constant(0) }),
  fc.record({ type: fc.constantFrom("stand" as const, "renew"), node }),
  fc.record({ type: fc.constant("tick" as const), node }),
  fc.record({ type: fc.constant("ended" as const), node }),
);
const jump = fc.record({
  type: fc.constant("jump" as const),
  node,
  ms: fc.integer({ min: -20_000, max: 20_000 }),
});
/** The host sleeps: its monotonic clock stops while the wall clock continues. */
const suspend = fc.record({ type: fc.constant("suspend" as const), node, ms: fc.nat(20_000) });
const forgetLock = fc.record({ type: fc.constant("forgetLock" as const) });

/** Three nodes, a lock with a time to live, and a store that counts epochs. */
class World {
  readonly nodes: Model[] = Array.from({ length: nodes }, () => ({
    lease: noLeadership,
    monotonicMs: 50_000,
    wallMs: 1_700_000_000_000,
    answers: [],
  }));
  #holder: number | undefined;
  #untilMs = 0;
  #nowMs = 0;
  #epoch = 0;

  do(action: Action): void {
    if (action.type === "wait") this.#pass(action.ms);
    else if (action.type === "forgetLock") this.#untilMs = 0;
    else this.#doAt(this.nodes[action.node] as Model, action);
  }

  /** Epochs in which a node acts now. */
  acting(): readonly number[] {
    return this.nodes.flatMap((each) => actingEpoch(each.lease, momentOf(each)) ?? []);
  }

  #pass(ms: number): void {
    this.#nowMs += ms;
    for (const each of this.nodes) {
      each.monotonicMs += ms;
      each.wallMs += ms;
    }
  }

  #doAt(at: Model, action: Exclude<Action, { type: "wait" | "forgetLock" }>): void {
    const free = this.#nowMs >= this.#untilMs;
    const asked = momentOf(at);
    switch (action.type) {
      case "acquire":
        if (!free) return;
        this.#holder = action.node;
        this.#untilMs = this.#nowMs + leaseMs;
        at.answers.push({ type: "locked", asked });
        return;
      case "extend":
        if (free || this.#holder !== action.node) return;
        this.#untilMs = this.#nowMs + leaseMs;
        at.answers.push({ type: "extended", asked });
        return;
      case "epoch":
        this.#epoch += 1;
        at.answers.push({ type: "epoch", epoch: this.#epoch });
        return;
      case "answer":
        for (const event of at.answers.splice(action.at, 1)) this.#step(at, event);
        return;
      case "stand":
      case "renew":
        this.#allAtOnce(
          at,
          action.type === "stand" ? ["acquire", "epoch"] : ["extend"],
          action.node,
        );
        return;
      case "tick":
      case "ended":
        this.#step(at, action.type === "tick" ? tick : { type: "ended", reason: "test" });
        return;
      case "jump":
        at.wallMs += action.ms;
        return;
      case "suspend":
        this.#pass(action.ms);
        at.monotonicMs -= action.ms;
    }
  }

  /** Asks for each, and hears the answer at once. */
  #allAtOnce(at: Model, types: readonly ("acquire" | "epoch" | "extend")[], node: number): void {
    for (const type of types) {
      const before = at.answers.length;
      this.#doAt(at, { type, node });
      for (const event of at.answers.splice(before)) this.#step(at, event);
    }
  }

  #step(at: Model, event: LeaderEvent): void {
    at.lease = leaseStep(at.lease, event, momentOf(at));
  }
}

function momentOf({ monotonicMs, wallMs }: Model): Moment {
  return { monotonicMs, wallMs };
}

describe(`three nodes, under any sequence of events (seed ${seed})`, () => {
  test("no two act in one epoch, even if the lock is lost and clocks are wrong", () => {
    let acted = 0;
    const any = fc.oneof(
      { weight: 8, arbitrary: plain },
      { weight: 1, arbitrary: jump },
      { weight: 1, arbitrary: suspend },
      { weight: 1, arbitrary: forgetLock },
    );
    fc.assert(
      fc.property(fc.array(any, { minLength: 20, maxLength: 120 }), (actions) => {
        const world = new World();
        for (const action of actions) {
          world.do(action);
          const acting = world.acting();
          acted += acting.length;
          expect(new Set(acting).size).toBe(acting.length);
        }
      }),
      { seed, numRuns: 2_000 },
    );
    expect(acted).toBeGreaterThan(5_000);
  });

  test.each([
    ["wall clocks jump", jump],
    ["hosts sleep", suspend],
  ] as const)("at most one acts at any moment while the lock is kept, even if %s", (_name, odd) => {
    let acted = 0;
    const any = fc.oneof({ weight: 8, arbitrary: plain }, { weight: 1, arbitrary: odd });
    fc.assert(
      fc.property(fc.array(any, { minLength: 20, maxLength: 120 }), (actions) => {
        const world = new World();
        for (const action of actions) {
          world.do(action);
          acted += world.acting().length;
          expect(world.acting().length).toBeLessThanOrEqual(1);
        }
      }),
      { seed, numRuns: 2_000 },
    );
    expect(acted).toBeGreaterThan(5_000);
  });

  test("no node acts after its lease has ended by either clock", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(plain, jump, suspend), { minLength: 20, maxLength: 120 }),
        (actions) => {
          const world = new World();
          for (const action of actions) {
            world.do(action);
            for (const each of world.nodes) {
              const { lease } = each;
              if (lease.state !== "leader") continue;
              const mono = each.monotonicMs - lease.asked.monotonicMs;
              const wall = each.wallMs - lease.asked.wallMs;
              const acts = actingEpoch(lease, momentOf(each)) !== undefined;
              expect(acts).toBe(mono < leaseMs && wall < leaseMs);
              expect(remainingMs(lease, momentOf(each)) > 0).toBe(acts);
            }
          }
        },
      ),
      { seed, numRuns: 1_000 },
    );
  });
});
