import { isIPv6, type Socket } from "node:net";
import type { PeerRefusal } from "@holdfast/engine";

/** A connection that has not authenticated. */
interface Stranger {
  readonly socket: Socket;
  readonly address: string;
  readonly port: number;
  readonly sinceMs: number;
  cut: boolean;
}

/** The connections of one origin, in order of arrival. */
class Origin {
  readonly #silent = new Set<Stranger>();
  /**
   * Those known to have sent something, so that a flood of them is not searched again and again.
   */
  readonly #heard = new Set<Stranger>();

  get size(): number {
    return this.#silent.size + this.#heard.size;
  }

  add(stranger: Stranger): void {
    this.#silent.add(stranger);
  }

  delete(stranger: Stranger): boolean {
    return this.#silent.delete(stranger) || this.#heard.delete(stranger);
  }

  all(): Stranger[] {
    return [...this.#heard, ...this.#silent];
  }

  /** The oldest that has sent nothing, or else the oldest; the newcomer has had no time to send anything. */
  expendable(newcomer: Stranger): Stranger {
    for (const stranger of this.#silent) {
      if (stranger === newcomer) continue;
      if (stranger.socket.bytesRead === 0) return stranger;
      this.#silent.delete(stranger);
      this.#heard.add(stranger);
    }
    const [oldest = newcomer] = this.#heard;
    return oldest;
  }
}

/** Limits for connections that have not authenticated. */
export interface HandshakeLimits {
  readonly strangers: number;
  readonly strangersOfAddress: number;
  /** How long a connection may stay a stranger, milliseconds. */
  readonly handshakeMs: number;
}

/**
 * What is known of a connection from its beginning, even when its socket has no address any more.
 */
export interface Arrival {
  readonly address: string;
  readonly port: number;
  readonly sinceMs: number;
  /** It was closed to make room for another one, or took too long. */
  readonly cut: boolean;
}

const tooMany = "too many unfinished handshakes";

/**
 * Connections that have not authenticated. At a limit one is closed: of the same address, or of the
 * address that has the most; first one that has sent nothing, then the oldest. So a flood does not
 * keep others out, and silent connections do not keep out a client that shares their address, as
 * behind a proxy.
 */
export class HandshakeLimiter {
  readonly #limits: HandshakeLimits;
  readonly #origins = new Map<string, Origin>();
  readonly #known = new WeakMap<Socket, Stranger>();
  readonly #refuse: (address: string, reason: string, kind: PeerRefusal) => void;
  #size = 0;

  constructor(
    limits: HandshakeLimits,
    refuse: (address: string, reason: string, kind: PeerRefusal) => void,
  ) {
    this.#limits = limits;
    this.#refuse = refuse;
  }

  get size(): number {
    return this.#size;
  }

  /** Takes a new TCP connection. */
  enter(socket: Socket, nowMs: number): void {
    const address = socket.remoteAddress ?? "unknown";
    const stranger = { socket, address, port: socket.remotePort ?? 0, sinceMs: nowMs, cut: false };
    const origin = originOf(address);
    const same = this.#origins.get(origin) ?? new Origin();
    this.#origins.set(origin, same);
    same.add(stranger);
    this.#known.set(socket, stranger);
    this.#size += 1;
    socket.once("close", () => this.#drop(stranger));
    const crowded =
      same.size > this.#limits.strangersOfAddress
        ? same
        : this.#size > this.#limits.strangers
          ? this.#largest()
          : undefined;
    if (crowded !== undefined) this.#cut(crowded.expendable(stranger), tooMany, "flood");
  }

  /**
   * Called when a connection has authenticated or failed. False when it was closed before, or has
   * left already.
   */
  leave(socket: Socket): boolean {
    const stranger = this.#strangerOf(socket);
    return stranger !== undefined && this.#drop(stranger);
  }

  /**
   * When and from where a connection came, raw or with TLS on top; also after it has left or ended.
   */
  arrival(socket: Socket): Arrival | undefined {
    return this.#strangerOf(socket);
  }

  /**
   * Closes those that have taken too long: a handshake's own time-out starts again at every byte.
   */
  sweep(nowMs: number): void {
    for (const same of [...this.#origins.values()]) {
      for (const stranger of same.all()) {
        if (nowMs - stranger.sinceMs <= this.#limits.handshakeMs) continue;
        this.#cut(stranger, "the TLS handshake took too long", "unfinished");
      }
    }
  }

  close(): void {
    for (const same of this.#origins.values())
      for (const { socket } of same.all()) socket.destroy();
    this.#origins.clear();
    this.#size = 0;
  }

  #strangerOf(socket: Socket): Stranger | undefined {
    const raw: unknown = Reflect.get(socket, "_parent");
    return this.#known.get(socket) ?? this.#known.get(raw as Socket);
  }

  #largest(): Origin {
    let largest = new Origin();
    for (const same of this.#origins.values()) if (same.size > largest.size) largest = same;
    return largest;
  }

  #cut(stranger: Stranger, reason: string, kind: PeerRefusal): void {
    if (!this.#drop(stranger)) return;
    stranger.cut = true;
    this.#refuse(stranger.address, reason, kind);
    stranger.socket.destroy();
  }

  #drop(stranger: Stranger): boolean {
    const origin = originOf(stranger.address);
    const same = this.#origins.get(origin);
    if (same?.delete(stranger) !== true) return false;
    this.#size -= 1;
    if (same.size === 0) this.#origins.delete(origin);
    return true;
  }
}

/**
 * What counts as one address: for IPv6 the network (/64), since one machine has all of its
 * addresses; for an IPv4 address that is written as IPv6 (::ffff:a.b.c.d), the IPv4 address.
 */
export function originOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [plain = ""] = address.split("%");
  if (!isIPv6(plain)) return address;
  const [head = "", tail] = plain.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...new Array<string>(zeros).fill("0"), ...back];
  return `${groups.slice(0, 4).join(":")}::/64`;
}
