import type { DescMethod } from "@bufbuild/protobuf";
import {
  type Client,
  type ClientDuplexStream,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { StoreUnavailable, type Timers } from "@holdfast/engine";
import { type PushReply, PushReplySchema } from "../../gen/holdfast/peer/v1/peer_pb.ts";
import type { PeerHello } from "../../ports/ports.ts";
import { decodeReply, encodeRequest, type ReplyOf } from "../codecs.ts";
import { helloOf } from "../hello.ts";
import { decodeMessage, pathOf, peerMethods, type UnaryName } from "../methods.ts";
import { type IsDenied, type MessageSize, onDenyList, type PeerIdentity } from "../peer-tls.ts";
import { CallFailed, type CallFault, failureFrom, faultOf } from "../status.ts";
import { type Attempt, Pending } from "./attempt.ts";
import { openChannel, type ProvenNode } from "./channel.ts";
import type { PeerClientTimes } from "./client-times.ts";
import { NumberedStream } from "./numbered-stream.ts";

const tickMs = 25;
/** A node that was asked something and is silent for this long is probed. */
const quietMs = 75;
const lagMs = 150;
/** For this long, a node whose store failed is asked after the others. */
const unwillingMs = 1_000;
const same = (bytes: Buffer): Buffer => bytes;

type Hello = ReplyOf<"hello">;

export interface NodeLinkOptions {
  readonly address: string;
  readonly region: string;
  readonly ownRegion: string;
  readonly timers: Timers;
  readonly times: PeerClientTimes;
  readonly isDenied: IsDenied;
  /** Called when the node came, went, or has room for pushes again. */
  readonly changed: () => void;
  readonly met: (hello: PeerHello, roundTripMs: number) => void;
  /** Called when a node shows a certificate of the region without proving its key. */
  readonly unproven: (reason: string) => void;
}

/**
 * One node of another region: its connection, and whether it is alive. It is alive if anything is
 * heard from it while it is asked something, which distinguishes a slow store from a frozen
 * process.
 */
export class NodeLink {
  readonly #options: NodeLinkOptions;
  readonly #timers: Timers;
  readonly #pending = new Set<Pending>();
  readonly #closing = new AbortController();
  #identity: PeerIdentity;
  #client: Client;
  /** For large messages; made when there is one. */
  #large: Client | undefined;
  #pushes: NumberedStream<PushReply>;
  /** While the connected node takes probes as a stream. */
  #probes: NumberedStream<Hello> | undefined;
  #madeMs: number;
  #heardMs = Number.NEGATIVE_INFINITY;
  #unwillingUntilMs = Number.NEGATIVE_INFINITY;
  #probe: Pending | undefined;
  #streamedProbe: Pending | undefined;
  #probeNumber = 0;
  #watching = false;
  #alive = false;
  #tried = false;
  #reason = "no contact yet";
  #roundTripMs = 0;
  #shown: ProvenNode | undefined;
  /** What the node showed on each of the two connections, which may be open since before and after it changed. */
  readonly #shownOn = new Map<MessageSize, string>();

  constructor(options: NodeLinkOptions, identity: PeerIdentity) {
    this.#options = options;
    this.#timers = options.timers;
    this.#identity = identity;
    this.#madeMs = options.timers.monotonicMs();
    this.#client = this.#open("small");
    this.#pushes = this.#openPushes("small");
    void this.#probeAlways();
  }

  get address(): string {
    return this.#options.address;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Whether it has answered, or could not be asked, at least once. */
  get tried(): boolean {
    return this.#tried;
  }

  /** Whether it was asked something and has been silent for so long that others are asked first. */
  get stalled(): boolean {
    return this.#silentMs() > this.#stallMs;
  }

  /** Whether its store failed a moment ago, so that others are asked first. */
  get unwilling(): boolean {
    return this.#timers.monotonicMs() < this.#unwillingUntilMs;
  }

  /** Why it is not alive. */
  get reason(): string {
    return this.#reason;
  }

  get pushBlocked(): boolean {
    return this.#pushes.blocked;
  }

  /** Makes new connections with other certificates; what is under way on the old one may end there. */
  setIdentity(identity: PeerIdentity): void {
    this.#identity = identity;
    this.#renew();
  }

  /** The node that was connected last, by its certificate. */
  get shown(): ProvenNode | undefined {
    return this.#shown;
  }

  /** The deny list has changed: ends both connections at once if the certificate that one was made with is on it. */
  recheck(): void {
    const { isDenied } = this.#options;
    if (![...this.#shownOn.values()].some(isDenied)) return;
    this.#shownOn.clear();
    if (this.#shown !== undefined && isDenied(this.#shown.fingerprint)) this.#shown = undefined;
    this.#pushes.close();
    this.#probes?.close();
    for (const pending of [...this.#pending]) pending.expire();
    this.#renew();
    this.#lose(onDenyList);
  }

  close(): void {
    this.#closing.abort();
    this.#pushes.close();
    this.#probes?.close();
    this.#client.close();
    this.#large?.close();
    for (const pending of [...this.#pending]) pending.expire();
  }

  /** Calls a unary method whose request and reply are of that size. */
  ask(
    name: UnaryName,
    request: Buffer,
    endsMs: number,
    size: MessageSize = "small",
  ): Attempt<Buffer> {
    const path = pathOf(peerMethods[name]);
    return this.#attempt(endsMs, (settle) => {
      const send = (client: Client): void => {
        const metadata = this.#timeout(endsMs);
        call = client.makeUnaryRequest(path, same, same, request, metadata, (error, reply) => {
          if (error === null && reply !== undefined) return settle(reply);
          const failed = this.#fault(error, name, client === this.#client);
          const current = this.#clientFor(size);
          // New certificates ended that connection before anything was sent on it.
          if (failed.fault.kind === "notSent" && client !== current) send(current);
          else settle(failed);
        });
        // The node is alive, even if its store takes long to answer: it can be probed again.
        if (name === "hello") {
          call.on("metadata", () => {
            this.#heard();
            this.#probe = undefined;
          });
        }
      };
      let call: ClientUnaryCall | undefined;
      send(this.#clientFor(size));
      return () => call?.cancel();
    });
  }

  /** Pushes the encoded batch with this number; a large one on its own stream. */
  push(id: number, batch: Buffer, endsMs: number, size: MessageSize): Attempt<PushReply> {
    return this.#attempt(endsMs, (settle) => {
      const stream = size === "small" ? this.#pushes : this.#openPushes(size);
      const giveUp = stream.send(id, batch, (answer) => {
        if (answer instanceof Error) settle(this.#fault(answer, "Push", stream === this.#pushes));
        else if (answer.failure === undefined) settle(answer);
        else {
          const { failure, message } = answer.failure;
          const error = failureFrom(failure, message, this.#options.region);
          settle(new CallFailed({ kind: "answered", error }));
        }
      });
      if (size === "small") return giveUp;
      stream.retire();
      return () => stream.close();
    });
  }

  #open(size: MessageSize): Client {
    const { address, region, ownRegion, isDenied, unproven } = this.#options;
    return openChannel({
      ...{ address, region, ownRegion, size },
      identity: this.#identity,
      refusal: (fingerprint) => (isDenied(fingerprint) ? onDenyList : undefined),
      proven: (node) => {
        this.#shown = node;
        this.#shownOn.set(size, node.fingerprint);
      },
      unproven,
    });
  }

  #clientFor(size: MessageSize): Client {
    if (size === "small") return this.#client;
    this.#large ??= this.#open(size);
    return this.#large;
  }

  #openPushes(size: MessageSize): NumberedStream<PushReply> {
    return new NumberedStream(
      () => streamOf(this.#clientFor(size), peerMethods.push),
      (bytes) => {
        this.#heard();
        return decodeMessage(PushReplySchema, bytes);
      },
      this.#options.changed,
    );
  }

  #openProbes(): NumberedStream<Hello> {
    const stream = new NumberedStream<Hello>(
      () => streamOf(this.#client, peerMethods.probe),
      (bytes) => decodeReply("hello", bytes),
      () => this.#endProbes(stream),
    );
    return stream;
  }

  /** Returns whether the stream was that of the current connection. The next probe is a call again. */
  #endProbes(stream: NumberedStream<Hello>): boolean {
    if (stream !== this.#probes) return false;
    stream.retire();
    this.#probes = undefined;
    return true;
  }

  /**
   * Begins a request that is tracked until it settles; `begin` returns a function that cancels it.
   */
  #attempt<Result>(
    endsMs: number,
    begin: (settle: (outcome: Result | CallFailed) => void) => () => void,
  ): Attempt<Result> {
    let cancel: () => void = () => undefined;
    let finish: (outcome: Result | CallFailed) => void = () => undefined;
    const expire = () => {
      finish(new CallFailed({ kind: "unknown", reason: "no answer in time" }));
      cancel();
    };
    const pending = new Pending(this.#timers.monotonicMs(), endsMs, expire);
    const result = new Promise<Result>((resolve, reject) => {
      finish = (outcome) => {
        if (!this.#pending.delete(pending)) return;
        if (outcome instanceof CallFailed) {
          this.#judge(outcome.fault);
          reject(outcome);
        } else {
          this.#heard();
          resolve(outcome);
        }
      };
    });
    this.#pending.add(pending);
    try {
      cancel = begin(finish);
    } catch (error) {
      // grpc-js throws where the connection was closed.
      finish(new CallFailed({ kind: "notSent", reason: reasonOf(error) }));
    }
    void this.#watch();
    return { result, onStall: pending.onStall, cancel: expire };
  }

  #timeout(endsMs: number): Metadata {
    const left = Math.max(1, Math.ceil(endsMs - this.#timers.monotonicMs()));
    const metadata = new Metadata();
    // grpc-js would count from the wall clock, which jumps.
    metadata.set("grpc-timeout", `${Math.min(left, 99_999_999)}m`);
    return metadata;
  }

  #fault(error: Error | null, method: string, isCurrent: boolean): CallFailed {
    if (error instanceof CallFailed) return error;
    if (error === null || !("code" in error)) {
      return new CallFailed({ kind: "unknown", reason: error?.message ?? "no reply" });
    }
    const failed = error as ServiceError;
    const fault = faultOf(failed, this.#options.region, method);
    const broken = fault.kind !== "answered" && failed.code === status.UNAVAILABLE;
    // A connection for large messages, or one that was replaced, says nothing about the current one.
    if (broken && isCurrent) this.#gone(fault);
    return new CallFailed(fault);
  }

  #judge(fault: CallFault): void {
    if (fault.kind === "notSent" || fault.kind === "unknown") return;
    this.#heard();
    if (fault.kind === "answered" && fault.error instanceof StoreUnavailable) {
      this.#unwillingUntilMs = this.#timers.monotonicMs() + unwillingMs;
    }
  }

  #gone(fault: CallFault): void {
    this.#lose("reason" in fault ? fault.reason : "gone");
  }

  #heard(): void {
    this.#heardMs = this.#timers.monotonicMs();
  }

  /** How long nothing was heard although something was asked. */
  #silentMs(): number {
    const [first] = this.#pending;
    if (first === undefined) return 0;
    return this.#timers.monotonicMs() - Math.max(first.sinceMs, this.#heardMs);
  }

  get #stallMs(): number {
    return Math.max(this.#options.times.stallMs, 2 * this.#roundTripMs + quietMs);
  }

  /** While something is asked: probes a silent node, reports stalls, ends what takes too long. */
  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    while (this.#pending.size > 0 && !this.#closing.signal.aborted) {
      const before = this.#timers.monotonicMs();
      const silentBefore = this.#silentMs();
      await this.#timers.sleep(tickMs, this.#closing.signal).catch(() => undefined);
      const now = this.#timers.monotonicMs();
      // This process itself was paused, and what came meanwhile has not been read yet: only `lagMs` of that time count.
      // If none did, a process that is always late would never notice a frozen node.
      if (now - before > lagMs) {
        this.#heardMs = Math.max(this.#heardMs, now - silentBefore - lagMs);
      }
      this.#look(now);
    }
    this.#watching = false;
  }

  #look(now: number): void {
    const silent = this.#silentMs();
    if (silent > quietMs) this.#ask(now);
    if (silent > this.#stallMs) {
      for (const pending of this.#pending) pending.stall();
    }
    if (silent > Math.max(this.#options.times.downAfterMs, 2 * this.#stallMs)) {
      this.#lose(`no answer for ${Math.round(silent)} ms`);
    }
    for (const pending of [...this.#pending]) if (pending.endsMs <= now) pending.expire();
  }

  async #probeAlways(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const now = this.#timers.monotonicMs();
      if (!this.#alive && now - this.#madeMs >= this.#options.times.renewMs) this.#renew();
      this.#ask(now);
      await this.#timers.sleep(this.#options.times.probeMs, signal).catch(() => undefined);
    }
  }

  /** Probes the node, unless a probe is under way. On a stream, a probe costs less than a call. */
  #ask(now: number): void {
    const isUnderWay = (probe: Pending | undefined): probe is Pending =>
      probe !== undefined && this.#pending.has(probe);
    if (isUnderWay(this.#probe)) return;
    const endsMs = now + this.#options.times.renewMs;
    const stream = this.#probes;
    if (isUnderWay(this.#streamedProbe)) {
      // A call shows that the node is alive before its store has answered; a stream does not.
      if (now - this.#streamedProbe.sinceMs <= this.#roundTripMs + quietMs) return;
    } else if (stream !== undefined) {
      const attempt = this.#askOn(stream, endsMs);
      this.#streamedProbe = this.#newest;
      this.#await(attempt.result, now);
      return;
    }
    const attempt = this.ask("hello", this.#helloRequest(0), endsMs);
    this.#probe = this.#newest;
    this.#await(
      attempt.result.then((bytes) => decodeReply("hello", bytes)),
      now,
    );
  }

  get #newest(): Pending | undefined {
    return [...this.#pending].at(-1);
  }

  #askOn(stream: NumberedStream<Hello>, endsMs: number): Attempt<Hello> {
    this.#probeNumber = (this.#probeNumber + 1) >>> 0;
    const id = this.#probeNumber;
    return this.#attempt(endsMs, (settle) =>
      stream.send(id, this.#helloRequest(id), (answer) =>
        settle(
          answer instanceof Error ? this.#fault(answer, "Probe", this.#endProbes(stream)) : answer,
        ),
      ),
    );
  }

  #helloRequest(id: number): Buffer {
    const { ownRegion: region, timers } = this.#options;
    return encodeRequest("hello", { region, wallMs: timers.wallMs(), id });
  }

  #await(reply: Promise<Hello>, askedMs: number): void {
    reply.then(
      (hello) => this.#meet(hello, askedMs),
      (error: unknown) => {
        if (!(error instanceof CallFailed)) this.#lose(reasonOf(error));
        // A node whose store fails is still alive.
        else if (error.fault.kind === "answered") this.#come();
      },
    );
  }

  #meet(reply: Hello, askedMs: number): void {
    const { region, met } = this.#options;
    try {
      const hello = helloOf(reply, region);
      const took = this.#timers.monotonicMs() - askedMs;
      this.#roundTripMs = this.#roundTripMs === 0 ? took : 0.8 * this.#roundTripMs + 0.2 * took;
      this.#come();
      met(hello, took);
      if (reply.features.includes("probe")) this.#probes ??= this.#openProbes();
    } catch (error) {
      this.#lose(reasonOf(error));
    }
  }

  #come(): void {
    if (this.#alive) return;
    this.#tried = true;
    this.#alive = true;
    this.#reason = "it answers";
    this.#options.changed();
  }

  #lose(reason: string): void {
    this.#reason = reason;
    if (!this.#alive && this.#tried) return;
    this.#tried = true;
    this.#alive = false;
    this.#options.changed();
  }

  #renew(): void {
    this.#madeMs = this.#timers.monotonicMs();
    this.#pushes.retire();
    this.#probes?.retire();
    this.#probes = undefined;
    this.#client.close();
    this.#large?.close();
    this.#large = undefined;
    this.#shownOn.delete("large");
    this.#client = this.#open("small");
    this.#pushes = this.#openPushes("small");
  }
}

/** A new stream of a method's messages. */
function streamOf(client: Client, method: DescMethod): ClientDuplexStream<Buffer, Buffer> {
  return client.makeBidiStreamRequest(pathOf(method), same, same, new Metadata());
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown";
}
