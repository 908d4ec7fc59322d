import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { FrameReader } from "@holdfast/ttlv";

/** The address and credentials for a connection. Certificates and keys are PEM text. */
export interface KmipTarget {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

const answerTimeoutMs = 60_000;
const frameBytesMax = 16 * 1_048_576;

/** A mutual-TLS connection that sends KMIP bytes and waits for as many answers; no codec. */
export class KmipSocket implements AsyncDisposable {
  readonly socket: TLSSocket;
  readonly #reader = new FrameReader({ frameBytesMax });
  readonly #frames: Uint8Array[] = [];
  #wake: (() => void) | undefined;
  #failure: Error | undefined;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection was closed")));
  }

  static async open(target: KmipTarget): Promise<KmipSocket> {
    const socket = connect({
      host: target.host,
      port: target.port,
      ca: target.ca,
      cert: target.certificate,
      key: target.key,
      minVersion: "TLSv1.2",
    });
    const kmip = new KmipSocket(socket);
    await Promise.race([once(socket, "secureConnect"), kmip.#failed()]);
    return kmip;
  }

  /** Sends one message and returns the next one that arrives. */
  async exchange(request: Uint8Array): Promise<Uint8Array> {
    this.socket.write(request);
    return this.next();
  }

  /** The next message; rejects if the connection ends or nothing arrives in time. */
  async next(): Promise<Uint8Array> {
    const deadline = Date.now() + answerTimeoutMs;
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#failure !== undefined) throw this.#failure;
      await this.#wait(deadline - Date.now());
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.socket.closed) {
      this.socket.destroy();
      await once(this.socket, "close");
    }
  }

  #take(chunk: Uint8Array): void {
    try {
      this.#frames.push(...this.#reader.push(chunk));
    } catch (error) {
      this.#failure = error as Error;
    }
    this.#wake?.();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  async #failed(): Promise<never> {
    while (this.#failure === undefined) await this.#wait(answerTimeoutMs);
    throw this.#failure;
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer in time")), Math.max(0, ms));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
