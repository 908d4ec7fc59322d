import { type ObjectStore, type Observer, StoreUnavailable } from "@holdfast/engine";
import type { Peer, PeerHello, PeerState, PushOutcome, Timers } from "../ports.ts";
import { type PeerIdentity, type PeerTls, readPeerTls } from "./peer-tls.ts";

/** Bounds of a `PeerClient`, all in milliseconds; each has a default. */
export interface PeerClientTimes {
  /** Longest that any call takes. */
  readonly callMs: number;
  /** Between two probes of a node. */
  readonly probeMs: number;
  /** Nothing heard of any node for so long: the region is down. */
  readonly downAfterMs: number;
}

/** What a `PeerClient` needs. */
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
  #identity: PeerIdentity;

  private constructor(options: PeerClientOptions) {
    this.region = options.region;
    this.#identity = readPeerTls(options.tls);
    this.remote = {
      read: notYet,
      commit: notYet,
      markServed: async () => false,
      find: notYet,
      appendAudit: notYet,
    };
  }

  /** Begins to probe at once; never waits. Throws one line where the certificates are wrong. */
  static open(options: PeerClientOptions): PeerClient {
    return new PeerClient(options);
  }

  /** When the first of its certificates ends. */
  get notAfterMs(): number {
    return this.#identity.notAfterMs;
  }

  /** What the region said last; undefined until it was met. */
  get lastHello(): LastHello | undefined {
    return undefined;
  }

  /** Takes other certificates, for new connections. Throws and keeps the old ones where these are wrong. */
  setTls(tls: PeerTls): void {
    this.#identity = readPeerTls(tls);
  }

  /** A retired region is not asked for anything but `hello`. */
  setRetired(_retired: boolean): void {}

  state(): PeerState {
    return "down";
  }

  onState(_listener: (state: PeerState, reason: string) => void): () => void {
    return () => {};
  }

  /** Calls `listener` at each answer of a probe; answers how to stop that. */
  onHello(_listener: (hello: PeerHello) => void): () => void {
    return () => {};
  }

  hello = notYet;
  push: () => Promise<readonly PushOutcome[]> = notYet;
  fetch = notYet;
  position = notYet;
  changes = notYet;
  digests = notYet;
  leaves = notYet;
  records = notYet;
  reserve = notYet;
  write = notYet;
  release = notYet;
  kek = notYet;

  async close(): Promise<void> {
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function notYet(): Promise<never> {
  throw new StoreUnavailable("peerUnreachable", "the other region cannot be asked yet");
}
