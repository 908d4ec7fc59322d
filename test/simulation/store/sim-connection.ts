import { StoreUnavailable } from "@holdfast/engine";
import {
  type CommandLine,
  type Outcome,
  readServerInfo,
  type ServerInfo,
  type StoreConnection,
  type StoreConnections,
  type StoreTimers,
  storeFailure,
} from "@holdfast/redis";
import type { Life } from "../machine.ts";
import type { Network } from "../network.ts";
import { type Bytes, Failure, type Reply, Status } from "../redis/reply.ts";
import type { Server, ServerConnection } from "./server.ts";

/** What a node's process needs to reach members and Sentinels. */
export interface Place {
  readonly life: Life;
  readonly network: Network;
  /** The server at an address; undefined where no server has this address. */
  readonly server: (address: string) => Server | undefined;
}

/** The store's timers in a process of the simulation. */
export function timersOf(life: Life): StoreTimers {
  return {
    after: (ms, run) => life.after(ms, run),
    soon: (run) => {
      life.after(0, run);
    },
  };
}

/** Names a process, as the name of its host and its number do: nodes of one name would count as one. */
export function processName({ machine }: Life): string {
  return `${machine.name} ${machine.scheduler.nowMs}`;
}

/** Connections of a node's process over the simulated network. */
export function connectionsOf(place: Place): StoreConnections {
  const to: StoreConnections["to"] = (settings, address) =>
    SimConnection.open(place, address, settings.connectTimeoutMs, settings.commandTimeoutMs);
  return {
    to,
    toPrimary: async (settings, purpose, attempt = 0) => {
      const { sentinels, address } = settings;
      if (sentinels === undefined) return await to(settings, address ?? "", purpose);
      const first = attempt % sentinels.length;
      const order = [...sentinels.slice(first), ...sentinels.slice(0, first)];
      for (const sentinel of order) {
        const named = await namedBy(sentinel, settings, to);
        if (named !== undefined) return await to(settings, named, purpose);
      }
      throw new StoreUnavailable("noLease", "no Sentinel answers");
    },
  };
}

type Settings = Parameters<StoreConnections["to"]>[0];

/** The primary that a Sentinel names; undefined where it does not answer. */
async function namedBy(
  sentinel: string,
  settings: Settings,
  to: StoreConnections["to"],
): Promise<string | undefined> {
  try {
    const connection = await to(settings, sentinel, "sentinel");
    const answer = await connection.call("sentinel", "get-master-addr-by-name", "holdfast");
    connection.destroy("asked");
    return (answer as readonly Buffer[]).map(String).join(":");
  } catch (error) {
    if (error instanceof StoreUnavailable) return undefined;
    throw error;
  }
}

/** Messages of one direction, in the order in which they were sent: TCP's order. */
class Pipe {
  #sent = 0;
  #arrived = 0;
  readonly #early = new Map<number, () => void>();
  readonly #send: (arrive: () => void, heldMs?: number) => void;

  constructor(send: (arrive: () => void, heldMs?: number) => void) {
    this.#send = send;
  }

  send(arrive: () => void, heldMs?: number): void {
    const number = this.#sent;
    this.#sent += 1;
    const inOrder = (): void => {
      if (number !== this.#arrived) {
        this.#early.set(number, arrive);
        return;
      }
      for (let next: (() => void) | undefined = arrive; next !== undefined; ) {
        this.#early.delete(this.#arrived);
        this.#arrived += 1;
        next();
        next = this.#early.get(this.#arrived);
      }
    };
    this.#send(inOrder, heldMs);
  }
}

/** One connection to a member or a Sentinel: a command is answered on it or fails with it. */
class SimConnection implements StoreConnection {
  readonly address: string;
  readonly closed: Promise<string>;
  info: ServerInfo = readServerInfo("");
  open = true;
  readonly #life: Life;
  readonly #commandTimeoutMs: number;
  readonly #server: ServerConnection;
  readonly #there: Pipe;
  readonly #back: Pipe;
  readonly #heldMs: (lines: readonly CommandLine[]) => number;
  readonly #failing = new Set<(error: Error) => void>();
  #end: (reason: string) => void = () => undefined;

