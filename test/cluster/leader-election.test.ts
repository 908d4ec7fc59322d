import { until } from "@holdfast/testing";
import { describe, expect, test } from "vitest";
import { type LeaderLine, LeaderProcess } from "../support/leader-process.ts";
import { RedisServer } from "../support/redis.ts";
import { openNewStore, patientOptions } from "../support/redis-store.ts";

/** From the moment that a leader dies or stops to the first write of its successor. */

interface Election extends AsyncDisposable {
  readonly first: LeaderProcess;
  readonly second: LeaderProcess;
}

/** A store, three lock masters, and two processes. The first one leads and has written. */
async function elected(): Promise<Election> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await RedisServer.start());
  const masters = await Promise.all(
    [1, 2, 3].map(async () => stack.use(await RedisServer.start({ config: { appendonly: "no" } }))),
  );
  const opened = await openNewStore({ ...patientOptions, address: redis.address });
  await opened[Symbol.asyncDispose]();
  const urls = masters.map(({ address }) => `redis://${address}`);
  const first = stack.use(new LeaderProcess(redis.address, urls));
  await first.says("first write", { type: "write", state: "written" });
  const second = stack.use(new LeaderProcess(redis.address, urls));
  await second.says("its standing", { type: "stands" });
  const kept = stack.move();
  return { first, second, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Waits until the second one has written, in a later epoch than the first one's. */
async function takenOver(second: LeaderProcess, sinceMs: number, before: number): Promise<void> {
  let line: LeaderLine | undefined;
  await until("the second one's first write", () => {
    line = second.lines.find(({ state, epoch }) => state === "written" && epoch > before);
    return line !== undefined;
  });
  const tookMs = Number(line?.at) - sinceMs;
  process.stdout.write(`    the next leader writes ${tookMs} ms after the fault\n`);
}

function statesOf({ lines }: LeaderProcess): readonly string[] {
  return lines.flatMap(({ type, state }) => (type === "leader" ? [state] : []));
}

/** Whether the first one leads, and has led all the time. */
function isCalm({ first, second }: Election): boolean {
  return statesOf(first).join() === "standing,leader" && statesOf(second).length === 0;
}

/**
 * Plays a story with elections until one is whole. A machine that is busy with other work gives a leader nothing for longer
 * than its lease lasts; then a story answers what disturbed it, and is played again.
 */
async function undisturbed(story: (election: Election) => Promise<true | string>): Promise<void> {
  await until("an election that nothing disturbs", async () => {
    await using election = await elected();
    return await story(election);
  });
}

describe("another node takes over", () => {
  test("from a leader that is killed", async () => {
    await undisturbed(async (election) => {
      const { first, second } = election;
      const killedMs = Date.now();
      first.signal("SIGKILL");
      if (!isCalm(election)) return "it did not lead when it was killed";
      const epoch = epochOf(first);
      await takenOver(second, killedMs, epoch);
      const states = statesOf(second);
      if (states.includes("follower")) return "the second one lost its lease";
      expect(states).toEqual(["standing", "leader"]);
      expect(epochOf(second)).toBe(epoch + 1);
      return true;
    });
  });

  test("from a leader that is stopped; its next write after it resumes is refused by its epoch", async () => {
    await undisturbed(async (election) => {
      const { first, second } = election;
      const from = first.lines.length;
      await first.says("a decision", { type: "write", state: "decided" }, from);
      const stoppedMs = Date.now();
      first.signal("SIGSTOP");
      if (!isCalm(election)) return "it did not lead when it was stopped";
      const epoch = epochOf(first);
      await takenOver(second, stoppedMs, epoch);
      // Everything that it said before it was stopped has come by now.
      const last = first.lines.findLast(({ type }) => type === "write");
      if (last?.state !== "decided") return "it was stopped when it had written";
      const stopped = first.lines.length;
      first.signal("SIGCONT");
      const refused = await first.says("the refusal", { type: "write", state: "deposed" }, stopped);
      expect(refused.epoch).toBe(epoch);
      const resumed = first.lines.slice(stopped).filter((line) => line.epoch === epoch);
      expect(resumed.filter(({ state }) => state === "written")).toEqual([]);
      await first.says("its end", { type: "leader", state: "follower" }, stopped);
      if (statesOf(second).includes("follower")) return "the second one lost its lease";
      expect(second.lines.every(({ state }) => state !== "deposed")).toBe(true);
      return true;
    });
  });
});

test("another node leads at once when a leader closes, as it does when its node drains", async () => {
  await undisturbed(async (election) => {
    const { first, second } = election;
    if (!isCalm(election)) return "it did not lead when it closed";
    const closingMs = Date.now();
    await first.close();
    const line = await second.says("its election", { type: "leader", state: "leader" });
    process.stdout.write(`    the next leader leads ${line.at - closingMs} ms after the close\n`);
    const states = statesOf(first);
    if (states.length > 3) return "it lost its lease before it closed";
    expect(states).toEqual(["standing", "leader", "follower"]);
    return true;
  });
});

/** The epoch of a process's latest leadership. */
function epochOf({ lines }: LeaderProcess): number {
  return lines.findLast(({ type, state }) => type === "leader" && state === "leader")?.epoch ?? 0;
}
