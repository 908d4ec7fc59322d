/** Bounds of what one region's nodes together can make a node hold and do. */
export interface ServerLimits {
  readonly connections: number;
  /** Calls at once, on all connections. */
  readonly calls: number;
  readonly pushStreams: number;
  readonly largeCalls: number;
  /** Of those, being answered. */
  readonly largeAnswers: number;
  /** One message; more travels in pieces. */
  readonly requestBytes: number;
  readonly replyBytes: number;
  /** Larger replies that have not been taken; beyond that they travel in pieces. */
  readonly repliesBytes: number;
  /** Pushed records that are being joined. */
  readonly pushBytes: number;
  /** Requests and replies in pieces; a larger one is taken when there is no other, up to `largeMax`. */
  readonly largeBytes: number;
  readonly largeMax: number;
  /** A unary call, regardless of its caller's deadline. */
  readonly callMs: number;
  readonly largeMs: number;
  readonly handshakeMs: number;
  /** Connections that have not shown who they are, from everywhere and from one address. */
  readonly strangers: number;
  readonly strangersOfAddress: number;
}

/** What is in force where nothing else is given. */
export const serverLimits: ServerLimits = {
  connections: 16,
  calls: 512,
  pushStreams: 16,
  largeCalls: 16,
  largeAnswers: 4,
  requestBytes: 256 * 1024,
  replyBytes: 1024 * 1024,
  repliesBytes: 32 * 1024 * 1024,
  pushBytes: 16 * 1024 * 1024,
  largeBytes: 64 * 1024 * 1024,
  largeMax: 256 * 1024 * 1024,
  callMs: 15_000,
  largeMs: 30_000,
  handshakeMs: 5_000,
  strangers: 128,
  strangersOfAddress: 32,
};

/** Replies up to here are not counted. */
export const smallReplyBytes = 16 * 1024;

/** One part of a message in pieces. */
export const pieceBytes = 128 * 1024;

/** Bytes that are held at once; one larger than all there is passes when nothing else is held. */
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

  /** Takes what is there already. */
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
