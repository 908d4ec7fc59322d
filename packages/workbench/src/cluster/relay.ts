import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { type Address, printAddress, reasonOf, StartError } from "@holdfast/server/base";

/** What the line between two regions is like now. */
export interface LineState {
  /** Each way. */
  readonly delayMs: number;
  /** Nothing passes, ends of connections neither, as where packets are dropped: what waits passes after healing. */
  readonly cut: boolean;
}

/** Bytes of one direction on their way; beyond it its sender is no longer read, and TCP holds it back. */
const waitingBytesMax = 4_194_304;

/** The TCP relays of a line between two regions: one listener a node, all with the line's delay, all cut together. */
export class Line implements AsyncDisposable {
  readonly #relays: Relay[] = [];
  #state: LineState;

  constructor(delayMs: number) {
    this.#state = { delayMs, cut: false };
  }

  get state(): LineState {
    return this.#state;
  }

  /** Forwards what connects to `listen`. */
  async add(listen: Address, target: Address): Promise<void> {
    this.#relays.push(await Relay.open(listen, target, () => this.#state));
  }

  /** Cuts or heals; says whether that changed anything. */
  cut(cut: boolean): boolean {
    if (this.#state.cut === cut) return false;
    this.#state = { ...this.#state, cut };
    for (const relay of this.#relays) relay.pump();
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#relays.map((relay) => relay[Symbol.asyncDispose]()));
  }
}

/** One listener, and the connections through it. */
class Relay implements AsyncDisposable {
  readonly #server: Server;
  readonly #passages = new Set<Passage>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(listen: Address, target: Address, state: () => LineState): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const relay = new Relay(server);
    server.on("connection", (client) => {
      const passage = new Passage(client, target, state, () => relay.#passages.delete(passage));
      relay.#passages.add(passage);
    });
    try {
      server.listen({ ...listen, exclusive: true });
      await once(server, "listening");
    } catch (error) {
      throw new StartError(
        `${printAddress(listen)} (line between the regions) cannot be listened on: ${reasonOf(error)}`,
      );
    }
    return relay;
  }

  pump(): void {
    for (const passage of this.#passages) passage.pump();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const passage of this.#passages) passage.end();
    await closed;
  }
}

/** A connection through the relay. */
class Passage {
  readonly #sockets: readonly Socket[];
  readonly #directions: readonly Direction[];
  readonly #gone: () => void;

  constructor(client: Socket, target: Address, state: () => LineState, gone: () => void) {
    const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.#gone = gone;
    this.#sockets = [client, upstream];
    this.#directions = [
      new Direction(client, upstream, state),
      new Direction(upstream, client, state),
    ];
    for (const [at, socket] of this.#sockets.entries()) {
      // An end without a word travels to the other side as long as any byte does.
      socket.on("error", () => undefined);
      socket.on("close", () => this.#directions[at]?.send(0, () => this.end()));
    }
  }

  pump(): void {
    for (const direction of this.#directions) direction.pump();
  }

  end(): void {
    for (const direction of this.#directions) direction.stop();
    for (const socket of this.#sockets) socket.destroy();
    this.#gone();
  }
}

interface Waiting {
  readonly dueMs: number;
  readonly bytes: number;
  readonly deliver: () => void;
}

/** One way of a connection: in order, each thing when its time has come. */
class Direction {
  readonly #from: Socket;
  readonly #state: () => LineState;
  #waiting: Waiting[] = [];
  #bytes = 0;
  /** The receiver wants no more for now. */
  #full = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, state: () => LineState) {
    this.#from = from;
    this.#state = state;
    from.on("data", (chunk: Buffer) => {
      this.send(chunk.length, () => {
        this.#full = !to.write(chunk);
      });
    });
    from.on("end", () => this.send(0, () => to.end()));
    to.on("drain", () => {
      this.#full = false;
      this.pump();
    });
  }

  send(bytes: number, deliver: () => void): void {
    this.#waiting.push({ dueMs: performance.now() + this.#state().delayMs, bytes, deliver });
    this.#bytes += bytes;
    if (this.#bytes > waitingBytesMax) this.#from.pause();
    this.pump();
  }

  pump(): void {
    clearTimeout(this.#timer);
    while (!this.#full && !this.#state().cut) {
      const [next] = this.#waiting;
      if (next === undefined) break;
      const leftMs = next.dueMs - performance.now();
      if (leftMs > 0) {
        // Timers know whole milliseconds only, and one that comes early is set anew.
        this.#timer = setTimeout(() => this.pump(), Math.max(1, Math.floor(leftMs)));
        break;
      }
      this.#waiting.shift();
      this.#bytes -= next.bytes;
      next.deliver();
    }
    if (this.#bytes <= waitingBytesMax) this.#from.resume();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#full = true;
  }
}
