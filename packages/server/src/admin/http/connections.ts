import type { ServerResponse } from "node:http";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import { HandshakeLimiter } from "@holdfast/regions";
import { type Placed, Places } from "../../base/places.ts";

/** The limits of the connections to the management API. */
export interface AdminConnectionsOptions {
  /**
   * The most connections with a valid token, and as many again without one. One owner or address
   * gets half of either.
   */
  readonly connectionsMax: number;
  readonly monotonicMs: () => number;
}

/** How long a connection may stay open until its first admitted request. */
const strangerMs = 60_000;
const sweepMs = 1000;
/** How long a client may read nothing of its answer. */
const takeMs = 60_000;
/** Extra room at the listener, where connections that are being closed still count. */
const closingMax = 256;
/** How long a client may take to read that its request is invalid. */
const farewellMs = 1000;
const closing = "connection: close\r\ncontent-length: 0\r\n\r\n";
const badRequest = `HTTP/1.1 400 Bad Request\r\n${closing}`;
const requestTimeout = `HTTP/1.1 408 Request Timeout\r\n${closing}`;

/** A connection that has shown a valid token. */
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

  /** Disconnects a client that reads nothing of its answer. */
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
 * Decides who may hold connections to the management API. A connection that has not shown a valid
 * token is a stranger, and strangers displace only strangers. A connection that has shown one
 * shares places with those of the same owner.
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
    // Only connections that are being closed reach this: open ones are limited above.
    server.maxConnections = 2 * connectionsMax + closingMax;
    server.on("connection", (socket: Socket) => this.#handshakes.enter(socket, monotonicMs()));
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  /** Notes an admitted request at its connection; false if the owner gets no place for that. */
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

/** Answers an invalid request, or a partial one at its time-out, and closes in any case. */
export function endBadRequest(
  error: { readonly code?: string },
  socket: Socket & { readonly secureConnecting?: boolean },
): void {
  if (socket.secureConnecting === true || !socket.writable) {
    socket.destroy();
    return;
  }
  // The client may never read the answer.
  const cut = setTimeout(() => socket.destroy(), farewellMs);
  socket.once("close", () => clearTimeout(cut));
  // Nothing may follow this answer, not even that of an earlier request at the same moment.
  const isLate = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  socket.end(isLate ? requestTimeout : badRequest, () => socket.destroy());
}
