import type { TLSSocket } from "node:tls";
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import type { Timers } from "@holdfast/engine";
import type { PeerStore } from "../../ports/ports.ts";
import { pathOf, peerMethods, type UnaryName, unaryNamed } from "../methods.ts";
import type { MessageSize } from "../peer-tls.ts";
import { ByteBudget, type ServerLimits, smallReplyBytes } from "../server-limits.ts";
import { InvalidRequest, ReplyTooLarge, statusOf } from "../status.ts";
import { widenWindows } from "../windows.ts";
import { CallGuard, type CallLimits } from "./call-guard.ts";
import { answer, type Sealing } from "./peer-handlers.ts";
import { PushReceiver } from "./push-receiver.ts";

const keepaliveMs = 2_000;
const keepaliveWaitMs = 4_000;
const idleMs = 120_000;
/**
 * What HTTP/2 itself may hold for a connection, in megabytes: above all, replies that the peer does
 * not read.
 */
const sessionMemory: Readonly<Record<MessageSize, number>> = { small: 16, large: 96 };

/** What answers the connections for messages of one size. */
interface Endpoint {
  readonly guard: CallGuard;
  readonly server: Server;
  readonly inject: (socket: TLSSocket) => void;
}

export interface RegionServiceOptions extends Sealing {
  readonly store: PeerStore;
  readonly limits: ServerLimits;
  readonly timers: Timers;
  readonly unexpected: (error: unknown) => void;
}

/** Answers one region's nodes; it gets connections once they have authenticated. */
export class RegionService {
  readonly #store: PeerStore;
  readonly #limits: ServerLimits;
  readonly #unexpected: (error: unknown) => void;
  readonly #sealing: Sealing;
  readonly #endpoints: Readonly<Record<MessageSize, Endpoint>>;
  readonly #pushBudgets: Readonly<Record<MessageSize, ByteBudget>>;
  readonly #replyBudget: ByteBudget;
  readonly #largeReplyBudget: ByteBudget;
  readonly #pushes = new Set<() => void>();
  readonly #probes = new Set<ServerDuplexStream<Buffer, Buffer>>();

