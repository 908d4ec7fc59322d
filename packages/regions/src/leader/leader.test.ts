import { type Event, StoreUnavailable } from "@holdfast/engine";
import type { MemoryOwnStore } from "@holdfast/engine/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  countedIds,
  openStore,
  VirtualLock,
  VirtualProcess,
  VirtualTime,
} from "../testing/leader/test-leader.ts";
import type { Duty, DutyContext, DutyResult } from "./duty.ts";
import { Leader } from "./leader.ts";

let time: VirtualTime;
let lock: VirtualLock;
let own: MemoryOwnStore;
let nodes: TestNode[];

interface TestNode {
  readonly leader: Leader;
  readonly process: VirtualProcess;
  readonly events: Event[];
  /** When the duty ran, and in which epoch. */
  readonly runs: { readonly atMs: number; readonly epoch: number }[];
}

beforeEach(async () => {
  time = new VirtualTime();
  lock = new VirtualLock(time);
  own = await openStore();
  nodes = [];
});

afterEach(async () => {
  for (const node of nodes) node.process.resume();
  const closed = Promise.all(nodes.map(({ leader }) => leader.close()));
  await time.run(3_000);
  await closed;
});

function start(
  name: string,
  work: (context: DutyContext) => Promise<DutyResult> = async () => ({ done: 0, left: 0 }),
  more: readonly Duty[] = [],
): TestNode {
  const process = new VirtualProcess(time);
  const events: Event[] = [];
  const runs: { readonly atMs: number; readonly epoch: number }[] = [];
  const duty: Duty = {
    name: "work",
    everyMs: 200,
    run: async (context) => {
      runs.push({ atMs: time.monotonicMs(), epoch: context.epoch });
      return work(context);
    },
  };
  const leader = new Leader({
    lock: process.lock(lock.for(name)),
    own,
    timers: process.timers,
    ids: countedIds(),
    observe: (event) => events.push(event),
    duties: [duty, ...more],
  });
  const node = { leader, process, events, runs };
  nodes.push(node);
  return node;
}

function states(node: TestNode): readonly string[] {
  return node.events.flatMap((event) =>
    event.type === "leader" ? [`${event.state} ${event.epoch}`] : [],
  );
}

function leading(): readonly TestNode[] {
  return nodes.filter(({ leader }) => leader.epoch !== undefined);
}

describe("election", () => {
  test("one of several nodes leads, in an epoch that the store gave, and keeps leading", async () => {
    const started = ["n1", "n2", "n3"].map((name) => start(name));
    await time.run(60_000);
    expect(leading()).toHaveLength(1);
    const [first] = leading();
    expect(states(first as TestNode)).toEqual(["standing 0", "leader 1"]);
    expect((first as TestNode).runs.length).toBeGreaterThan(200);
    for (const node of started) if (node !== first) expect(node.runs).toEqual([]);
  });

  test("nothing is done before the epoch is durable", async () => {
    let durable: () => void = () => undefined;
    const waits = new Promise<void>((resolve) => {
      durable = resolve;
    });
    own = await openStore({ barrier: () => waits });
    const node = start("n1");
    await time.run(2_000);
    expect(node.leader.state).toBe("standing");
    expect(node.runs).toEqual([]);
    durable();
    await time.run(500);
    expect(node.leader.epoch).toBe(1);
    expect(node.runs.length).toBeGreaterThan(0);
  });

  test("a node whose epoch takes longer than the lease is not elected, and gives the lock back", async () => {
    let slow = true;
    own = await openStore({ barrier: () => (slow ? time.sleep(6_000) : Promise.resolve()) });
    const node = start("n1");
    await time.run(5_100);
    expect(states(node)).toEqual(["standing 0", "follower 0"]);
    expect(lock.holder).toBeUndefined();
    slow = false;
    await time.run(1_000);
    expect(node.leader.epoch).toBeGreaterThan(0);
  });

  test.each([
    ["acquired", 1_000],
    ["extended", 4_000],
  ])("a lease counts from when its lock was %s, however late the answer came", async (_, ms) => {
    lock.answerMs = 900;
    const node = start("n1");
    await time.run(ms);
    expect(node.leader.epoch).toBe(1);
    lock.away = true;
    const overlong: number[] = [];
    while (node.leader.epoch !== undefined || lock.holder !== undefined) {
      if (lock.holder === undefined) overlong.push(time.monotonicMs());
      await time.run(100);
    }
    expect(overlong).toEqual([]);
  });

  test("a node whose store has no lease is not a candidate, and a leader without one does nothing", async () => {
    own.setState("none");
    const node = start("n1");
    await time.run(3_000);
    expect(node.events).toEqual([]);
    own.setState("full");
    await time.run(1_000);
    expect(node.leader.epoch).toBe(1);
    const before = node.runs.length;
    own.setState("readOnly");
    await time.run(3_000);
    expect(node.runs.length).toBeLessThanOrEqual(before + 1);
    own.setState("full");
    await time.run(500);
    expect(node.leader.epoch).toBe(1);
    expect(node.runs.length).toBeGreaterThan(before + 1);
    own.setState("none");
    await time.run(8_000);
    expect(node.leader.state).toBe("follower");
    expect(lock.holder).toBeUndefined();
  });

  test("an outage of the lock masters ends a term only if it is longer than the lease", async () => {
    const node = start("n1");
    await time.run(1_000);
    lock.away = true;
    await time.run(3_000);
    lock.away = false;
    await time.run(5_000);
    expect(states(node)).toEqual(["standing 0", "leader 1"]);
    lock.away = true;
    await time.run(6_000);
    expect(node.leader.epoch).toBeUndefined();
    lock.away = false;
    await time.run(6_000);
    expect(node.leader.epoch).toBe(2);
  });
});

