import type { X509Certificate } from "node:crypto";
import type { AddressInfo, Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Observer, PeerRefusal, Timers } from "@holdfast/engine";
import type { PeerStore } from "../../ports/ports.ts";
import { proveLink } from "../link-proof.ts";
import {
  dnsNamesOf,
  fingerprintOf,
  type IsDenied,
  issuedBy,
  nodeOf,
  onDenyList,
  type PeerIdentity,
  type PeerTls,
  peerName,
  readPeerTls,
  regionOf,
  sizeFor,
} from "../peer-tls.ts";
import type { RegionKeys } from "../region-keys.ts";
import { type ServerLimits, serverLimits } from "../server-limits.ts";
import { plain } from "../status.ts";
import { HandshakeLimiter } from "./handshake-limiter.ts";
import { RegionService } from "./region-service.ts";

const sweepMs = 500;

export interface PeerServerOptions {
  /** The region that listens. */
  readonly region: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly tls: PeerTls;
  /** Regions whose nodes may connect. */
  readonly peers: readonly string[];
  /** What answers a region's nodes; called once per region. */
  readonly store: (region: string) => PeerStore;
  readonly timers: Timers;
  readonly observe: Observer;
  readonly isDenied?: IsDenied;
  readonly limits?: Partial<ServerLimits>;
}

/** A node of another region that is connected, or was. */
export interface ConnectedNode {
  readonly region: string;
  readonly node: string;
  /** SHA-256 of its certificate, lower-case hex. */
  readonly fingerprint: string;
  /** Milliseconds since the epoch. */
  readonly endsMs: number;
}

/** Why a connection is refused: in words, and as one of the kinds that are counted. */
interface Refused {
  readonly reason: string;
  readonly kind: PeerRefusal;
}

interface Connection {
  readonly socket: TLSSocket;
  readonly region: string;
  readonly node: string;
  readonly certificate: X509Certificate;
  /** The name of the region key that was proven. */
  readonly key: string;
  /** When the certificate ends, milliseconds since the epoch. */
  readonly endsMs: number;
}

/**
 * Answers the nodes of other regions: gRPC over mutual TLS, each region's name pinned and its key proven. Every other
 * connection is refused and named in a `peerRefused` event.
 */
export class PeerServer implements AsyncDisposable {
  readonly #options: PeerServerOptions;
  readonly #limits: ServerLimits;
  readonly #services: ReadonlyMap<string, RegionService>;
  readonly #server: Server;
  readonly #handshakes: HandshakeLimiter;
  readonly #connections = new Set<Connection>();
  readonly #closing = new AbortController();
  #identity: PeerIdentity;

