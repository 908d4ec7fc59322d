import type { Socket } from "node:net";

interface Stranger {
  readonly socket: Socket;
  readonly address: string;
  readonly sinceMs: number;
}

/** Bounds of connections that have not shown who they are. */
export interface StrangerLimits {
  readonly strangers: number;
  readonly strangersOfAddress: number;
  readonly handshakeMs: number;
}

/**
 * Connections that have not shown who they are. When there are too many, the oldest of the same address goes first, so
 * that a flood from one place does not keep the others out.
 */
export class Strangers {
  readonly #limits: StrangerLimits;
  /** In order of arrival. */
  readonly #all = new Set<Stranger>();
  readonly #refuse: (address: string, reason: string) => void;

  constructor(limits: StrangerLimits, refuse: (address: string, reason: string) => void) {
    this.#limits = limits;
    this.#refuse = refuse;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Answers what to call once it is known whose connection it is; false then when it was cut before. */
  enter(socket: Socket, nowMs: number): () => boolean {
    const stranger = { socket, address: socket.remoteAddress ?? "unknown", sinceMs: nowMs };
    this.#all.add(stranger);
    socket.once("close", () => this.#all.delete(stranger));
    const same = [...this.#all].filter(({ address }) => address === stranger.address);
    if (same.length > this.#limits.strangersOfAddress)
      this.#cut(same[0], "too many connections that did not say who they are");
    else if (this.#all.size > this.#limits.strangers) {
      this.#cut([...this.#all][0], "too many connections that did not say who they are");
    }
    return () => this.#all.delete(stranger);
  }

  /** Cuts those that have taken too long: a handshake's own time-out does not count time before its first byte. */
  sweep(nowMs: number): void {
    for (const stranger of [...this.#all]) {
      if (nowMs - stranger.sinceMs > this.#limits.handshakeMs) {
        this.#cut(stranger, "the TLS handshake took too long");
      }
    }
  }

  close(): void {
    for (const { socket } of this.#all) socket.destroy();
    this.#all.clear();
  }

  #cut(stranger: Stranger | undefined, reason: string): void {
    if (stranger === undefined || !this.#all.delete(stranger)) return;
    this.#refuse(stranger.address, reason);
    stranger.socket.destroy();
  }
}
