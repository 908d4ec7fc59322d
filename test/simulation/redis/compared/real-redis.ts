import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { RedisServer } from "../../../support/redis.ts";
import { type Bytes, Failure, type Reply, Status } from "../reply.ts";

/**
 * A real Redis, asked over a bare socket: a client library hides whether an answer is a status or bytes. Its hashes keep
 * their order, as the model's do, at any size.
 */
export class RealRedis implements AsyncDisposable {
  readonly #server: RedisServer;
  readonly #socket: Socket;
  #received: Bytes = "";
  #wake: () => void = () => undefined;

  private constructor(server: RedisServer, socket: Socket) {
    this.#server = server;
    this.#socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (piece) => {
      this.#received += String(piece);
      this.#wake();
    });
  }

  static async start(): Promise<RealRedis> {
    const config = {
      appendonly: "no",
      "hash-max-listpack-entries": "100000",
      "hash-max-listpack-value": "1000000",
    };
    const server = await RedisServer.start({ config });
    const socket = createConnection(server.port, server.host);
    await once(socket, "connect");
    return new RealRedis(server, socket);
  }

  /** Answers of several commands, sent together. */
  async execute(lines: readonly (readonly Bytes[])[]): Promise<readonly Reply[]> {
    this.#socket.write(lines.map(encode).join(""), "latin1");
    for (;;) {
      const replies = decode(this.#received, lines.length);
      if (replies !== undefined) {
        this.#received = "";
        return replies;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#server[Symbol.asyncDispose]();
  }
}

function encode(line: readonly Bytes[]): Bytes {
  return `*${line.length}\r\n${line.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
}

/** So many answers; undefined while some of their bytes are missing. */
function decode(bytes: Bytes, count: number): readonly Reply[] | undefined {
  let at = 0;
  const line = (): Bytes => {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) throw new RangeError("bytes are missing");
    const text = bytes.slice(at, end);
    at = end + 2;
    return text;
  };
  const bulk = (length: number): Bytes | null => {
    if (length < 0) return null;
    const text = bytes.slice(at, at + length);
    at += length + 2;
    if (at > bytes.length) throw new RangeError("bytes are missing");
    return text;
  };
  const read = (): Reply => {
    const text = line();
    const rest = text.slice(1);
    if (text.startsWith(":")) return Number(rest);
    if (text.startsWith("+")) return new Status(rest);
    if (text.startsWith("-")) return new Failure(rest);
    if (text.startsWith("$")) return bulk(Number(rest));
    return rest === "-1" ? null : Array.from({ length: Number(rest) }, read);
  };
  try {
    return Array.from({ length: count }, read);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
