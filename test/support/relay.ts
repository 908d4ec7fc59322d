import { connect, createServer, type Server, type Socket } from "node:net";

/** How a relay treats what passes; `forth` is from the client to the target. */
export interface RelayState {
  /** Each way. */
  readonly delayMs: number;
  /** What is cut waits, ends of connections included, as on a line whose packets are dropped and sent again. */
  readonly cut: { readonly forth: boolean; readonly back: boolean };
}

/** Waiting bytes of one direction beyond which its sender is no longer read. */
const waitingBytesMax = 8_388_608;

interface Waiting {
  readonly dueMs: number;
  readonly bytes: number;
  /** Does what was waited for; false when the receiver wants no more for now. */
  readonly deliver: () => boolean;
}

/** One direction of one connection: in order, each thing at its time. */
class Line {
  readonly #state: () => RelayState;
  readonly #direction: "forth" | "back";
  readonly #waiting: Waiting[] = [];
  #bytes = 0;
  #blocked = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(direction: "forth" | "back", state: () => RelayState) {
    this.#direction = direction;
    this.#state = state;
  }

  get full(): boolean {
    return this.#bytes > waitingBytesMax;
  }

  send(bytes: number, deliver: () => boolean): void {
    this.#waiting.push({ dueMs: performance.now() + this.#state().delayMs, bytes, deliver });
    this.#bytes += bytes;
    this.pump();
  }

  unblock(): void {
    this.#blocked = false;
    this.pump();
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
    this.#blocked = true;
  }

  /** Delivers what is due. */
  pump(): void {
    clearTimeout(this.#timer);
    while (!this.#blocked && !this.#state().cut[this.#direction]) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const leftMs = next.dueMs - performance.now();
      if (leftMs > 0.5) {
        this.#timer = setTimeout(() => this.pump(), leftMs);
        return;
      }
      this.#waiting.shift();
      this.#bytes -= next.bytes;
      this.#blocked = !next.deliver();
    }
  }
}

/** A TCP relay on loopback with the delay of a long line, which can be cut without a word, healed, and reset. */
export class Relay implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #connections = new Set<Connection>();
  #state: RelayState = { delayMs: 0, cut: { forth: false, back: false } };

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
  }

  /** Listens on a port of 127.0.0.1 and forwards to another. */
  static async start(port: number, targetPort: number): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true });
    const relay = new Relay(server, { host: "127.0.0.1", port: targetPort });
    server.on("connection", (client) => relay.#accept(client));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    return relay;
  }

  get state(): RelayState {
    return this.#state;
  }

  /** What is on its way keeps the delay with which it was sent. */
  set(state: RelayState): void {
    this.#state = state;
    for (const connection of this.#connections) connection.pump();
  }

  /** Ends every connection at both sides at once. */
  reset(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.reset();
    await closed;
  }

  #accept(client: Socket): void {
    const connection = new Connection(
      client,
      this.#target,
      () => this.#state,
      () => this.#connections.delete(connection),
    );
    this.#connections.add(connection);
  }
}

/** A client's connection and the one to the target, which is opened when the client's wish has arrived. */
class Connection {
  readonly #client: Socket;
  readonly #forth: Line;
  readonly #back: Line;
  readonly #gone: () => void;
  #upstream: Socket | undefined;

  constructor(
    client: Socket,
    target: { readonly host: string; readonly port: number },
    state: () => RelayState,
    gone: () => void,
  ) {
    this.#client = client;
    this.#gone = gone;
    this.#forth = new Line("forth", state);
    this.#back = new Line("back", state);
    client.setNoDelay(true);
    this.#forth.send(0, () => {
      const upstream = connect({ ...target, noDelay: true, allowHalfOpen: true });
      this.#upstream = upstream;
      this.#join(upstream, this.#back, () => client);
      return true;
    });
    this.#join(client, this.#forth, () => this.#upstream);
  }

  pump(): void {
    this.#forth.pump();
    this.#back.pump();
  }

  destroy(): void {
    this.#forth.end();
    this.#back.end();
    this.#client.destroy();
    this.#upstream?.destroy();
    this.#gone();
  }

  /** Sends what comes from one side, its end and its failure along a line to the other. */
  #join(from: Socket, line: Line, to: () => Socket | undefined): void {
    from.on("data", (chunk: Buffer) => {
      line.send(chunk.length, () => {
        if (from.isPaused() && !line.full) from.resume();
        const receiver = to();
        if (receiver === undefined || receiver.write(chunk)) return true;
        receiver.once("drain", () => line.unblock());
        return false;
      });
      if (line.full) from.pause();
    });
    from.on("end", () =>
      line.send(0, () => {
        to()?.end();
        return true;
      }),
    );
    from.on("error", () => undefined);
    from.on("close", (failed) =>
      line.send(0, () => {
        if (failed) to()?.resetAndDestroy();
        else to()?.end();
        if (to()?.destroyed !== false) this.destroy();
        return true;
      }),
    );
  }
}