  private constructor(place: Place, server: Server, commandTimeoutMs: number) {
    const { life, network } = place;
    const { name } = life.machine;
    this.address = server.address;
    this.#life = life;
    this.#commandTimeoutMs = commandTimeoutMs;
    this.#there = new Pipe((arrive, heldMs) =>
      network.send(name, server.name, arrive, undefined, heldMs),
    );
    this.#heldMs = (lines) => network.hold?.(name, server.name, lines) ?? 0;
    this.#back = new Pipe((arrive) => network.send(server.name, name, () => life.run(arrive)));
    this.#server = server.connect(() => {
      this.#back.send(() => this.destroy("Redis closed the connection"));
    });
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Connects, and asks for INFO within the time. */
  static async open(
    place: Place,
    address: string,
    connectTimeoutMs: number,
    commandTimeoutMs: number,
  ): Promise<SimConnection> {
    const server = place.server(address);
    if (server?.listens !== true) {
      throw new StoreUnavailable("noLease", `no connection to Redis ${address}`);
    }
    const connection = new SimConnection(place, server, commandTimeoutMs);
    const [info] = await connection.#batch([["info"]], connectTimeoutMs);
    if (info === undefined || "error" in info) {
      connection.destroy("no answer");
      throw storeFailure(info?.error, address);
    }
    connection.info = readServerInfo(String(info.value));
    return connection;
  }

  async call(...line: CommandLine): Promise<unknown> {
    const [outcome] = await this.batch([line]);
    if (outcome === undefined || "error" in outcome) {
      throw storeFailure(outcome?.error, this.address);
    }
    return outcome.value;
  }

  batch(lines: readonly CommandLine[]): Promise<readonly Outcome[]> {
    return this.#batch(lines, this.#commandTimeoutMs);
  }

  destroy(reason: string): void {
    if (!this.open) return;
    this.open = false;
    this.#there.send(() => this.#server.close());
    for (const fail of [...this.#failing]) fail(new Error("Connection is closed."));
    this.#end(reason);
  }

  #batch(lines: readonly CommandLine[], timeoutMs: number): Promise<readonly Outcome[]> {
    return new Promise((resolve) => {
      const outcomes: Outcome[] = [];
      const fail = (error: Error): void => settle(lines.map((_, at) => outcomes[at] ?? { error }));
      const settle = (all: readonly Outcome[]): void => {
        callOff();
        this.#failing.delete(fail);
        resolve(all);
      };
      const callOff = this.#life.after(timeoutMs, () => {
        fail(new Error("Command timed out"));
        this.destroy("a command timed out");
      });
      this.#failing.add(fail);
      if (!this.open) {
        fail(new Error("Connection is closed."));
        return;
      }
      this.#there.send(() => {
        this.#ask(lines, (reply) => {
          if (!this.open) return;
          outcomes.push(outcomeOf(reply));
          if (outcomes.length === lines.length) settle(outcomes);
        });
      }, this.#heldMs(lines));
    });
  }

  /** Runs commands at the server. Answers that are ready together come back in one message. */
  #ask(lines: readonly CommandLine[], take: (reply: Reply) => void): void {
    let ready: Reply[] = [];
    let together = true;
    const send = (): void => {
      const replies = ready;
      ready = [];
      if (replies.length > 0) this.#back.send(() => replies.forEach(take));
    };
    for (const line of lines) {
      this.#server.ask(line.map(bytesOf), (reply) => {
        ready.push(reply);
        if (!together) send();
      });
    }
    together = false;
    send();
  }
}

/** Text that is its own UTF-8, as most words are. */
const printable = /^[ -~]*$/;

function bytesOf(word: string | Buffer): Bytes {
  if (typeof word !== "string") return word.toString("latin1");
  return printable.test(word) ? word : Buffer.from(word, "utf8").toString("latin1");
}

function bufferOf(text: Bytes): Buffer {
  const { length } = text;
  if (length > shortMax) return Buffer.from(text, "latin1");
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** An error that Redis itself answered. */
class ReplyError extends Error {
  override readonly name = "ReplyError";
}

function outcomeOf(reply: Reply): Outcome {
  return reply instanceof Failure
    ? { error: new ReplyError(reply.text) }
    : { value: readValue(reply) };
}

/** Up to this length, JavaScript alone copies text faster than Node does. */
const shortMax = 32;

/** An answer as ioredis gives it: bytes as `Buffer`. */
function readValue(reply: Reply): unknown {
  if (typeof reply === "string") return bufferOf(reply);
  if (reply instanceof Status) return reply.text;
  if (reply instanceof Failure) return new ReplyError(reply.text);
  return reply === null || typeof reply === "number" ? reply : reply.map(readValue);
}
