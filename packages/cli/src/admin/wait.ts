import { setTimeout as delay } from "node:timers/promises";
import type { AdminClient } from "@holdfast/admin";
import { SingleBar } from "cli-progress";
import { Failure } from "../terminal/failure.ts";
import type { Json } from "../terminal/output.ts";

type Thing = Readonly<Record<string, Json>>;

const everyMs = 500;
const patienceMs = 30 * 60_000;

/** Waits until an instance has one of these statuses; a terminal shows the progress. */
export async function untilStatus(
  client: AdminClient,
  instance: string,
  wanted: readonly string[],
  first: Thing,
): Promise<Thing> {
  const bar = new SingleBar({ format: "{status} {bar} {value}/{total}", stream: process.stderr });
  const until = performance.now() + patienceMs;
  let answer = first;
  let total = 0;
  try {
    for (;;) {
      const status = String(answer["status"] ?? "");
      if (wanted.includes(status)) return answer;
      if (performance.now() > until) {
        throw new Failure(`instance ${instance} is still ${status}: ${String(answer["reason"])}`);
      }
      const left = liveOf(answer);
      if (left > 0 && process.stderr.isTTY === true) {
        if (total === 0) bar.start(left, 0, { status });
        total = Math.max(total, left);
        bar.update(Math.max(0, total - left), { status });
      }
      await delay(everyMs);
      answer = (await client.call("readInstance", { params: { instance } })) as Thing;
    }
  } finally {
    bar.stop();
  }
}

/** Asks until the answer is true; false if that takes too long. */
export async function untilTrue(ask: () => Promise<boolean>): Promise<boolean> {
  const until = performance.now() + patienceMs;
  while (!(await ask())) {
    if (performance.now() > until) return false;
    await delay(everyMs);
  }
  return true;
}

/** The number of objects that are not erased yet. */
function liveOf({ keys }: Thing): number {
  return Object.entries((keys ?? {}) as Readonly<Record<string, number>>)
    .filter(([state]) => !state.startsWith("Destroyed"))
    .reduce((sum, [, count]) => sum + count, 0);
}
