import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { OperatorError } from "@holdfast/server/base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Child, stopLeft } from "./child.ts";
import { identityOf, isAlive, signal } from "./process-identity.ts";
import { Supervised } from "./supervised.ts";

let folder = "";
const open: Child[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-child-"));
});

afterEach(async () => {
  for (const child of open.splice(0)) await child.stop(0);
  rmSync(folder, { recursive: true });
});

async function start(script: string): Promise<Child> {
  const child = await Child.start({
    name: "child",
    command: "/bin/sh",
    args: ["-c", script],
    log: join(folder, "log"),
  });
  open.push(child);
  return child;
}

/** A shell that waits, and prints a line once it can receive signals. */
const waits = "echo up; while :; do sleep 0.05; done";

async function untilUp(count = 1): Promise<void> {
  await expect
    .poll(() => readFileSync(join(folder, "log"), "utf8").split("up\n").length - 1)
    .toBe(count);
}

describe("a process of the cluster", () => {
  test("ends when asked to", async () => {
    const child = await start(`trap 'exit 7' TERM; ${waits}`);
    await untilUp();
    await child.stop(5000);
    expect(await child.ended).toBe("exit code 7");
    expect(isAlive(child.identity)).toBe(false);
  });

  test("is killed if it ignores the request to end", async () => {
    const child = await start(`trap '' TERM; ${waits}`);
    await untilUp();
    await child.stop(50);
    expect(await child.ended).toBe("signal SIGKILL");
  });

  test("reports the last line of its own run, not of earlier runs", async () => {
    const first = await start("echo the first reason");
    await first.ended;
    const second = await start(`echo '{"level":"info"}'; echo the reason; echo '{"a":1}'`);
    await second.ended;
    expect(second.lastWords()).toBe("the reason");
    const third = await start("true");
    await third.ended;
    expect(third.lastWords()).toBeUndefined();
  });

  test("that cannot be started causes one clear error", async () => {
    const options = {
      name: "x",
      command: join(folder, "gone"),
      args: [],
      log: join(folder, "log"),
    };
    await expect(Child.start(options)).rejects.toThrow(OperatorError);
    await expect(Child.start(options)).rejects.toThrow("x: cannot be started: ");
  });
});

describe("a process's identity", () => {
  test("belongs to one process only, even if a process number is used again", async () => {
    const child = await start(waits);
    await untilUp();
    const { identity } = child;
    const other = { pid: identity.pid, started: `0${identity.started}` };
    expect(isAlive(other)).toBe(false);
    signal(other, "SIGKILL");
    await stopLeft(other, 0);
    expect(isAlive(identity)).toBe(true);
    await stopLeft(identity, 2000);
    expect(isAlive(identity)).toBe(false);
    expect(identityOf(identity.pid)).toBeUndefined();
  });
});

describe("a supervised process", () => {
  const supervised: Supervised[] = [];
  afterEach(async () => {
    for (const one of supervised.splice(0)) await one.stop(0);
  });

  async function supervise(refusal: () => string | undefined, starts: (() => Promise<Child>)[]) {
    const said: string[] = [];
    let restarts = 0;
    const one = await Supervised.start({
      start: () => (starts.shift() ?? (() => start(waits)))(),
      refusal,
      say: (line) => said.push(line),
      restarted: () => {
        restarts += 1;
      },
    });
    supervised.push(one);
    one.watch();
    return { one, said, restarts: () => restarts };
  }

  test("is started again when it is killed, and each end is reported", async () => {
    const { one, said, restarts } = await supervise(() => undefined, []);
    await untilUp();
    const before = one.child.identity;
    signal(before, "SIGKILL");
    await expect.poll(restarts).toBe(1);
    expect(one.child.identity).not.toEqual(before);
    expect(said).toEqual([
      `child ended (signal SIGKILL); it is started again (${join(folder, "log")})`,
      `child runs again (process ${one.child.identity.pid})`,
    ]);
  });

  test("is started again if a start fails", async () => {
    const fails = () => Promise.reject(new OperatorError("no luck"));
    const { one, said, restarts } = await supervise(() => undefined, [() => start(waits), fails]);
    await untilUp();
    signal(one.child.identity, "SIGKILL");
    await expect.poll(restarts).toBe(1);
    expect(said[1]).toBe("no luck");
  });

  test("stays down if it must not be started again", async () => {
    const { one, said, restarts } = await supervise(() => "its data is gone", []);
    await untilUp();
    signal(one.child.identity, "SIGKILL");
    await expect.poll(() => said.length).toBe(1);
    expect(said[0]).toContain("is not started again: its data is gone");
    expect(restarts()).toBe(0);
  });

  test("is not started again after it was stopped", async () => {
    const { one, said, restarts } = await supervise(() => undefined, []);
    await untilUp();
    await one.stop(1000);
    expect(one.child.alive).toBe(false);
    expect(said).toEqual([]);
    expect(restarts()).toBe(0);
  });

  test("stays down for a while after a kill, or until it is revived", async () => {
    const { one, said, restarts } = await supervise(() => undefined, []);
    await untilUp();
    await one.kill(50);
    expect(one.state).toBe("ended");
    await expect.poll(restarts).toBe(1);
    await untilUp(2);
    await one.kill(Number.POSITIVE_INFINITY);
    await sleep(300);
    expect(one.state).toBe("ended");
    expect(one.revive()).toBe(true);
    await expect.poll(restarts).toBe(2);
    expect(one.revive()).toBe(false);
    expect(said.every((line) => line.startsWith("child runs again"))).toBe(true);
  });

  test("can be frozen and thawed, and can be ended while it is frozen", async () => {
    const { one } = await supervise(() => undefined, []);
    await untilUp();
    expect(one.thaw()).toBe(false);
    expect(one.freeze()).toBe(true);
    await expect.poll(() => one.state).toBe("frozen");
    expect(one.freeze()).toBe(false);
    expect(one.thaw()).toBe(true);
    await expect.poll(() => one.state).toBe("runs");
    one.freeze();
    await one.stop(600_000);
  });
});
