import type { ServerResponse } from "node:http";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import { HandshakeLimiter } from "@holdfast/regions";
import { type Placed, Places } from "../../base/places.ts";

/** What the connections of the management API are bounded by. */
export interface AdminConnectionsOptions {
  /** Connections on which a token was shown, and as many on which none was; half of either for one owner or address. */
  readonly connectionsMax: number;
  readonly monotonicMs: () => number;
}

/** How long a connection may stay without a request that was let in. */
const strangerMs = 60_000;
const sweepMs = 1000;
/** How long a client may take to take some of its answer. */
const takeMs = 60_000;
/** Connections that are being closed still count at the listener. */
const closingMax = 256;
/** How long a client may take to read that its request is wrong. */
const farewellMs = 1000;
const closing = "connection: close\r\ncontent-length: 0\r\n\r\n";
const badRequest = `HTTP/1.1 400 Bad Request\r\n${closing}`;
const requestTimeout = `HTTP/1.1 408 Request Timeout\r\n${closing}`;

/** A connection on which a token was shown. */
class TokenConnection implements Placed {
  readonly #socket: Socket;
  readonly #monotonicMs: () => number;
  #running = 0;
  #unsentBytes = 0;
  #unsentSinceMs = 0;
  activeMs: number;

  constructor(socket: Socket, monotonicMs: () => number) {
    this.#socket = socket;
    this.#monotonicMs = monotonicMs;
    this.activeMs = monotonicMs();
  }

  get idle(): boolean {
    return this.#running === 0;
  }

  displace(): void {
    this.#socket.destroy();
  }

  /** Cuts a client that takes nothing of its answer. */
  sweep(nowMs: number): void {
    const unsent = this.#socket.writableLength;
    if (unsent === 0 || unsent !== this.#unsentBytes) this.#unsentSinceMs = nowMs;
    this.#unsentBytes = unsent;
    if (nowMs > this.#unsentSinceMs + takeMs) this.#socket.destroy();
  }

  begin(response: ServerResponse): void {
    this.#running += 1;
    response.once("close", () => {
      this.#running -= 1;
      this.activeMs = this.#monotonicMs();
    });
  }
}

/**
 * Who may hold connections to the management API. One that has shown no valid token is a stranger, and strangers
 * displace only strangers; one that has shown a token shares with those of the same owner.
 */
export class AdminConnections {
  readonly #handshakes: HandshakeLimiter;
  readonly #places: Places<TokenConnection>;
  readonly #known = new Map<Socket, TokenConnection>();
  readonly #monotonicMs: () => number;
  readonly #sweeper: NodeJS.Timeout;

  constructor(server: Server, { connectionsMax, monotonicMs }: AdminConnectionsOptions) {
    const half = Math.floor(connectionsMax / 2);
    const bounds = { strangers: connectionsMax, strangersOfAddress: half, handshakeMs: strangerMs };
    this.#handshakes = new HandshakeLimiter(bounds, () => undefined);
    this.#places = new Places({ all: connectionsMax, ofOwner: half });
    this.#monotonicMs = monotonicMs;
    // Reached by connections that are being closed only: those that are open have the bounds above.
    server.maxConnections = 2 * connectionsMax + closingMax;
    server.on("connection", (socket: Socket) => this.#handshakes.enter(socket, monotonicMs()));
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  /** A request with a token was let in; false where its owner has its share of connections and all of them are busy. */
  admit(socket: Socket, owner: string, response: ServerResponse): boolean {
    const known = this.#known.get(socket) ?? this.#place(socket, owner);
    known?.begin(response);
    return known !== undefined;
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.#handshakes.close();
  }

  #place(socket: Socket, owner: string): TokenConnection | undefined {
    const one = new TokenConnection(socket, this.#monotonicMs);
    if (!this.#places.enter(owner, one)) return undefined;
    this.#handshakes.leave(socket);
    this.#known.set(socket, one);
    socket.once("close", () => {
      this.#known.delete(socket);
      this.#places.leave(owner, one);
    });
    return one;
  }

  #sweep(): void {
    const nowMs = this.#monotonicMs();
    this.#handshakes.sweep(nowMs);
    for (const one of this.#known.values()) one.sweep(nowMs);
  }
}

/** Answers bytes that are not a request, or half of one at its time-out, and closes in any case. */
export function endBadRequest(
  error: { readonly code?: string },
  socket: Socket & { readonly secureConnecting?: boolean },
): void {
  if (socket.secureConnecting === true || !socket.writable) {
    socket.destroy();
    return;
  }
  // The client may take nothing.
  const cut = setTimeout(() => socket.destroy(), farewellMs);
  socket.once("close", () => clearTimeout(cut));
  // Nothing may follow: a request before it may be answered at the same moment.
  const isLate = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  socket.end(isLate ? requestTimeout : badRequest, () => socket.destroy());
}
