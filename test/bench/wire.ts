import { once } from "node:events";
import { connect, createSecureContext, type SecureContext, type TLSSocket } from "node:tls";
import type { Target } from "./load-plan.ts";

const answerMs = 20_000;
const headerBytes = 8;
const identifierLength = 36;

/** Result Status (KMIP 2.1, 11.47) in its encoded form; its value follows. */
const resultStatus = Buffer.from("42007f0500000004", "hex");
/** Result Message (KMIP 2.1, 11.48), a text string; its length follows. */
const resultMessage = Buffer.from("42007d07", "hex");
/** Unique Identifier of 36 characters; they follow. */
const uniqueIdentifier = Buffer.from("4200940700000024", "hex");

/** A TLS client's context for each target, made once. */
export class Contexts {
  readonly #made = new Map<Target, SecureContext>();

  of(target: Target): SecureContext {
    const known = this.#made.get(target);
    if (known !== undefined) return known;
    const { ca, certificate: cert, key } = target;
    const made = createSecureContext({ ca, cert, key, minVersion: "TLSv1.2" });
    this.#made.set(target, made);
    return made;
  }
}

/** A mutual-TLS connection with the least cost: one message out, one back, no decoding. */
export class Wire {
  readonly #socket: TLSSocket;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #waiting: { resolve(answer: Buffer): void; reject(error: Error): void } | undefined;
  #failure: Error | undefined;

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection was closed")));
    socket.on("timeout", () => socket.destroy(new Error("no answer in time")));
  }

  /** A full handshake: sessions are never resumed. */
  static async open(target: Target, contexts: Contexts): Promise<Wire> {
    const { host, port } = target;
    const secureContext = contexts.of(target);
    const socket = connect({ host, port, secureContext, timeout: answerMs });
    socket.setNoDelay(true);
    const wire = new Wire(socket);
    await once(socket, "secureConnect");
    return wire;
  }

  exchange(request: Buffer): Promise<Buffer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  /** Turns off the timeout: the connection may now be idle. */
  rest(): void {
    this.#socket.setTimeout(0);
  }

  /** Ends the connection without waiting for the other side. */
  end(): void {
    this.#socket.end();
  }

  async destroy(): Promise<void> {
    if (this.#socket.closed) return;
    this.#socket.destroy();
    await once(this.#socket, "close");
  }

  #take(chunk: Buffer): void {
    if (this.#bytes === 0 && isWhole(chunk)) {
      this.#give(chunk);
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const all = Buffer.concat(this.#chunks, this.#bytes);
    if (!isWhole(all)) return;
    this.#chunks = [];
    this.#bytes = 0;
    this.#give(all);
  }

  #give(answer: Buffer): void {
    this.#waiting?.resolve(answer);
    this.#waiting = undefined;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }
}

function isWhole(bytes: Buffer): boolean {
  return bytes.length >= headerBytes && bytes.length >= headerBytes + bytes.readUInt32BE(4);
}

/** The message of the first failed item; undefined if there are items and all have Success. */
export function refusalIn(answer: Buffer): string | undefined {
  let at = answer.indexOf(resultStatus);
  if (at < 0) return "the answer has no result";
  while (at >= 0) {
    const valueAt = at + resultStatus.length;
    if (valueAt + 4 > answer.length) return "the answer is cut short";
    if (answer.readUInt32BE(valueAt) !== 0) return messageIn(answer.subarray(valueAt));
    at = answer.indexOf(resultStatus, valueAt);
  }
  return undefined;
}

function messageIn(bytes: Buffer): string {
  const at = bytes.indexOf(resultMessage);
  if (at < 0 || at + headerBytes > bytes.length) return "refused without a message";
  const textAt = at + headerBytes;
  return `refused: ${bytes.toString("utf8", textAt, textAt + bytes.readUInt32BE(at + 4))}`;
}

/** The positions in a message at which Unique Identifiers of 36 characters begin. */
export function identifiersIn(message: Buffer): number[] {
  return positionsOf(message, uniqueIdentifier).map((at) => at + uniqueIdentifier.length);
}

/** All positions in a message at which some bytes begin. */
export function positionsOf(message: Buffer, bytes: Buffer): number[] {
  const found: number[] = [];
  for (let at = message.indexOf(bytes); at >= 0; at = message.indexOf(bytes, at + bytes.length)) {
    found.push(at);
  }
  return found;
}

/** The first Unique Identifier of 36 characters in a message. */
export function identifierIn(message: Buffer): string | undefined {
  const tagAt = message.indexOf(uniqueIdentifier);
  if (tagAt < 0) return undefined;
  const at = tagAt + uniqueIdentifier.length;
  return message.toString("latin1", at, at + identifierLength);
}
