import type { TLSSocket } from "node:tls";
import type { Client } from "@holdfast/engine";
import { FrameReader, type TtlvError } from "@holdfast/ttlv";
import type { Admission } from "../access/trust.ts";
import { reasonOf } from "../base/operator-error.ts";
import type { Placed } from "../base/places.ts";
import type { Ending } from "../observe/events.ts";
import { MemoryBudget, type Waiter } from "./memory-budget.ts";
import type { Scheduler, Starter } from "./scheduler.ts";

/** Answers one request; never rejects for anything in its bytes. */
export type Execute = (
  request: Uint8Array,
  client: Client,
  requestId: string,
) => Promise<Uint8Array>;

/** Answers a message of which only the beginning could be read; see `Engine.refuse`. */
export type Refuse = (
  failure: TtlvError,
  beginning: Uint8Array,
  client: Client,
  requestId: string,
) => Uint8Array;

/** What all connections of an endpoint share. */
export interface ConnectionHost {
  readonly limits: {
    readonly requestBytesMax: number;
    readonly requestDeadlineMs: number;
    readonly idleTimeoutMs: number;
    readonly pipelineMax: number;
  };
  readonly budget: MemoryBudget;
  readonly readers: ReaderPool;
  readonly scheduler: Scheduler;
  readonly execute: Execute;
  readonly refuse: Refuse;
  readonly requestId: () => string;
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly answered: (sinceMs: number, requestBytes: number, responseBytes: number) => void;
  readonly failed: (requestId: string, cause: unknown) => void;
  readonly ended: (connection: Connection, ending: Ending, detail: string) => void;
}

/** A socket that knows its connection, so that all sockets share their listeners. */
interface KmipSocket extends TLSSocket {
  [connectionOf]?: Connection;
}

const connectionOf = Symbol("connection");

/** Frame readers between two messages; a connection holds one only while a message is arriving. */
export class ReaderPool {
  readonly #frameBytesMax: number;
  readonly #spare: FrameReader[] = [];

  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax;
  }

  take(): FrameReader {
    return this.#spare.pop() ?? new FrameReader({ frameBytesMax: this.#frameBytesMax });
  }

  /** Takes a reader back that is between two messages. */
  give(reader: FrameReader): void {
    if (this.#spare.length < 16) this.#spare.push(reader);
  }
}

/** How long the client may take to close its side after the node has closed its own. */
const closeMs = 2000;
/** The engine bounds every wait itself; a response this late is a fault of the node. No client must wait forever. */
const stuckMs = 60_000;
/** How long a client may take to read a response while all clients wait for the memory of unsent responses. */
const pressedMs = 1000;

/**
 * One client's connection: cuts its bytes into requests, has them answered one after another in their order, and
 * holds neither timer nor buffer while idle. `sweep`, called from one timer for all, keeps the deadlines.
 */
export class Connection implements Waiter, Starter, Placed {
  readonly admission: Admission;
  readonly #socket: TLSSocket;
  readonly #host: ConnectionHost;
  readonly #client: Client;
  #reader: FrameReader | undefined;
  /** The reader that has met bytes of no message; they are answered once, after the requests before them. */
  #failed: FrameReader | undefined;
  #queue: Uint8Array[] = [];
  #busySinceMs = 0;
  /** Whether the connection waits for a turn of the scheduler. */
  #asked = false;
  /** Since when a response has been waiting for the client to read it; 0 = none. */
  #blockedSinceMs = 0;
  /**
   * When the request that has begun must be complete, or get memory; 0 = none has begun, or the node reads no more until
   * others are answered.
   */
  #deadlineMs = 0;
  #activeMs: number;
  #paused = false;
  #closingSinceMs = 0;
  /** No request is read after those in the queue. */
  #ending: Ending | undefined;
  #detail = "";
  #draining = false;
  /** Memory reserved for the request being read, those that wait or are carried out, and the unsent response. */
  #reservedBytes = 0;
  #heldBytes = 0;
  #unsentBytes = 0;

  constructor(socket: TLSSocket, admission: Admission, client: Client, host: ConnectionHost) {
    this.#socket = socket;
    this.admission = admission;
    this.#client = client;
    this.#host = host;
    this.#activeMs = host.monotonicMs();
    (socket as KmipSocket)[connectionOf] = this;
    socket.on("data", onData);
    socket.on("drain", onDrain);
    socket.on("end", onEnd);
    socket.on("error", onError);
    socket.on("close", onClose);
  }

  /** Whether nothing is being read, answered or sent. */
  get idle(): boolean {
    return (
      this.#busySinceMs === 0 &&
      this.#queue.length === 0 &&
      this.#blockedSinceMs === 0 &&
      this.#reader?.pending !== true
    );
  }

  get activeMs(): number {
    return this.#activeMs;
  }

  get socket(): TLSSocket {
    return this.#socket;
  }

