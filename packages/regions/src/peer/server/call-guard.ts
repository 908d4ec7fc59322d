import {
  ResponderBuilder,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from "@grpc/grpc-js";
import type { Timers } from "@holdfast/engine";
import { pathOf, peerMethods } from "../methods.ts";

const sweepMs = 250;
const streamed = [peerMethods.push, peerMethods.probe].map(pathOf);

/** The limits of a `CallGuard`. */
export interface CallLimits {
  /** Calls at once; streams are not counted. */
  readonly calls: number;
  /** Streams of each method at once. */
  readonly streams: number;
  readonly callMs: number;
  readonly streamMs: number;
}

interface Call {
  readonly path: string;
  readonly endsMs: number;
  readonly end: () => void;
}

/**
 * Bounds the calls of one region: how many there are, and how long each takes, from its first header on, regardless of what
 * its caller asked for.
 */
export class CallGuard {
  readonly #limits: CallLimits;
  readonly #timers: Timers;
  readonly #calls = new Set<Call>();
  readonly #counts = new Map<string, number>();
  readonly #closing = new AbortController();

  constructor(limits: CallLimits, timers: Timers) {
    this.#limits = limits;
    this.#timers = timers;
    void this.#sweep();
  }

  get calls(): number {
    return this.#calls.size;
  }

  /** For the server's list of interceptors. */
  readonly intercept: ServerInterceptor = (method, call) => {
    const { path } = method;
    if (this.#full(path)) return refuse(call);
    const entry: Call = {
      path,
      endsMs: this.#timers.monotonicMs() + this.#time(path),
      end: () =>
        call.sendStatus({
          code: status.DEADLINE_EXCEEDED,
          details: "took too long",
          metadata: null,
        }),
    };
    this.#enter(entry);
    // Also called once a status was sent, and when the connection is lost.
    const listener = new ServerListenerBuilder().withOnCancel(() => this.#leave(entry)).build();
    const responder = new ResponderBuilder().withStart((next) => next(listener));
    return new ServerInterceptingCall(call, responder.build());
  };

  close(): void {
    this.#closing.abort();
  }

  #full(path: string): boolean {
    const of = this.#counts.get(path) ?? 0;
    if (streamed.includes(path)) return of >= this.#limits.streams;
    return this.#calls.size >= this.#limits.calls;
  }

  #time(path: string): number {
    return streamed.includes(path) ? this.#limits.streamMs : this.#limits.callMs;
  }

  #enter(call: Call): void {
    this.#calls.add(call);
    this.#counts.set(call.path, (this.#counts.get(call.path) ?? 0) + 1);
  }

  #leave(call: Call): void {
    if (!this.#calls.delete(call)) return;
    this.#counts.set(call.path, (this.#counts.get(call.path) ?? 1) - 1);
  }

  async #sweep(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await this.#timers.sleep(sweepMs, this.#closing.signal).catch(() => undefined);
      const now = this.#timers.monotonicMs();
      for (const call of [...this.#calls]) {
        if (call.endsMs > now) continue;
        this.#leave(call);
        call.end();
      }
    }
  }
}

function refuse(call: ServerInterceptingCallInterface): ServerInterceptingCall {
  const start = () =>
    call.sendStatus({
      code: status.RESOURCE_EXHAUSTED,
      details: "too many calls at once",
      metadata: null,
    });
  return new ServerInterceptingCall(call, new ResponderBuilder().withStart(start).build());
}
