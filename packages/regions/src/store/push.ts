import {
  type Ids,
  type ManagedObject,
  type Observer,
  StoreUnavailable,
  TimedOut,
  type Timers,
  withTimeout,
} from "@holdfast/engine";
import type { Peer, PushOutcome } from "../ports/ports.ts";
import { jittered } from "../ports/waiting.ts";

export interface PushOptions {
  readonly timers: Timers;
  readonly ids: Ids;
  readonly observe: Observer;
  readonly timeoutMs: number;
}

/** The pause between two tries of a record that an agreed operation holds in the other region. */
const reservedPauseMs = 50;

/**
 * Pushes changed records to other regions at once. True when each has them durably, so that the change is shared; false
 * when it is this region's alone. Never rejects, and takes no longer than the time-out.
 */
export async function pushToAll(
  peers: readonly Peer[],
  objects: readonly ManagedObject[],
  options: PushOptions,
): Promise<boolean> {
  const [only, ...others] = peers;
  if (only === undefined) return true;
  if (others.length === 0) return await pushTo(only, objects, options);
  const shared = await Promise.all(peers.map((peer) => pushTo(peer, objects, options)));
  return shared.every(Boolean);
}

async function pushTo(
  peer: Peer,
  objects: readonly ManagedObject[],
  options: PushOptions,
): Promise<boolean> {
  const { timers, observe } = options;
  const started = timers.monotonicMs();
  const shared =
    peer.state() === "up" &&
    (await withTimeout(
      timers,
      options.timeoutMs,
      untilAnswered(peer, objects, started, options),
    ).catch(aloneIfLate));
  observe({
    type: "push",
    region: peer.region,
    result: shared ? "shared" : "alone",
    records: objects.length,
    durationMs: timers.monotonicMs() - started,
  });
  return shared;
}

function aloneIfLate(error: unknown): false {
  if (error instanceof TimedOut) return false;
  throw error;
}

/**
 * Pushes a record again that an agreed operation holds in the other region: the operation ends
 * soon.
 */
async function untilAnswered(
  peer: Peer,
  objects: readonly ManagedObject[],
  started: number,
  { timers, ids, observe, timeoutMs }: PushOptions,
): Promise<boolean> {
  let left = objects;
  while (timers.monotonicMs() - started < timeoutMs) {
    const outcomes = await pushOnce(peer, left, observe);
    if (outcomes === undefined) return false;
    if (outcomes.some((outcome) => outcome !== "durable" && outcome !== "reserved")) return false;
    left = left.filter((_, at) => outcomes[at] !== "durable");
    if (left.length === 0) return true;
    await jittered(timers, ids, reservedPauseMs);
  }
  return false;
}

async function pushOnce(
  peer: Peer,
  objects: readonly ManagedObject[],
  observe: Observer,
): Promise<readonly PushOutcome[] | undefined> {
  try {
    return await peer.push(objects);
  } catch (cause) {
    // The change is made by now: its client gets a success, even if this fails.
    if (!(cause instanceof StoreUnavailable)) {
      observe({ type: "warning", message: `a push to region ${peer.region} failed`, cause });
    }
    return undefined;
  }
}
