import type { ClientDuplexStream } from "@grpc/grpc-js";

/** What the server answers: the number is that of the message that it answers. */
interface Numbered {
  readonly id: number;
}

/**
 * A stream of messages to one node, opened with the first one and again after it broke; answers are
 * matched by number.
 */
export class NumberedStream<Reply extends Numbered> {
  readonly #open: () => ClientDuplexStream<Buffer, Buffer>;
  readonly #decode: (bytes: Buffer) => Reply;
  /** Called when there is room again, also because the stream ended. */
  readonly #drained: () => void;
  readonly #waiting = new Map<number, (answer: Reply | Error) => void>();
  #call: ClientDuplexStream<Buffer, Buffer> | undefined;
  #blocked = false;
  #retired = false;

  constructor(
    open: () => ClientDuplexStream<Buffer, Buffer>,
    decode: (bytes: Buffer) => Reply,
    drained: () => void,
  ) {
    this.#open = open;
    this.#decode = decode;
    this.#drained = drained;
  }

  /** Whether the node accepts no more for now. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Sends a message; returns a function that gives it up. */
  send(id: number, message: Buffer, answer: (answer: Reply | Error) => void): () => void {
    this.#call ??= this.#start();
    this.#waiting.set(id, answer);
    if (!this.#call.write(message)) this.#blocked = true;
    return () => void this.#waiting.delete(id);
  }

  /** Sends nothing more; what was sent may still be answered. */
  retire(): void {
    this.#retired = true;
    this.#call?.end();
  }

  close(): void {
    this.#call?.cancel();
  }

  #start(): ClientDuplexStream<Buffer, Buffer> {
    const call = this.#open();
    call.on("data", (bytes: Buffer) => this.#receive(call, bytes));
    call.on("drain", () => this.#unblock(call));
    call.on("error", (error) => this.#end(call, error));
    call.on("end", () => this.#end(call, new Error("the stream ended")));
    return call;
  }

  #receive(call: ClientDuplexStream<Buffer, Buffer>, bytes: Buffer): void {
    let reply: Reply;
    try {
      reply = this.#decode(bytes);
    } catch {
      call.cancel();
      return;
    }
    const answer = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    answer?.(reply);
  }

  #unblock(call: ClientDuplexStream<Buffer, Buffer>): void {
    if (call !== this.#call) return;
    this.#blocked = false;
    this.#drained();
  }

  #end(call: ClientDuplexStream<Buffer, Buffer>, error: Error): void {
    if (call !== this.#call) return;
    this.#call = undefined;
    this.#blocked = false;
    const answers = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const answer of answers) answer(error);
    if (!this.#retired) this.#drained();
  }
}