describe("takeover", () => {
  test("happens within 8 s after a leader is stopped, which does nothing when it resumes", async () => {
    start("n1");
    await time.run(1_000);
    start("n2");
    await time.run(5_000);
    const [old] = leading() as [TestNode];
    old.process.stop();
    const stoppedMs = time.monotonicMs();
    const next = nodes.find((node) => node !== old) as TestNode;
    await time.run(8_000);
    expect(next.runs[0]?.atMs).toBeLessThanOrEqual(stoppedMs + 8_000);
    expect(next.leader.epoch).toBe(2);
    const before = old.runs.length;
    old.process.resume();
    await time.run(5_000);
    expect(old.runs.slice(before)).toEqual([]);
    expect(states(old).slice(0, 3)).toEqual(["standing 0", "leader 1", "follower 1"]);
    expect(leading()).toEqual([next]);
  });

  test("a write that a stopped leader was about to make is refused by its epoch, and ends its term", async () => {
    const cursor = { replicationId: "r", number: 7 };
    const outcomes: string[] = [];
    const slow: Duty = {
      name: "slow",
      everyMs: 1,
      run: async ({ epoch }) => {
        await time.sleep(90);
        // Stopped between its decision and its write, regardless of the lease.
        await nodes[0]?.process.running();
        await own.setCursor(3, "b", cursor, epoch).then(
          () => outcomes.push(`written in ${epoch}`),
          (error: StoreUnavailable) => {
            outcomes.push(error.failure);
            throw error;
          },
        );
        return { done: 1, left: 0 };
      },
    };
    const old = start("n1", undefined, [slow]);
    await time.run(1_050);
    expect(new Set(outcomes)).toEqual(new Set(["written in 1"]));
    start("n2");
    old.process.stop();
    await time.run(8_000);
    outcomes.length = 0;
    old.process.resume();
    await time.run(200);
    expect(outcomes[0]).toBe("deposed");
    expect(old.leader.epoch).toBeUndefined();
  });

  test("a leader that the store refuses stops leading, although it has the lock", async () => {
    const node = start("n1", async ({ epoch }) => {
      await own.setLevel(0, epoch);
      return { done: 0, left: 0 };
    });
    await time.run(1_000);
    expect(node.leader.epoch).toBe(1);
    expect(await own.newEpoch()).toBe(2);
    await time.run(250);
    expect(states(node).slice(0, 3)).toEqual(["standing 0", "leader 1", "follower 1"]);
    await time.run(1_000);
    expect(node.leader.epoch).toBe(3);
  });

  test("happens at once when the leader closes", async () => {
    const first = start("n1");
    await time.run(1_000);
    const second = start("n2");
    await time.run(1_000);
    const closing = first.leader.close();
    await time.run(600);
    await closing;
    expect(second.leader.epoch).toBe(2);
    const before = first.runs.length;
    await time.run(10_000);
    expect(first.runs.length).toBe(before);
    expect(states(first).at(-1)).toBe("follower 1");
  });

  test("a run that does not end delays close for a bounded time, and the release of the lock not at all", async () => {
    const first = start("n1", () => new Promise(() => undefined));
    await time.run(1_000);
    start("n2");
    const closing = first.leader.close();
    await time.run(100);
    expect(lock.holder).not.toBe("n1");
    await time.run(2_000);
    await closing;
    nodes = nodes.filter((node) => node !== first);
  });
});

describe("duties", () => {
  test("run one at a time, at once again while there is more to do", async () => {
    let running = 0;
    let left = 5;
    const node = start("n1", async () => {
      running += 1;
      expect(running).toBe(1);
      await time.sleep(10);
      running -= 1;
      left = Math.max(0, left - 1);
      return { done: left === 0 ? 0 : 1, left };
    });
    await time.run(1_000);
    const gaps = node.runs.map(({ atMs }, at) => atMs - (node.runs[at - 1]?.atMs ?? atMs));
    expect(gaps.slice(1, 5)).toEqual([10, 10, 10, 10]);
    expect(gaps.slice(5).every((gap) => gap === 210)).toBe(true);
  });

  test("a failure is reported and retried with growing pauses; a success is reported from time to time", async () => {
    let fails = true;
    const node = start("n1", async () => {
      if (fails) throw new StoreUnavailable("timeout", "slow");
      return { done: 0, left: 0 };
    });
    await time.run(20_000);
    const duties = () => node.events.filter((event) => event.type === "duty");
    expect(duties().every(({ ok }) => !ok)).toBe(true);
    expect(duties().length).toBeGreaterThan(5);
    expect(duties().length).toBeLessThan(25);
    expect(node.leader.epoch).toBe(1);
    fails = false;
    node.events.length = 0;
    await time.run(20_000);
    expect(duties().every(({ ok }) => ok)).toBe(true);
    expect(duties().length).toBeGreaterThanOrEqual(4);
    expect(duties().length).toBeLessThanOrEqual(6);
    expect(node.runs.length).toBeGreaterThan(100);
  });

  test("wake ends the pause before the next run", async () => {
    const runs: number[] = [];
    const seldom: Duty = {
      name: "seldom",
      everyMs: 60_000,
      run: async () => {
        runs.push(time.monotonicMs());
        return { done: 0, left: 0 };
      },
    };
    const node = start("n1", undefined, [seldom]);
    await time.run(1_000);
    expect(runs).toHaveLength(1);
    node.leader.wake("seldom");
    await time.run(1);
    expect(runs).toHaveLength(2);
    await time.run(50_000);
    expect(runs).toHaveLength(2);
  });

  test("a duty that fails with any other error than the store's refusal does not end the term", async () => {
    const node = start("n1", async () => {
      throw new Error("a fault of ours");
    });
    await time.run(10_000);
    expect(node.leader.epoch).toBe(1);
  });
});
