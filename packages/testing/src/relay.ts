import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** From the client to the target, or from the target to the client. */
type Way = "forth" | "back";

/** How a relay treats the bytes that it forwards. */
export interface RelayState {
  /** The delay of each direction. */
  readonly delayMs: number;
  /** In a cut direction everything waits, also a connection's end, as if packets were lost. */
  readonly cut: Readonly<Record<Way, boolean>>;
}

/** Decides what happens to a chunk: `hold` drops it and all later ones of that direction. */
export type Watch = (bytes: Buffer, way: Way) => "pass" | "cut" | "hold";

/** An address of this machine. */
interface Place {
  readonly host: string;
  readonly port: number;
}

/** How a relay is opened. */
export interface RelayOptions {
  /** Where it listens; by default a free port of 127.0.0.1. */
  readonly listen?: Place;
  readonly delayMs?: number;
}

const host = "127.0.0.1";
/** With more waiting bytes in one direction, the relay stops reading: TCP then slows the sender. */
const waitingBytesMax = 8_388_608;

/** A TCP relay with the delay of a long line. It can be cut silently, healed, and reset. */
export class Relay implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Called for every chunk that arrives. */
  watch: Watch = () => "pass";
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  #state: RelayState;

  private constructor(server: Server, state: RelayState) {
    const { address, port } = server.address() as AddressInfo;
    this.host = address;
    this.port = port;
    this.#server = server;
    this.#state = state;
  }

  /** Opens a relay to `target`; a number is a port of 127.0.0.1. */
  static async open(target: Place | number, options: RelayOptions = {}): Promise<Relay> {
    const { listen = { host, port: 0 }, delayMs = 0 } = options;
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen({ ...listen, exclusive: true });
    await once(server, "listening");
    const relay = new Relay(server, { delayMs, cut: { forth: false, back: false } });
    const place = typeof target === "number" ? { host, port: target } : target;
    server.on("connection", (client) => relay.#accept(client, place));
    return relay;
  }

  /** `host:port` for clients. */
  get address(): string {
    return `${this.host}:${this.port}`;
  }

  get state(): RelayState {
    return this.#state;
  }

  /** Changes the state. Chunks that are already on their way keep their delay. */
  set(state: RelayState): void {
    this.#state = state;
    for (const connection of this.#connections) connection.pump();
  }

  /** Cuts both directions, or heals them. */
  cut(cut: boolean): void {
    this.set({ ...this.#state, cut: { forth: cut, back: cut } });
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

  #accept(client: Socket, target: Place): void {
    const connection = new Connection(client, target, {
      state: () => this.#state,
      watch: (bytes, way) => this.watch(bytes, way),
      gone: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }
}

interface ConnectionOptions {
  readonly state: () => RelayState;
  readonly watch: Watch;
  readonly gone: () => void;
}

/** A client's connection and the one to the target, which opens after the delay. */
class Connection {
  readonly #options: ConnectionOptions;
  readonly #client: Socket;
  readonly #forth: Line;
  readonly #back: Line;
  #upstream: Socket | undefined;

  constructor(client: Socket, target: Place, options: ConnectionOptions) {
    this.#options = options;
    this.#client = client;
    this.#forth = new Line("forth", options.state);
    this.#back = new Line("back", options.state);
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
    this.#options.gone();
  }

  /** Forwards data, end and failure of one side along a line to the other side. */
  #join(from: Socket, line: Line, to: () => Socket | undefined): void {
    let held = false;
    from.on("data", (chunk: Buffer) => {
      const verdict = held ? "hold" : this.#options.watch(chunk, line.way);
      held = verdict === "hold";
      if (verdict === "cut") this.destroy();
      if (verdict !== "pass") return;
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

interface Waiting {
  readonly dueMs: number;
  readonly bytes: number;
  /** Delivers it; false if the receiver accepts no more for now. */
  readonly deliver: () => boolean;
}

/** One direction of one connection: delivers everything in order, each after its delay. */
class Line {
  readonly way: Way;
  readonly #state: () => RelayState;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;
  #blocked = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(way: Way, state: () => RelayState) {
    this.way = way;
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

  /** Delivers the chunks whose time has come. */
  pump(): void {
    clearTimeout(this.#timer);
    while (!this.#blocked && !this.#state().cut[this.way]) {
      const [next] = this.#waiting;
      if (next === undefined) return;
      const leftMs = next.dueMs - performance.now();
      if (leftMs > 0) {
        // Timers have whole milliseconds only; if one fires early, it is set again.
        this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.floor(leftMs)));
        return;
      }
      this.#waiting.shift();
      this.#bytes -= next.bytes;
      this.#blocked = !next.deliver();
    }
  }
}
