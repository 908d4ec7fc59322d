import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { reasonOf } from "../base/operator-error.ts";
import type { Environment } from "../base/system.ts";

/** A unit whose READY=1 is lost never counts as started; three tries are less than its TimeoutStopSec. */
const attemptsMax = 3;
const attemptMs = 5_000;

/**
 * Reports this process's state (`READY=1`, `STOPPING=1`) to systemd, as sd_notify(3) has it; does nothing outside a
 * unit of `Type=notify`. Answers why it could not, undefined where it could.
 */
export async function notifySystemd(
  state: "READY=1" | "STOPPING=1",
  environment: Environment,
): Promise<string | undefined> {
  if (environment["NOTIFY_SOCKET"] === undefined) return undefined;
  // Node cannot send a datagram to a Unix socket, and systemd comes with a program that does.
  // Without --no-block it waits until systemd has read the message: systemd drops that of a sender that has ended.
  const args = [`--pid=${process.pid}`, state];
  let reason: string | undefined;
  for (let attempts = 0; attempts < attemptsMax; attempts++) {
    try {
      await promisify(execFile)("systemd-notify", args, { timeout: attemptMs });
      return undefined;
    } catch (error) {
      reason = `systemd-notify ${state}: ${reasonOf(error)}`;
    }
  }
  return reason;
}