  private constructor(options: PeerServerOptions) {
    const { timers, observe } = options;
    this.#options = options;
    this.#limits = { ...serverLimits, ...options.limits };
    this.#identity = readPeerTls(options.tls);
    const unexpected = (cause: unknown) =>
      observe({ type: "warning", message: "another region's request failed", cause });
    this.#services = new Map(
      options.peers.map((region) => [
        region,
        new RegionService({
          store: options.store(region),
          asking: region,
          keys: () => this.#identity.keys,
          limits: this.#limits,
          timers,
          unexpected,
        }),
      ]),
    );
    this.#handshakes = new HandshakeLimiter(this.#limits, (address, reason, kind) =>
      this.#refused(address, { reason, kind }),
    );
    this.#server = createServer({
      ...this.#identity.contextOptions,
      ALPNProtocols: ["h2"],
      requestCert: true,
      // Checked here instead, so that the event can name the client that is refused.
      rejectUnauthorized: false,
      handshakeTimeout: this.#limits.handshakeMs,
    });
    this.#listenTo(this.#server);
    void this.#sweep();
  }

  /** Resolves when it listens; rejects where it cannot, or with one line that says which certificate is wrong. */
  static async open(options: PeerServerOptions): Promise<PeerServer> {
    const server = new PeerServer(options);
    try {
      await server.#listen();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** Where it listens. */
  get address(): AddressInfo {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("it does not listen");
    return address;
  }

  /** The keys of both regions. */
  get keys(): RegionKeys {
    return this.#identity.keys;
  }

  /** When the first of its certificates expires, milliseconds since the epoch. */
  get notAfterMs(): number {
    return this.#identity.notAfterMs;
  }

  /** Connections of a region's nodes. */
  connections(region: string): number {
    return [...this.#connections].filter((connection) => connection.region === region).length;
  }

  /** The nodes of other regions that are connected, one entry for each certificate. */
  nodes(): readonly ConnectedNode[] {
    const found = [...this.#connections].map(({ region, node, certificate, endsMs }) => {
      return { region, node, fingerprint: fingerprintOf(certificate), endsMs };
    });
    return [...new Map(found.map((one) => [one.fingerprint, one])).values()];
  }

  /**
   * Uses other certificates and keys; closes connections of those that are no longer trusted. Throws a
   * one-line error and keeps the old ones where these are wrong.
   */
  setTls(tls: PeerTls): void {
    const identity = readPeerTls(tls);
    this.#server.setSecureContext(identity.contextOptions);
    this.#identity = identity;
    for (const one of [...this.#connections]) {
      if (!issuedBy(one.certificate, identity.authorities)) {
        this.#end(one, "its authority is no longer trusted");
      } else if (!identity.keys.knows(Buffer.from(one.key, "hex"))) {
        this.#end(one, "its region key is no longer in peer.keys");
      }
    }
  }

  /** The deny list has changed: closes the connections of certificates that are on it now. */
  recheck(): void {
    for (const one of [...this.#connections]) {
      if (this.#isDenied(one.certificate)) this.#end(one, onDenyList);
    }
  }

  /**
   * Accepts no new connections, gives calls in flight `graceMs` to end, then closes every
   * connection.
   */
  async close(graceMs = 0): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const services = [...this.#services.values()];
    if (graceMs > 0) {
      const over = new AbortController();
      const waited = this.#options.timers.sleep(graceMs, over.signal).catch(() => undefined);
      await Promise.race([Promise.all(services.map((service) => service.drain())), waited]);
      over.abort();
    }
    for (const service of services) service.close();
    this.#handshakes.close();
    for (const { socket } of this.#connections) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.listen, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (cause) =>
          this.#options.observe({ type: "warning", message: "the peer listener failed", cause }),
        );
        resolve();
      });
    });
  }

  #listenTo(server: Server): void {
    server.on("connection", (socket: Socket) => {
      this.#handshakes.enter(socket, this.#options.timers.monotonicMs());
      socket.setNoDelay(true);
    });
    server.on("tlsClientError", (error, socket) => {
      // Node leaves it open.
      socket.destroy();
      const address = this.#handshakes.arrival(socket)?.address;
      if (this.#handshakes.leave(socket)) this.#refused(address, handshakeFault(error));
    });
    server.on("secureConnection", (socket) => this.#welcome(socket));
  }

  #welcome(socket: TLSSocket): void {
    // A connection that is cut emits an error, which would be thrown without a listener.
    socket.on("error", () => undefined);
    const arrival = this.#handshakes.arrival(socket);
    if (arrival === undefined || arrival.cut) return void socket.destroy();
    const certificate = socket.getPeerX509Certificate();
    const found = this.#nodeOf(socket, certificate);
    if ("reason" in found) return void this.#refuse(socket, found);
    void this.#admit(socket, found);
  }

  /** It stays a stranger, with a stranger's limits, until it has proven its region's key. */
  async #admit(socket: TLSSocket, node: Omit<Connection, "socket" | "key">): Promise<void> {
    const { region, certificate } = node;
    const side = { role: "server", own: this.#options.region, other: region } as const;
    const { keys } = this.#identity;
    const checked = await proveLink(socket, { ...side, certificate, keys });
    // It was cut, and this is reported.
    if (this.#handshakes.arrival(socket)?.cut !== false) return void socket.destroy();
    if ("fault" in checked) {
      const reason = `${checked.fault}: ${subject(certificate)}`;
      const kind = checked.cut ? "unfinished" : "unproven";
      return this.#refuse(socket, { reason, kind });
    }
    // Something may have changed meanwhile.
    const again = this.#nodeOf(socket, certificate);
    if ("reason" in again) return this.#refuse(socket, again);
    const { key } = checked;
    if (!this.#identity.keys.knows(Buffer.from(key, "hex"))) {
      return this.#refuse(socket, stranger("its region key is no longer in peer.keys"));
    }
    if (!this.#handshakes.leave(socket)) return void socket.destroy();
    const connection = { ...node, socket, key };
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
    this.#services.get(region)?.accept(socket, sizeFor(Reflect.get(socket, "servername")));
  }

  /** Which node has connected, by its certificate; or why it is refused. */
  #nodeOf(
    socket: TLSSocket,
    certificate: X509Certificate | undefined,
  ): Omit<Connection, "socket" | "key"> | Refused {
    if (this.#closing.signal.aborted) return { reason: "this node is ending", kind: "unfinished" };
    if (certificate === undefined) return stranger("no certificate");
    if (!socket.authorized || socket.isSessionReused()) {
      return stranger(
        `its certificate is not of the peers' authority (${String(socket.authorizationError ?? "a resumed session")}): ${subject(certificate)}`,
      );
    }
    const { peers } = this.#options;
    const region = regionOf(certificate, peers);
    if (region === undefined) {
      return stranger(
        `its certificate does not name ${peers.map(peerName).join(" or ")}: ${subject(certificate)}`,
      );
    }
    const node = nodeOf(dnsNamesOf(certificate.subjectAltName), region);
    if (node === undefined) {
      return stranger(
        `its certificate does not name one node, as NODE.${peerName(region)}: ${subject(certificate)}`,
      );
    }
    if (this.#isDenied(certificate)) {
      return stranger(`${onDenyList} (node ${node}): ${subject(certificate)}`);
    }
    if (socket.alpnProtocol !== "h2") return stranger("it does not speak HTTP/2");
    if (this.connections(region) >= this.#limits.connections)
      return { reason: "too many connections of this region", kind: "flood" };
    return { region, node, certificate, endsMs: Date.parse(certificate.validTo) };
  }

  #refuse(socket: TLSSocket, refused: Refused): void {
    const address = this.#handshakes.arrival(socket)?.address ?? socket.remoteAddress;
    this.#handshakes.leave(socket);
    this.#refused(address, refused);
    socket.destroy();
  }

  #isDenied(certificate: X509Certificate): boolean {
    return this.#options.isDenied?.(fingerprintOf(certificate)) === true;
  }

  #refused(address: string | undefined, refused: Refused): void {
    this.#options.observe({ type: "peerRefused", address: address ?? "unknown", ...refused });
  }

  /** Closes a connection whose certificate would be refused now. */
  #end({ socket, certificate, node }: Connection, why: string): void {
    const reason = `${why} (node ${node}): ${subject(certificate)}`;
    this.#refused(socket.remoteAddress, stranger(reason));
    socket.destroy();
  }

  async #sweep(): Promise<void> {
    const { timers } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await timers.sleep(sweepMs, signal).catch(() => undefined);
      this.#handshakes.sweep(timers.monotonicMs());
      const now = timers.wallMs();
      for (const one of [...this.#connections]) {
        if (one.endsMs < now) this.#end(one, "its certificate has ended");
      }
    }
  }
}

function subject(certificate: X509Certificate): string {
  return plain(certificate.subject.replaceAll("\n", ", ")).slice(0, 200);
}

function stranger(reason: string): Refused {
  return { reason, kind: "stranger" };
}

function handshakeFault(error: Error & { code?: string }): Refused {
  const { code } = error;
  if (code === "ERR_TLS_HANDSHAKE_TIMEOUT") {
    return { reason: "the TLS handshake took too long", kind: "unfinished" };
  }
  if (code === "ECONNRESET") {
    return { reason: "it closed the connection during the TLS handshake", kind: "unfinished" };
  }
  const reason = `the TLS handshake failed (${plain(code ?? error.message)})`;
  // A system code, such as EPIPE, is about the connection; OpenSSL's are about what the caller
  // sent.
  return code?.startsWith("ERR_") === false ? { reason, kind: "unfinished" } : stranger(reason);
}