  constructor({ store, asking, keys, limits, timers, unexpected }: RegionServiceOptions) {
    this.#store = store;
    this.#limits = limits;
    this.#unexpected = unexpected;
    this.#sealing = { asking, keys };
    // One each: else a large batch that is being joined would delay the small ones.
    this.#pushBudgets = {
      small: new ByteBudget(limits.pushBytes),
      large: new ByteBudget(limits.pushBytes),
    };
    this.#replyBudget = new ByteBudget(limits.repliesBytes);
    this.#largeReplyBudget = new ByteBudget(limits.largeRepliesBytes);
    const { largeCalls, largeMs } = limits;
    const small = { ...limits, streamMs: Number.POSITIVE_INFINITY };
    const large = { calls: largeCalls, streams: largeCalls, callMs: largeMs, streamMs: largeMs };
    this.#endpoints = {
      small: this.#endpoint("small", limits.requestBytes, small, timers),
      large: this.#endpoint("large", limits.largeRequestBytes, large, timers),
    };
  }

  accept(socket: TLSSocket, size: MessageSize): void {
    this.#endpoints[size].inject(socket);
  }

  /** Resolves when the calls in flight have ended. */
  async drain(): Promise<void> {
    const { small, large } = this.#endpoints;
    const ended = [small, large].map(
      ({ server }) => new Promise<void>((resolve) => server.tryShutdown(() => resolve())),
    );
    // A stream of probes does not end by itself.
    for (const call of this.#probes) call.end();
    await Promise.all(ended);
  }

  close(): void {
    for (const { guard, server } of Object.values(this.#endpoints)) {
      guard.close();
      server.forceShutdown();
    }
  }

  #endpoint(size: MessageSize, requestBytes: number, limits: CallLimits, timers: Timers): Endpoint {
    const guard = new CallGuard(limits, timers);
    const server = new Server({
      interceptors: [guard.intercept],
      "grpc.max_receive_message_length": requestBytes,
      "grpc.max_send_message_length": -1,
      "grpc.max_concurrent_streams": limits.calls + 2 * limits.streams,
      "grpc.keepalive_time_ms": keepaliveMs,
      "grpc.keepalive_timeout_ms": keepaliveWaitMs,
      "grpc.max_connection_idle_ms": idleMs,
      "grpc.enable_channelz": 0,
      "grpc-node.max_session_memory": sessionMemory[size],
    });
    this.#register(server, size);
    // TLS was terminated before: the certificate decided which region's service this is.
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    widenWindows(server);
    return { guard, server, inject: (socket) => injector.injectConnection(socket) };
  }

  #register(server: Server, size: MessageSize): void {
    const same = (bytes: Buffer) => bytes;
    for (const method of Object.values(peerMethods)) {
      const unary = unaryNamed(method.name);
      if (unary !== undefined) {
        const handle = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) =>
          void this.#unary(unary, size, call, reply);
        server.register(pathOf(method), handle, same, same, "unary");
      } else {
        const handle = (call: ServerDuplexStream<Buffer, Buffer>) =>
          method === peerMethods.probe ? this.#probe(call) : this.#push(size, call);
        server.register(pathOf(method), handle, same, same, "bidi");
      }
    }
  }

  async #unary(
    name: UnaryName,
    size: MessageSize,
    call: ServerUnaryCall<Buffer, Buffer>,
    reply: sendUnaryData<Buffer>,
  ): Promise<void> {
    // Shows at once that this node is alive, however long its store takes.
    if (name === "hello") call.sendMetadata(new Metadata());
    try {
      const bytes = await answer(name, this.#store, call.request, this.#sealing);
      if (size === "small") this.#hold(bytes.length, call);
      else await this.#holdLarge(bytes.length, call);
      reply(null, bytes);
    } catch (error) {
      reply(statusOf(error, this.#unexpected));
    }
  }

  /**
   * Counts a larger reply until the peer has read it or its call is over; refuses one that has no
   * room.
   */
  #hold(bytes: number, call: ServerUnaryCall<Buffer, Buffer>): void {
    if (bytes <= smallReplyBytes) return;
    if (bytes > this.#limits.replyBytes || this.#replyBudget.full) throw new ReplyTooLarge();
    // For a call that is over, grpc-js emits nothing any more.
    if (call.cancelled) return;
    this.#replyBudget.take(bytes);
    // grpc-js also emits this for a call that succeeded.
    call.once("cancelled", () => this.#replyBudget.release(bytes));
  }

  /** The same on a connection for large messages, where a reply waits until there is room. */
  async #holdLarge(bytes: number, call: ServerUnaryCall<Buffer, Buffer>): Promise<void> {
    if (bytes > this.#limits.largeReplyBytes) throw new InvalidRequest("the reply is too large");
    const over = new AbortController();
    call.once("cancelled", () => over.abort());
    if (call.cancelled) over.abort();
    const budget = this.#largeReplyBudget;
    if (!(await budget.reserve(bytes, over.signal))) return;
    if (over.signal.aborted) budget.release(bytes);
    else over.signal.addEventListener("abort", () => budget.release(bytes), { once: true });
  }

  #push(size: MessageSize, call: ServerDuplexStream<Buffer, Buffer>): void {
    const context = {
      store: this.#store,
      budget: this.#pushBudgets[size],
      unexpected: this.#unexpected,
    };
    new PushReceiver(call, context, this.#pushes);
  }

  /** A node's probes: each is answered as `Hello` is, one after the other. */
  #probe(call: ServerDuplexStream<Buffer, Buffer>): void {
    this.#probes.add(call);
    call.on("close", () => this.#probes.delete(call));
    // Nothing more can be sent on a stream that broke; its end is seen as "close".
    call.on("error", () => undefined);
    call.on("end", () => call.end());
    call.on("drain", () => call.resume());
    call.on("data", (request: Buffer) => {
      call.pause();
      void this.#answerProbe(call, request);
    });
  }

  async #answerProbe(call: ServerDuplexStream<Buffer, Buffer>, request: Buffer): Promise<void> {
    try {
      const reply = await answer("hello", this.#store, request, this.#sealing);
      if (call.writable && call.write(reply)) call.resume();
    } catch (error) {
      call.emit("error", statusOf(error, this.#unexpected));
    }
  }
}
