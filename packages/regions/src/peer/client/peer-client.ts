import { create } from "@bufbuild/protobuf";
import {
  type AuditEvent,
  type Change,
  type ChangePage,
  type ClockReading,
  type CommitOutcome,
  type LeafPage,
  type ManagedObject,
  type ObjectStore,
  type Observer,
  type OwnStoredObject,
  type RecordsAnswer,
  type ReserveOutcome,
  type StorePosition,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { KekReplySchema, KekRequestSchema } from "../../gen/holdfast/peer/v1/peer_pb.ts";
import {
  manageBytes,
  type Peer,
  type PeerHello,
  type PeerState,
  type PushOutcome,
} from "../../ports/ports.ts";
import { helloOf, helloRequest } from "../hello.ts";
import { decodeMessage, encodeMessage, type ReplyOf } from "../methods.ts";
import { type PeerIdentity, type PeerTls, readPeerTls } from "../peer-tls.ts";
import { serverLimits } from "../server-limits.ts";
import { auditMessage, changeMessage, hex, numberOf, ownBytes, readableObjects } from "../wire.ts";
import { Calls, inPages } from "./calls.ts";
import { Circuit } from "./circuit.ts";
import { type PeerClientTimes, peerClientTimes } from "./client-times.ts";
import { NodeLink } from "./node-link.ts";
import { PushSender } from "./push-sender.ts";
import { RemoteStore, settled, slotsOf } from "./remote-store.ts";

/** What management asks may itself ask a key manager; the other side ends a call after 15 s. */
const manageMs = 14_000;
const digestBytes = 256 * 16;
/** A page of more would not fit one message. */
const pageBytes = serverLimits.replyBytes - 64 * 1024;

export interface PeerClientOptions {
  /** The other region. */
  readonly region: string;
  readonly ownRegion: string;
  /** `host:port` of each of its nodes. */
  readonly addresses: readonly string[];
  readonly tls: PeerTls;
  readonly timers: Timers;
  readonly observe: Observer;
  readonly times?: Partial<PeerClientTimes>;
}

/** What a region said when it was last met. */
export interface LastHello {
  readonly hello: PeerHello;
  /** Monotonic clock when the answer came. */
  readonly atMs: number;
  readonly roundTripMs: number;
}

/** Another region over gRPC, through whichever of its nodes answers. */
export class PeerClient implements Peer, AsyncDisposable {
  readonly region: string;
  readonly remote: ObjectStore;
  readonly #timers: Timers;
  readonly #links: readonly NodeLink[];
  readonly #ownRegion: string;
  readonly #circuit: Circuit<NodeLink>;
  /** `hello` is asked of a retired region, too. */
  readonly #hellos: Calls;
  readonly #calls: Calls;
  readonly #pushes: PushSender;
  readonly #meetings = new Set<(hello: PeerHello) => void>();
  readonly #clocks = new Map<string, ClockReading>();
  #identity: PeerIdentity;
  #lastHello: LastHello | undefined;

  private constructor(options: PeerClientOptions) {
    const { region, ownRegion, timers, addresses, observe } = options;
    const times = { ...peerClientTimes, ...options.times };
    this.region = region;
    this.#ownRegion = ownRegion;
    this.#timers = timers;
    this.#identity = readPeerTls(options.tls);
    this.#links = addresses.map(
      (address) =>
        new NodeLink(
          {
            address,
            region,
            ownRegion,
            timers,
            times,
            changed: () => this.#changed(),
            met: (hello, roundTripMs) => this.#met(hello, roundTripMs, address),
          },
          this.#identity,
        ),
    );
    this.#circuit = new Circuit(region, this.#links, observe);
    const choose = () => this.#circuit.choose();
    this.#calls = new Calls(region, choose, timers, times);
    this.#hellos = new Calls(region, () => this.#circuit.choose(true), timers, times);
    this.#pushes = new PushSender(region, choose, this.#calls, timers, times);
    this.remote = new RemoteStore(region, this.#calls);
  }

  /** Begins to probe at once; never waits. Throws one line where the certificates are wrong. */
  static open(options: PeerClientOptions): PeerClient {
    return new PeerClient(options);
  }

  /** When the first of its certificates ends, milliseconds since the epoch. */
  get notAfterMs(): number {
    return this.#identity.notAfterMs;
  }

  /** What the region said last; undefined until it was met. */
  get lastHello(): LastHello | undefined {
    return this.#lastHello;
  }

  /** Its nodes that answer. */
  get nodesUp(): number {
    return this.#links.filter((link) => link.alive).length;
  }

  /** Takes other certificates, with new connections. Throws one line and keeps what it has where these are wrong. */
  setTls(tls: PeerTls): void {
    const identity = readPeerTls(tls);
    this.#identity = identity;
    for (const link of this.#links) link.setIdentity(identity);
  }

  /** A retired region counts as not there; only `hello` is asked of it. */
  setRetired(retired: boolean): void {
    this.#circuit.setRetired(retired);
  }

  state(): PeerState {
    return this.#circuit.state;
  }

  onState(listener: (state: PeerState, reason: string) => void): () => void {
    return this.#circuit.onState(listener);
  }

  /** Calls `listener` at each answer of a probe; answers how to stop that. */
  onHello(listener: (hello: PeerHello) => void): () => void {
    this.#meetings.add(listener);
    return () => void this.#meetings.delete(listener);
  }

  async hello(): Promise<PeerHello> {
    const reply = await this.#hellos.ask("hello", helloRequest(this.#ownRegion, this.#timers));
    return helloOf(reply, this.region);
  }

  push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    return this.#pushes.push(objects);
  }

  async fetch(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    return inPages(ids, async (some) => {
      const { slots } = await this.#calls.ask("fetch", { instance, ids: [...some] });
      return slotsOf(slots, some, this.region);
    });
  }

  async position(): Promise<StorePosition> {
    const { replicationId, numbers } = await this.#calls.ask("position", {});
    return { replicationId, numbers: numbers.map(numberOf) };
  }

  async changes(
    partition: number,
    after: number,
    limit: number,
    bytesMax: number,
  ): Promise<ChangePage> {
    const page = await this.#calls.ask("changes", {
      partition,
      after: BigInt(after),
      limit,
      bytesMax: Math.min(bytesMax, pageBytes),
    });
    const { objects, damaged, unknown } = readableObjects(page.records);
    return {
      replicationId: page.replicationId,
      objects,
      damaged: [...page.damaged, ...damaged],
      unknown: [...page.unknown, ...unknown],
      upTo: numberOf(page.upTo),
      last: numberOf(page.last),
    };
  }

  async digests(partition: number): Promise<Uint8Array> {
    const { digests } = await this.#calls.ask("digests", { partition });
    if (digests.length !== digestBytes) throw this.#strange();
    return ownBytes(digests);
  }

  async leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage> {
    const page = await this.#calls.ask("leaves", {
      partition,
      mask,
      ...(after !== undefined && { after: BigInt(after) }),
    });
    return {
      replicationId: page.replicationId,
      leaves: page.leaves.map(({ id, tag }) => ({ uniqueIdentifier: id, tag: hex(tag) })),
      ...(page.next !== undefined && { next: numberOf(page.next) }),
    };
  }

  async records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    const answers: ReplyOf<"records">[] = [];
    await inPages(ids, async (some) => {
      const answer = await this.#calls.ask("records", { partition, ids: [...some] });
      if (answer.answered === 0 || answer.answered > some.length) throw this.#strange();
      answers.push(answer);
      return some.slice(0, answer.answered);
    });
    const { objects, damaged, unknown } = readableObjects(
      answers.flatMap(({ records }) => records),
    );
    return {
      objects,
      damaged: [...answers.flatMap((answer) => answer.damaged), ...damaged],
      unknown: [...answers.flatMap((answer) => answer.unknown), ...unknown],
    };
  }

  async reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
  ): Promise<ReserveOutcome> {
    const request = { instance, ids: [...ids], operation };
    const { result, doubt } = await this.#calls.asked("reserve", request);
    const { held } = result;
    if (held !== undefined) {
      return { kind: "held", uniqueIdentifier: held.id, operation: held.operation };
    }
    if (!doubt) return { kind: "reserved" };
    // Another node may do it again when the leaders have ended the operation, and its reservation would seem to exist.
    await this.release(instance, operation);
    return { kind: "held", uniqueIdentifier: ids[0] ?? "", operation };
  }

  async write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ): Promise<CommitOutcome> {
    const answered = await this.#calls.asked("write", {
      instance,
      changes: changes.map(changeMessage),
      audit: audit.map(auditMessage),
      operation,
    });
    return settled(answered, changes, this.region, (ids) => this.fetch(instance, ids));
  }

  async release(instance: string, operation: string): Promise<number> {
    return (await this.#calls.ask("release", { instance, operation })).released;
  }

  async kek(instance: string, kekId: string): Promise<Uint8Array> {
    const request = create(KekRequestSchema, { instance, kekId });
    const { result } = await this.#calls.askedBytes(
      "kek",
      encodeMessage(KekRequestSchema, request),
    );
    try {
      const kek = ownBytes(decodeMessage(KekReplySchema, result).kek);
      if (kek.length === 0) throw this.#strange();
      return kek;
    } finally {
      result.fill(0);
    }
  }

  async manage(command: Uint8Array): Promise<Uint8Array> {
    const { result } = await this.#calls.asked("manage", { command }, manageMs);
    if (result.answer.length > manageBytes) throw this.#strange();
    return result.answer;
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #changed(): void {
    this.#circuit.update();
    this.#pushes.proceed();
  }

  /** What the clocks of its nodes showed when they were last met. */
  clockReadings(): readonly ClockReading[] {
    return [...this.#clocks.values()];
  }

  #met(hello: PeerHello, roundTripMs: number, address: string): void {
    const atMs = this.#timers.monotonicMs();
    const of = `region ${this.region}`;
    this.#clocks.set(address, { of, wallMs: hello.wallMs, atMs: atMs - roundTripMs / 2 });
    this.#lastHello = { hello, atMs, roundTripMs };
    for (const listener of [...this.#meetings]) listener(hello);
  }

  #strange(): StoreUnavailable {
    return new StoreUnavailable(
      "peerUnreachable",
      `region ${this.region} sent an answer that cannot be read`,
    );
  }
}
