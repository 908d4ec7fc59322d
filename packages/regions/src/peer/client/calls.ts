import {
  KeyRingUnavailable,
  Semaphore,
  type StoreFailure,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { decodeReply, encodeRequest, type ReplyOf, type RequestOf } from "../codecs.ts";
import type { UnaryName } from "../methods.ts";
import { serverLimits } from "../server-limits.ts";
import { CallFailed } from "../status.ts";
import { type Answered, acrossNodes, type Judge } from "./attempt.ts";
import type { PeerClientTimes } from "./client-times.ts";
import type { NodeLink } from "./node-link.ts";

/** Calls at once to one region: fewer than it accepts, so that several of our nodes have room. */
const callsMax = 128;
const queueMax = 4_096;
/** Calls with large messages at once, and as many pushes: fewer than a node accepts. */
export const largeMax = 2;
/** A larger request travels as a large message. */
const requestMax: number = serverLimits.requestBytes - 1_024;

/** Failures of the region, not of the node that reported them. */
const regional: ReadonlySet<StoreFailure> = new Set([
  "corrupt",
  "reserved",
  "noAgreement",
  "deposed",
  "retired",
]);

/** Which nodes of the region to ask, the best first; throws without any. */
export type Choose = () => readonly NodeLink[];

/** Calls to a region, through whichever of its nodes answers. */
export class Calls {
  readonly #region: string;
  readonly #choose: Choose;
  readonly #timers: Timers;
  readonly #times: PeerClientTimes;
  readonly #slots = new Semaphore(callsMax);
  readonly #largeSlots = new Semaphore(largeMax);

  constructor(region: string, choose: Choose, timers: Timers, times: PeerClientTimes) {
    this.#region = region;
    this.#choose = choose;
    this.#timers = timers;
    this.#times = times;
  }

  /** A method's reply. */
  async ask<Name extends UnaryName>(name: Name, request: RequestOf<Name>): Promise<ReplyOf<Name>> {
    return (await this.asked(name, request)).result;
  }

  /** A method's reply, and whether another node may have done it too. */
  async asked<Name extends UnaryName>(
    name: Name,
    request: RequestOf<Name>,
    callMs: number = this.#times.callMs,
  ): Promise<Answered<ReplyOf<Name>>> {
    const { result, doubt } = await this.#askedBytes(name, encodeRequest(name, request), callMs);
    try {
      return { result: decodeReply(name, result), doubt };
    } catch (cause) {
      if (cause instanceof StoreUnavailable) throw cause;
      throw this.#unreachable("its answer cannot be read", cause);
    }
  }

  async #askedBytes(name: UnaryName, request: Buffer, callMs: number): Promise<Answered<Buffer>> {
    this.#choose();
    const endsMs = this.#timers.monotonicMs() + callMs;
    if (request.length > requestMax) return this.#askedLarge(name, request);
    await this.#enter(this.#slots, callMs);
    try {
      return await this.#across((link) => link.ask(name, request, endsMs));
    } catch (error) {
      if (!isLarge(error)) throw this.#errorFor(error);
    } finally {
      this.#slots.release();
    }
    return this.#askedLarge(name, request);
  }

  async #askedLarge(name: UnaryName, request: Buffer): Promise<Answered<Buffer>> {
    if (request.length > serverLimits.largeRequestBytes) {
      throw this.#unreachable("a request is larger than a message may be");
    }
    const endsMs = this.#timers.monotonicMs() + this.#times.largeMs;
    await this.#enter(this.#largeSlots, this.#times.largeMs);
    try {
      return await this.#across((link) => link.ask(name, request, endsMs, "large"));
    } catch (error) {
      throw this.#errorFor(error);
    } finally {
      this.#largeSlots.release();
    }
  }

  /** The error that a caller gets for a failed call. */
  errorFor(error: unknown): Error {
    return this.#errorFor(error);
  }

  async #enter(slots: Semaphore, waitMs: number): Promise<void> {
    if (await acquireWithin(slots, waitMs, queueMax, this.#timers)) return;
    throw new StoreUnavailable("timeout", `region ${this.#region}: too many requests at once`);
  }

  #across<Result>(ask: Parameters<typeof acrossNodes<NodeLink, Result>>[1]) {
    return acrossNodes(this.#choose(), ask, judge);
  }

  #errorFor(error: unknown): Error {
    if (error instanceof CallFailed) {
      const { fault } = error;
      if (fault.kind === "answered") return fault.error;
      return this.#unreachable(fault.kind === "large" ? "its answer is too large" : fault.reason);
    }
    return error instanceof Error ? error : this.#unreachable("unknown");
  }

  #unreachable(reason: string, cause?: unknown): StoreUnavailable {
    return new StoreUnavailable(
      "peerUnreachable",
      `region ${this.#region} cannot be asked: ${reason}`,
      cause === undefined ? {} : { cause },
    );
  }
}

/** Whether a permit was free in time. At most `waitingMax` wait for one. */
export async function acquireWithin(
  permits: Semaphore,
  waitMs: number,
  waitingMax: number,
  { sleep }: Timers,
): Promise<boolean> {
  if (permits.tryAcquire()) return true;
  if (permits.waiting() >= waitingMax) return false;
  const [acquired, late] = [new AbortController(), new AbortController()];
  const expire = (): void => late.abort();
  void sleep(waitMs, acquired.signal).then(expire, () => undefined);
  try {
    await permits.acquire({ signal: late.signal });
    return true;
  } catch {
    return false;
  } finally {
    acquired.abort();
  }
}

function isLarge(error: unknown): boolean {
  return error instanceof CallFailed && error.fault.kind === "large";
}

/**
 * Asks for many records: each answer has as many of the first ones as fit a message, and the others
 * are requested again.
 */
export async function inPages<Result>(
  ids: readonly string[],
  ask: (ids: readonly string[]) => Promise<readonly Result[]>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  while (results.length < ids.length) results.push(...(await ask(ids.slice(results.length))));
  return results;
}

/** How the failures of several nodes are judged. */
export const judge: Judge = {
  final: (error) => {
    if (!(error instanceof CallFailed)) return true;
    const { fault } = error;
    if (fault.kind === "large") return true;
    if (fault.kind !== "answered") return false;
    return fault.error instanceof KeyRingUnavailable
      ? fault.error.refused
      : regional.has(fault.error.failure);
  },
  undone: (error) => {
    if (!(error instanceof CallFailed)) return false;
    const { fault } = error;
    if (fault.kind === "notSent") return true;
    // Such a node changes nothing.
    const failure = fault.kind === "answered" ? fault.error : undefined;
    return failure instanceof StoreUnavailable && failure.failure === "formatNotAgreed";
  },
  // What a node answered says more than that another one was not reached.
  better: (before, after) =>
    after instanceof CallFailed && after.fault.kind === "answered" ? after : before,
};