  /** Answers what has arrived, then closes. A request that has not arrived completely is dropped. */
  finish(ending: Ending, detail = ""): void {
    if (this.#ending === undefined) {
      this.#ending = ending;
      this.#detail = detail;
    }
    this.#next();
  }

  /** As `finish`, but a request that has begun may still arrive before its deadline. */
  drain(): void {
    this.#draining = true;
    this.#next();
  }

  /** Ends the connection at once. */
  destroy(ending: Ending, detail = ""): void {
    this.#ending ??= ending;
    this.#detail ||= detail;
    this.#socket.destroy();
  }

  /** Closes the connection to make room for another one. */
  displace(): void {
    this.#ending ??= "displaced";
    // Nothing waits to be sent on an idle one, so the client gets a close_notify.
    if (this.idle) this.#socket.destroySoon();
    else this.#socket.destroy();
  }

  /** Keeps the deadlines; called several times a second. */
  sweep(nowMs: number, wallMs: number): void {
    const { limits } = this.#host;
    if (this.#closingSinceMs > 0) {
      if (nowMs > this.#closingSinceMs + closeMs) this.#socket.destroy();
      return;
    }
    this.#expireAt(wallMs);
    if (this.#blockedSinceMs > 0 || this.#busySinceMs > 0 || this.#queue.length > 0) {
      const late = this.#lateWith(nowMs);
      if (late !== undefined) this.destroy(late);
    } else if (this.#deadlineMs > 0) {
      if (nowMs > this.#deadlineMs) this.finish("requestDeadline");
    } else if (this.idle && nowMs > this.#activeMs + limits.idleTimeoutMs) {
      this.finish("idle");
    }
  }

  /** Its certificate gives no access any more: the request in progress is answered, those that wait are not. */
  distrust(detail: string): void {
    this.#queue = [];
    this.#failed = undefined;
    this.finish("trustEnded", detail);
  }

  /** Ends a busy connection as well as an idle one. */
  #expireAt(wallMs: number): void {
    if (wallMs > this.admission.notAfterMs) this.distrust("expired");
  }

  /** Why the connection must end if a request has waited, run or been answered for too long. */
  #lateWith(nowMs: number): Ending | undefined {
    if (this.#blockedSinceMs === 0) {
      const sinceMs = this.#busySinceMs > 0 ? this.#busySinceMs : this.#activeMs;
      return nowMs > sinceMs + stuckMs ? "stuck" : undefined;
    }
    const { budget, limits } = this.#host;
    const pressed = budget.answersFull ? pressedMs : Number.POSITIVE_INFINITY;
    const takeMs = Math.min(limits.requestDeadlineMs, pressed);
    return nowMs > this.#blockedSinceMs + takeMs ? "answerDeadline" : undefined;
  }

  /** There is memory for the request being read. */
  granted(bytes: number): void {
    this.#reservedBytes = bytes;
    this.#next();
  }

