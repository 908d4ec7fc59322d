import { recordBytesMax } from "@holdfast/engine";

/** Bounds on what one region's nodes together can make a node hold and do. */
export interface ServerLimits {
  readonly connections: number;
  /** Calls at once, on all connections. */
  readonly calls: number;
  /** Of pushes; and as many of probes. */
  readonly streams: number;
  /** Calls, and as many pushes, on connections for large messages. */
  readonly largeCalls: number;
  /** One message; a larger one travels on a connection for large messages. */
  readonly requestBytes: number;
  readonly replyBytes: number;
  /** The same on a connection for large messages. */
  readonly largeRequestBytes: number;
  readonly largeReplyBytes: number;
  /**
   * Larger replies that the peer has not read; others must be requested on a connection for large
   * messages.
   */
  readonly repliesBytes: number;
  /**
   * The same on connections for large messages, where replies wait; one that is larger waits for
   * all others.
   */
  readonly largeRepliesBytes: number;
  /** Pushed records that are being joined. */
  readonly pushBytes: number;
  /** How long a unary call may take, regardless of its caller's deadline. */
  readonly callMs: number;
  readonly largeMs: number;
  readonly handshakeMs: number;
  /** Connections that have not authenticated, in all and from one address. */
  readonly strangers: number;
  readonly strangersOfAddress: number;
}

/** The defaults. */
export const serverLimits: ServerLimits = {
  connections: 32,
  calls: 512,
  streams: 16,
  largeCalls: 4,
  requestBytes: 256 * 1024,
  replyBytes: 1024 * 1024,
  // A change is a record before and after.
  largeRequestBytes: 2 * recordBytesMax + 1024 * 1024,
  largeReplyBytes: recordBytesMax + 1024 * 1024,
  repliesBytes: 32 * 1024 * 1024,
  largeRepliesBytes: 64 * 1024 * 1024,
  pushBytes: 16 * 1024 * 1024,
  callMs: 15_000,
  largeMs: 30_000,
  handshakeMs: 5_000,
  strangers: 128,
  strangersOfAddress: 32,
};

/** Replies up to this size are not counted. */
export const smallReplyBytes = 16 * 1024;

/** Limits the bytes that are held at once; more than the limit passes when nothing else is held. */
export class ByteBudget {
  readonly #max: number;
  readonly #waiting: (() => boolean)[] = [];
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get held(): number {
    return this.#held;
  }

  get full(): boolean {
    return this.#held >= this.#max;
  }

  /** Counts bytes that are held already. */
  take(bytes: number): void {
    this.#held += bytes;
  }

  /** Resolves true once there is room and it is taken; false when `signal` is aborted first. */
  reserve(bytes: number, signal: AbortSignal): Promise<boolean> {
    const { resolve, promise } = settle();
    const attempt = () => {
      if (signal.aborted) return true;
      if (this.#held > 0 && this.#held + bytes > this.#max) return false;
      this.#held += bytes;
      resolve(true);
      return true;
    };
    if (signal.aborted) resolve(false);
    else if (this.#waiting.length > 0 || !attempt()) {
      this.#waiting.push(attempt);
      signal.addEventListener("abort", () => {
        resolve(false);
        this.#proceed();
      });
    }
    return promise;
  }

  release(bytes: number): void {
    this.#held -= bytes;
    this.#proceed();
  }

  #proceed(): void {
    while (this.#waiting[0]?.() === true) this.#waiting.shift();
  }
}

function settle(): {
  readonly promise: Promise<boolean>;
  readonly resolve: (taken: boolean) => void;
} {
  let resolve: (taken: boolean) => void = () => {};
  const promise = new Promise<boolean>((settled) => {
    resolve = settled;
  });
  return { promise, resolve };
}
