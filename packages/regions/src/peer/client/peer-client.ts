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
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import {
  manageBytes,
  type Peer,
  type PeerHello,
  type PeerPosition,
  type PeerState,
  type PushOutcome,
  type StoreUse,
  usesIn,
} from "../../ports/ports.ts";
import { helloOf } from "../hello.ts";
import { type IsDenied, type PeerIdentity, type PeerTls, readPeerTls } from "../peer-tls.ts";
import { serverLimits } from "../server-limits.ts";
import { Calls, inPages } from "./calls.ts";
import type { ProvenNode } from "./channel.ts";
import { type PeerClientTimes, peerClientTimes } from "./client-times.ts";
import { NodeLink } from "./node-link.ts";
import { PeerAvailability } from "./peer-availability.ts";
import { PushSender } from "./push-sender.ts";
import { keptUnlessInDoubt, RemoteStore, settled, slotsOf } from "./remote-store.ts";

/** A management request may itself call a key manager; the other side ends a call after 15 s. */
const manageMs = 14_000;
const digestBytes = 256 * 16;
/** A larger page would not fit one message. */
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
  readonly isDenied?: IsDenied;
  readonly times?: Partial<PeerClientTimes>;
}

/** What a region said at the last contact. */
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
  readonly #availability: PeerAvailability<NodeLink>;
  /** `hello` is asked of a retired region, too. */
  readonly #hellos: Calls;
  readonly #calls: Calls;
  readonly #pushes: PushSender;
  readonly #meetings = new Set<(hello: PeerHello) => void>();
  readonly #clocks = new Map<string, ClockReading>();
  readonly #stores = new Map<string, readonly StoreUse[]>();
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
            isDenied: options.isDenied ?? (() => false),
            changed: () => this.#changed(),
            met: (hello, roundTripMs) => this.#met(hello, roundTripMs, address),
            unproven: (reason) =>
              observe({ type: "peerRefused", address, reason, kind: "unproven" }),
          },
          this.#identity,
        ),
    );
    this.#availability = new PeerAvailability(region, this.#links, observe);
    const choose = () => this.#availability.choose();
    this.#calls = new Calls(region, choose, timers, times);
    this.#hellos = new Calls(region, () => this.#availability.choose(true), timers, times);
    this.#pushes = new PushSender(region, choose, this.#calls, timers, times);
    this.remote = new RemoteStore(region, this.#calls);
  }

  /**
   * Begins to probe at once; never waits. Throws a one-line error where the certificates are wrong.
   */
  static open(options: PeerClientOptions): PeerClient {
    return new PeerClient(options);
  }

  /** When the first of its certificates expires, milliseconds since the epoch. */
  get notAfterMs(): number {
    return this.#identity.notAfterMs;
  }

  /** What the region said last; undefined before the first contact. */
  get lastHello(): LastHello | undefined {
    return this.#lastHello;
  }

  /** Its nodes that answer. */
  get nodesUp(): number {
    return this.#links.filter((link) => link.alive).length;
  }

  /**
   * Uses other certificates, with new connections. Throws a one-line error and keeps the old ones
   * where these are wrong.
   */
  setTls(tls: PeerTls): void {
    const identity = readPeerTls(tls);
    this.#identity = identity;
    for (const link of this.#links) link.setIdentity(identity);
  }

  /** The deny list has changed: ends the connections to nodes whose certificate is on it now. */
  recheck(): void {
    for (const link of this.#links) link.recheck();
  }

  /** Its nodes that were connected last, by their certificates. */
  shown(): readonly ProvenNode[] {
    return this.#links.flatMap(({ shown }) => shown ?? []);
  }

  /** A retired region is not used; only `hello` is asked of it. */
  setRetired(retired: boolean): void {
    this.#availability.setRetired(retired);
  }

  state(): PeerState {
    return this.#availability.state;
  }

  onState(listener: (state: PeerState, reason: string) => void): () => void {
    return this.#availability.onState(listener);
  }

  onHello(listener: (hello: PeerHello) => void): () => void {
    this.#meetings.add(listener);
    return () => void this.#meetings.delete(listener);
  }

  async hello(): Promise<PeerHello> {
    const asked = { region: this.#ownRegion, wallMs: this.#timers.wallMs(), id: 0 };
    return helloOf(await this.#hellos.ask("hello", asked), this.region);
  }

  push(objects: readonly ManagedObject[]): Promise<readonly PushOutcome[]> {
    return this.#pushes.push(objects);
  }

  async fetch(
    instance: string,
    ids: readonly string[],
  ): Promise<readonly (OwnStoredObject | undefined)[]> {
    return inPages(ids, async (some) =>
      slotsOf(await this.#calls.ask("fetch", { instance, ids: some }), some, this.region),
    );
  }

  position(): Promise<PeerPosition> {
    return this.#calls.ask("position", undefined);
  }

  changes(partition: number, after: number, limit: number, bytes: number): Promise<ChangePage> {
    const bytesMax = Math.min(bytes, pageBytes);
    return this.#calls.ask("changes", { partition, after, limit, bytesMax });
  }

  async digests(partition: number): Promise<Uint8Array> {
    const digests = await this.#calls.ask("digests", partition);
    if (digests.length !== digestBytes) throw this.#strange();
    return digests;
  }

  leaves(partition: number, mask: Uint8Array, after: number | undefined): Promise<LeafPage> {
    return this.#calls.ask("leaves", { partition, mask, after });
  }

  async records(partition: number, ids: readonly string[]): Promise<RecordsAnswer> {
    const answers: RecordsAnswer[] = [];
    await inPages(ids, async (some) => {
      const { answered, ...answer } = await this.#calls.ask("records", { partition, ids: some });
      if (answered === 0 || answered > some.length) throw this.#strange();
      answers.push(answer);
      return some.slice(0, answered);
    });
    return {
      objects: answers.flatMap(({ objects }) => objects),
      damaged: answers.flatMap(({ damaged }) => damaged),
      unknown: answers.flatMap(({ unknown }) => unknown),
    };
  }

  async reserve(
    instance: string,
    ids: readonly string[],
    operation: string,
    changes: readonly Change[] = [],
  ): Promise<ReserveOutcome> {
    const asked = { instance, ids, operation, changes };
    const answered = await this.#calls.asked("reserve", asked);
    return keptUnlessInDoubt(answered, asked, () => this.release(instance, operation));
  }

  async write(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    operation: string,
  ): Promise<CommitOutcome> {
    const asked = { instance, changes, audit, operation };
    const answered = await this.#calls.asked("write", asked);
    return settled(answered, changes, this.region, (ids) => this.fetch(instance, ids));
  }

  release(instance: string, operation: string): Promise<number> {
    return this.#calls.ask("release", { instance, operation });
  }

  async kek(instance: string, kekId: string): Promise<Uint8Array> {
    const { keys } = this.#identity;
    const sealed = await this.#calls.ask("kek", { instance, kekId, key: keys.id });
    const kek = keys.open({ instance, kekId, asking: this.#ownRegion }, sealed);
    if (kek === undefined) throw this.#strange();
    return kek;
  }

  async manage(command: Uint8Array): Promise<Uint8Array> {
    const { result } = await this.#calls.asked("manage", command, manageMs);
    if (result.length > manageBytes) throw this.#strange();
    return result;
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #changed(): void {
    this.#availability.update();
    this.#pushes.proceed();
  }

  /** What the clocks of its nodes showed at the last contact. */
  clockReadings(): readonly ClockReading[] {
    return [...this.#clocks.values()];
  }

  /** Which stores its nodes, and those of the own region, used at the last contact; read from the answers of its nodes. */
  storeUses(): readonly StoreUse[] {
    return [...this.#stores.values()].flat();
  }

  #met(hello: PeerHello, roundTripMs: number, address: string): void {
    const atMs = this.#timers.monotonicMs();
    const of = `region ${this.region}`;
    this.#clocks.set(address, { of, wallMs: hello.wallMs, atMs: atMs - roundTripMs / 2 });
    const asked = { node: address, calling: this.#ownRegion, atMs: atMs - roundTripMs };
    this.#stores.set(address, usesIn(hello, asked));
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
