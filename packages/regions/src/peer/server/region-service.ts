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
import { PushReplySchema, PushRequestSchema } from "../../gen/holdfast/peer/v1/peer_pb.ts";
import type { PeerStore } from "../../ports/ports.ts";
import {
  decodeMessage,
  encodeMessage,
  type MethodName,
  pathOf,
  peerMethods,
  type UnaryName,
  unaryNamed,
} from "../methods.ts";
import { ByteBudget, type ServerLimits, smallReplyBytes } from "../server-limits.ts";
import { failureOf, InvalidRequest, ReplyTooLarge, statusOf } from "../status.ts";
import { widenWindows } from "../windows.ts";
import { CallGuard } from "./call-guard.ts";
import { answer } from "./handlers.ts";
import { receiveLarge } from "./large-receiver.ts";
import { joinBatch, PushReceiver } from "./push-receiver.ts";

const keepaliveMs = 2_000;
const keepaliveWaitMs = 4_000;
const idleMs = 120_000;
/** What HTTP/2 itself may hold for a connection, in megabytes: replies that are not taken, above all. */
const sessionMemory = 16;

/** Answers one region's nodes; connections are handed to it once it is known whose they are. */
export class RegionService {
  readonly #store: PeerStore;
  readonly #limits: ServerLimits;
  readonly #unexpected: (error: unknown) => void;
  readonly #guard: CallGuard;
  readonly #server: Server;
  readonly #inject: (socket: TLSSocket) => void;
  readonly #pushBudget: ByteBudget;
  readonly #largeBudget: ByteBudget;
  readonly #largeTurns: ByteBudget;
  readonly #replyBudget: ByteBudget;
  readonly #pushes = new Set<() => void>();

  constructor(
    store: PeerStore,
    limits: ServerLimits,
    timers: Timers,
    unexpected: (error: unknown) => void,
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#unexpected = unexpected;
    this.#guard = new CallGuard(limits, timers);
    this.#pushBudget = new ByteBudget(limits.pushBytes);
    this.#largeBudget = new ByteBudget(limits.largeBytes);
    this.#largeTurns = new ByteBudget(limits.largeAnswers);
    this.#replyBudget = new ByteBudget(limits.repliesBytes);
    this.#server = new Server({
      interceptors: [this.#guard.intercept],
      "grpc.max_receive_message_length": limits.requestBytes,
      "grpc.max_send_message_length": -1,
      "grpc.max_concurrent_streams": limits.calls,
      "grpc.keepalive_time_ms": keepaliveMs,
      "grpc.keepalive_timeout_ms": keepaliveWaitMs,
      "grpc.max_connection_idle_ms": idleMs,
      "grpc.enable_channelz": 0,
      "grpc-node.max_session_memory": sessionMemory,
    });
    this.#register();
    // TLS ended before: the certificate decided which region's service this is.
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    widenWindows(this.#server);
    this.#inject = (socket) => injector.injectConnection(socket);
  }

  accept(socket: TLSSocket): void {
    this.#inject(socket);
  }

  /** Resolves when the calls in flight have ended. */
  drain(): Promise<void> {
    return new Promise((resolve) => this.#server.tryShutdown(() => resolve()));
  }

  close(): void {
    this.#guard.close();
    this.#server.forceShutdown();
  }

  #register(): void {
    const same = (bytes: Buffer) => bytes;
    for (const [name, method] of Object.entries(peerMethods)) {
      const unary = unaryNamed(method.name);
      if (unary !== undefined) {
        const handle = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) =>
          void this.#unary(unary, call, reply);
        this.#server.register(pathOf(method), handle, same, same, "unary");
      } else {
        const handle = this.#stream(name as MethodName);
        this.#server.register(pathOf(method), handle, same, same, "bidi");
      }
    }
  }

  async #unary(
    name: UnaryName,
    call: ServerUnaryCall<Buffer, Buffer>,
    reply: sendUnaryData<Buffer>,
  ): Promise<void> {
    // Says at once that this node lives, however long its store takes.
    if (name === "hello") call.sendMetadata(new Metadata());
    try {
      const bytes = await answer(name, this.#store, call.request);
      this.#hold(bytes.length, call);
      reply(null, bytes);
    } catch (error) {
      reply(statusOf(error, this.#unexpected));
    }
  }

  /** Counts a larger reply until it was taken or its call is over; refuses one that has no room. */
  #hold(bytes: number, call: ServerUnaryCall<Buffer, Buffer>): void {
    if (bytes <= smallReplyBytes) return;
    if (bytes > this.#limits.replyBytes || this.#replyBudget.full) throw new ReplyTooLarge();
    this.#replyBudget.take(bytes);
    // Which grpc-js also says of a call that ended well.
    call.once("cancelled", () => this.#replyBudget.release(bytes));
  }

  #stream(name: MethodName): (call: ServerDuplexStream<Buffer, Buffer>) => void {
    const push = { store: this.#store, budget: this.#pushBudget, unexpected: this.#unexpected };
    if (name === "push") return (call) => void new PushReceiver(call, push, this.#pushes);
    return (call) =>
      void receiveLarge(call, {
        budget: this.#largeBudget,
        turns: this.#largeTurns,
        largeMax: this.#limits.largeMax,
        unexpected: this.#unexpected,
        dispatch: async (method, request) => {
          if (method === peerMethods.push.name) return this.#pushOnce(request);
          const unary = unaryNamed(method);
          // Key material is never cut in pieces.
          if (unary === undefined || unary === "kek") {
            throw new InvalidRequest("no such method in pieces");
          }
          return answer(unary, this.#store, request);
        },
      });
  }

  async #pushOnce(bytes: Buffer): Promise<Buffer> {
    let request: { readonly id: number; readonly records: readonly Uint8Array[] };
    try {
      request = decodeMessage(PushRequestSchema, bytes);
    } catch (cause) {
      throw new InvalidRequest("a batch does not decode", { cause });
    }
    const context = {
      store: this.#store,
      budget: this.#pushBudget,
      unexpected: this.#unexpected,
    };
    const reply = await joinBatch(context, request.id, request.records);
    // As a status, so that the caller continues with the next node.
    if (reply.failure !== undefined) throw failureOf(reply.failure);
    return encodeMessage(PushReplySchema, reply);
  }
}
