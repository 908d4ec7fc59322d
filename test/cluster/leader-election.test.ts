import { describe, expect, test } from "vitest";
import { type LeaderLine, LeaderProcess } from "../support/leader-process.ts";
import { RedisServer } from "../support/redis.ts";
import { openNewStore } from "../support/redis-store.ts";

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
  const opened = await openNewStore({ address: redis.address });
  await opened[Symbol.asyncDispose]();
  const urls = masters.map(({ address }) => `redis://${address}`);
  const first = stack.use(new LeaderProcess(redis.address, urls));
  await first.says("first write", { type: "write", state: "written" });
  const second = stack.use(new LeaderProcess(redis.address, urls));
  await second.says("its standing", { type: "stands" });
  const kept = stack.move();
  return { first, second, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

async function takenOver(second: LeaderProcess, sinceMs: number): Promise<LeaderLine> {
  const line = await second.says("the second one's first write", {
    type: "write",
    state: "written",
    epoch: 2,
  });
  process.stdout.write(`    the next leader writes ${line.at - sinceMs} ms after the fault\n`);
  return line;
}

function statesOf({ lines }: LeaderProcess): readonly string[] {
  return lines.flatMap(({ type, state }) => (type === "leader" ? [state] : []));
}

describe("another node takes over", () => {
  test("from a leader that is killed", async () => {
    await using election = await elected();
    const { first, second } = election;
    const killedMs = Date.now();
    first.signal("SIGKILL");
    await takenOver(second, killedMs);
    expect(statesOf(second)).toEqual(["standing", "leader"]);
  });

  test("from a leader that is stopped; its next write after it resumes is refused by its epoch", async () => {
    await using election = await elected();
    const { first, second } = election;
    const from = first.lines.length;
    await first.says("a decision", { type: "write", state: "decided" }, from);
    const stoppedMs = Date.now();
    first.signal("SIGSTOP");
    await takenOver(second, stoppedMs);
    first.signal("SIGCONT");
    const refused = await first.says("the refusal", { type: "write", state: "deposed" }, from);
    expect(refused.epoch).toBe(1);
    const resumed = first.lines.slice(from);
    const after = resumed.filter(({ at }) => at > stoppedMs + 1_000);
    expect(after.filter(({ state }) => state === "written")).toEqual([]);
    await first.says("its end", { type: "leader", state: "follower" }, from);
    expect(second.lines.every(({ state }) => state !== "deposed")).toBe(true);
  });
});

test("another node leads at once when a leader closes, as it does when its node drains", async () => {
  await using election = await elected();
  const { first, second } = election;
  const closingMs = Date.now();
  await first.close();
  const line = await second.says("its election", { type: "leader", state: "leader" });
  process.stdout.write(`    the next leader leads ${line.at - closingMs} ms after the close\n`);
  expect(statesOf(first)).toEqual(["standing", "leader", "follower"]);
});