  /** Called when more may be answered. */
  proceed(): void {
    if (!this.#socket.destroyed) this.#next();
  }

  /** The socket's `data`. */
  read(chunk: Buffer): void {
    // After the last request all bytes are read and dropped: closing with unread bytes resets the connection, and the
    // client would lose the response.
    if (this.#ending !== undefined) return;
    this.#activeMs = this.#host.monotonicMs();
    const began = this.#reader !== undefined;
    const reader = this.#reader ?? this.#host.readers.take();
    try {
      const frames = reader.push(chunk);
      for (const frame of frames) this.#enqueue(frame);
      if (reader.failure !== undefined) throw reader.failure;
      this.#note(reader, began && frames.length === 0);
    } catch (error) {
      this.#ending = "unframeable";
      this.#detail = reasonOf(error);
      if (reader.failure !== undefined) this.#failed = reader;
    }
    if (this.#queue.length > this.#host.limits.pipelineMax) this.#pause();
    this.#next();
  }

  #enqueue(frame: Uint8Array): void {
    this.#queue.push(frame);
    if (frame.length <= MemoryBudget.freeBytes) return;
    if (this.#reservedBytes === frame.length) this.#reservedBytes = 0;
    else this.#host.budget.takeRequest(this.#client.instance, frame.length);
    this.#heldBytes += frame.length;
  }

  /** Starts, keeps or ends the deadline of the request being read, and takes memory for it. */
  #note(reader: FrameReader, sameRequest: boolean): void {
    if (reader.pending) {
      this.#reader = reader;
      if (!sameRequest) this.#deadlineMs = this.#activeMs + this.#host.limits.requestDeadlineMs;
      this.#reserve(reader.frameBytes);
    } else {
      this.#reader = undefined;
      this.#deadlineMs = 0;
      this.#host.readers.give(reader);
    }
  }

  #reserve(bytes: number): void {
    if (bytes <= MemoryBudget.freeBytes || this.#reservedBytes > 0) return;
    if (this.#host.budget.reserve(this, this.#client.instance, bytes)) {
      this.#reservedBytes = bytes;
    } else {
      this.#pause();
      this.#deadlineMs = this.#activeMs + this.#host.limits.requestDeadlineMs;
    }
  }

  #next(): void {
    if (this.#busySinceMs > 0 || this.#blockedSinceMs > 0 || this.#closingSinceMs > 0) return;
    const request = this.#queue[0];
    if (request === undefined) {
      if (this.#draining && this.#reader?.pending !== true) this.#ending ??= "draining";
      if (this.#ending === undefined) {
        this.#resume();
      } else {
        this.#refuse();
        this.#close();
      }
    } else if (this.#host.budget.answersFull) {
      this.#host.budget.wait(this);
    } else if (!this.#asked) {
      this.#asked = true;
      this.#host.scheduler.enqueue(this.#client.instance, this);
    }
  }

  /** Says why nothing more is read, in a small answer that waits for nobody: the connection ends with it. */
  #refuse(): void {
    const reader = this.#failed;
    this.#failed = undefined;
    if (reader?.failure === undefined || this.#socket.destroyed) return;
    const { refuse, requestId } = this.#host;
    this.#socket.write(refuse(reader.failure, reader.beginning, this.#client, requestId()));
  }

  /** It is this connection's turn. */
  start(): void {
    this.#asked = false;
    this.#expireAt(this.#host.wallMs());
    const request = this.#queue.shift();
    // The client may have left meanwhile, or its certificate may have expired.
    if (request === undefined) this.#host.scheduler.release(this.#client.instance);
    else this.#answer(request);
  }

  #answer(request: Uint8Array): void {
    const startMs = this.#host.monotonicMs();
    const requestId = this.#host.requestId();
    this.#busySinceMs = startMs;
    this.#host.execute(request, this.#client, requestId).then(
      (response) => {
        this.#answered(request);
        this.#host.answered(startMs, request.length, response.length);
        this.#write(response);
      },
      (cause: unknown) => {
        this.#answered(request);
        this.#queue = [];
        this.#host.failed(requestId, cause);
        this.finish("stuck", "internal error");
      },
    );
  }

  #answered(request: Uint8Array): void {
    this.#busySinceMs = 0;
    this.#host.scheduler.release(this.#client.instance);
    if (request.length <= MemoryBudget.freeBytes || this.#socket.destroyed) return;
    this.#heldBytes -= request.length;
    this.#host.budget.releaseRequest(this.#client.instance, request.length);
  }

  #write(response: Uint8Array): void {
    if (this.#socket.destroyed) return;
    this.#activeMs = this.#host.monotonicMs();
    if (!this.#socket.write(response)) {
      this.#blockedSinceMs = this.#activeMs;
      this.#unsentBytes = response.length;
      this.#host.budget.takeAnswer(response.length);
    }
    this.#next();
  }

  /** The socket's `drain`. */
  drained(): void {
    this.#blockedSinceMs = 0;
    this.#activeMs = this.#host.monotonicMs();
    const unsent = this.#unsentBytes;
    this.#unsentBytes = 0;
    this.#host.budget.releaseAnswer(unsent);
    this.#next();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#deadlineMs = 0;
    this.#socket.pause();
  }

  #resume(): void {
    const frameBytes = this.#reader?.frameBytes ?? 0;
    const waitsForMemory = frameBytes > MemoryBudget.freeBytes && this.#reservedBytes === 0;
    if (!this.#paused || waitsForMemory) return;
    this.#paused = false;
    if (this.#reader?.pending === true) {
      this.#deadlineMs = this.#host.monotonicMs() + this.#host.limits.requestDeadlineMs;
    }
    this.#socket.resume();
  }

  #close(): void {
    this.#host.budget.forget(this);
    this.#closingSinceMs = this.#host.monotonicMs();
    this.#reader = undefined;
    this.#deadlineMs = 0;
    this.#socket.end();
    this.#socket.resume();
  }

  /** The socket's `error`. */
  broken(error: Error): void {
    this.#ending ??= "client";
    this.#detail ||= reasonOf(error);
  }

  /** The socket's `close`. */
  closed(): void {
    this.#queue = [];
    this.#reader = undefined;
    this.#host.budget.forget(this);
    const requests = this.#reservedBytes + this.#heldBytes;
    const unsent = this.#unsentBytes;
    this.#reservedBytes = 0;
    this.#heldBytes = 0;
    this.#unsentBytes = 0;
    this.#host.budget.releaseRequest(this.#client.instance, requests);
    this.#host.budget.releaseAnswer(unsent);
    this.#host.ended(this, this.#ending ?? "client", this.#detail);
  }
}

function onData(this: KmipSocket, chunk: Buffer): void {
  this[connectionOf]?.read(chunk);
}

function onDrain(this: KmipSocket): void {
  this[connectionOf]?.drained();
}

function onEnd(this: KmipSocket): void {
  this[connectionOf]?.finish("client");
}

function onError(this: KmipSocket, error: Error): void {
  this[connectionOf]?.broken(error);
}

function onClose(this: KmipSocket): void {
  this[connectionOf]?.closed();
}
