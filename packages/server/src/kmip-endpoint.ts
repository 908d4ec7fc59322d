import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { Clock } from "@holdfast/engine";
import { printAddress } from "./address.ts";
import { AdmittedClient, type ClientHost } from "./admitted-client.ts";
import { fingerprintOf, subjectOf } from "./certificates.ts";
import type { Config } from "./config-table.ts";
import { Connection, type ConnectionHost, type Execute, ReaderPool } from "./connection.ts";
import type { NodeObserver } from "./events.ts";
import { listenError } from "./listen-error.ts";
import { MemoryBudget } from "./memory-budget.ts";
import type { Passwords } from "./passwords.ts";
import { RefusedClients } from "./refused-clients.ts";
import { codeOf, reasonOf } from "./start-error.ts";
import { contextOptions, type ServerIdentity, ticketKeys } from "./tls.ts";
import type { Trust } from "./trust.ts";
import { Turns } from "./turns.ts";

/** What a KMIP endpoint needs. */
export interface EndpointOptions {
  readonly limits: Config["kmip"];
  readonly suites: Config["tls"]["suites"];
  readonly identity: ServerIdentity;
  /** 48 bytes that the nodes of a region share, or this node's own. */
  readonly ticketSecret: Buffer;
  readonly trust: Trust;
  readonly passwords: Passwords;
  readonly execute: Execute;
  readonly clock: Clock;
  readonly requestId: () => string;
  readonly observe: NodeObserver;
}

const sweepMs = 250;

/** Of a user name that is not known, no more is told. */
const userNameMax = 128;

/** How long a connection whose handshake ends while the node drains may take to send its request. */
const lateGraceMs = 100;

/**
 * KMIP over mutual TLS 1.2 and 1.3. Who may come in is decided by `Trust` for every connection, resumed ones too;
 * the listener can be shut and opened again while connections stay.
 */
export class KmipEndpoint {
  readonly #options: EndpointOptions;
  readonly #server: Server;
  readonly #host: ConnectionHost;
  readonly #connections = new Set<Connection>();
  /** Sockets told to go away, and since when. */
  readonly #leaving = new Map<TLSSocket, number>();
  /** When each handshake now under way began, by the client's address. */
  readonly #handshakes = new Map<string, number>();
  readonly #refused = new RefusedClients();
  /** What a connection needs to check the passwords that it shows. */
  readonly #clientHost: ClientHost;
  readonly #sweeper: NodeJS.Timeout;
  #trust: Trust;
  /** What the session tickets are bound to. */
  #trustDigest: string;
  #draining = false;
  #port: number;
  #changing: Promise<void> = Promise.resolve();

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#trust = options.trust;
    this.#trustDigest = options.trust.digest;
    this.#port = options.limits.listen.port;
    this.#host = this.#makeHost();
    this.#clientHost = {
      passwords: options.passwords,
      refused: ({ instance, fingerprint }, user) =>
        this.#tellRefused(instance.id, user, fingerprint),
    };
    this.#server = createServer({
      ...contextOptions(options.identity, options.suites),
      ticketKeys: ticketKeys(options.ticketSecret, options.trust.digest),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: options.limits.handshakeTimeoutMs,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    });
    this.#server.maxConnections = options.limits.connectionsMax;
    this.#server.on("connection", (socket: Socket) => this.#began(socket));
    this.#server.on("secureConnection", (socket) => this.#secured(socket));
    this.#server.on("tlsClientError", (error, socket) => this.#failed(error, socket));
    this.#server.on("drop", () => options.observe({ type: "connectionDropped" }));
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  /** The address that clients connect to; the port is known once the listener was open. */
  get address(): string {
    return printAddress({ host: this.#options.limits.listen.host, port: this.#port });
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get handshakeCount(): number {
    return this.#handshakes.size;
  }

  get heldBytes(): number {
    return this.#host.budget.usedBytes;
  }

  /** The last clients that were not let in. */
  get refused(): RefusedClients {
    return this.#refused;
  }

  /** Accepts connections (again). Rejects with a `StartError` when the address cannot be had. */
  open(): Promise<void> {
    this.#changing = this.#changing.catch(() => undefined).then(() => this.#listen());
    return this.#changing;
  }

  /** Refuses new connections; those that are open stay. */
  shut(): Promise<void> {
    this.#changing = this.#changing
      .catch(() => undefined)
      .then(() => {
        if (!this.#server.listening) return;
        this.#server.close();
        this.#tellListener(false);
      });
    return this.#changing;
  }

  /** Offers other certificates from now on; open connections are not touched. */
  setIdentity(identity: ServerIdentity): void {
    this.#server.setSecureContext(contextOptions(identity, this.#options.suites));
    this.#setTicketKeys();
  }

  /** Trusts other certificates from now on. */
  setTrust(trust: Trust): void {
    this.#trust = trust;
    this.trustChanged();
  }

  /** The trust was changed: sessions cannot be resumed, and who is no longer trusted is cut off. */
  trustChanged(): void {
    const trust = this.#trust;
    if (trust.digest !== this.#trustDigest) this.#setTicketKeys();
    const wallMs = this.#options.clock.wallMs();
    for (const connection of this.#connections) {
      if (trust.isCurrent(connection.admission)) continue;
      const certificate = connection.socket.getPeerX509Certificate();
      const stands =
        certificate !== undefined && trust.recheck(connection.admission, certificate, wallMs);
      if (!stands) connection.distrust("no longer trusted");
    }
  }

  /** Ends the connections of all clients, once what they have asked is answered. */
  cutAll(why: string): void {
    for (const connection of this.#connections) connection.finish("trustEnded", why);
  }

  /** Shuts the listener, answers what is in flight, and cuts after `withinMs` whatever is left. */
  async drain(withinMs: number): Promise<void> {
    this.#draining = true;
    await this.shut();
    for (const connection of this.#connections) connection.drain();
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + withinMs;
    while (this.#connections.size > 0 && clock.monotonicMs() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await this.close();
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    await this.shut();
    clearInterval(this.#sweeper);
    const open = [...this.#connections].map(({ socket }) => socket).concat(...this.#leaving.keys());
    const closed = open.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const connection of this.#connections) connection.destroy("draining");
    for (const socket of this.#leaving.keys()) socket.destroy();
    await Promise.all(closed);
  }

  #makeHost(): ConnectionHost {
    const { limits, clock, observe, execute, requestId } = this.#options;
    return {
      limits,
      budget: new MemoryBudget(limits.inFlightBytesMax),
      readers: new ReaderPool(limits.requestBytesMax),
      turns: new Turns(clock.monotonicMs),
      execute,
      requestId,
      monotonicMs: clock.monotonicMs,
      wallMs: clock.wallMs,
      answered: (sinceMs, requestBytes, responseBytes) => {
        const durationMs = clock.monotonicMs() - sinceMs;
        observe({ type: "request", durationMs, requestBytes, responseBytes });
      },
      failed: (id, cause) => observe({ type: "requestFailed", requestId: id, cause }),
      ended: (connection, ending, detail) => {
        this.#connections.delete(connection);
        const { instance, fingerprint } = connection.admission;
        observe({ type: "connectionEnded", ending, detail, instance: instance.id, fingerprint });
      },
    };
  }

  async #listen(): Promise<void> {
    if (this.#server.listening) return;
    const { host } = this.#options.limits.listen;
    const server = this.#server;
    try {
      server.listen({ host, port: this.#port, backlog: 1024 });
      await once(server, "listening");
    } catch (error) {
      throw listenError("kmip.listen", this.address, error);
    }
    // A failed accept (no file descriptors left) must not end the process; the backlog waits.
    if (server.listenerCount("error") === 0) {
      server.on("error", (cause) =>
        this.#options.observe({ type: "warning", message: "KMIP listener", cause }),
      );
    }
    this.#port = (server.address() as AddressInfo).port;
    this.#tellListener(true);
  }

  #tellListener(open: boolean): void {
    this.#options.observe({ type: "listener", open, address: this.address });
  }

  #setTicketKeys(): void {
    this.#trustDigest = this.#trust.digest;
    this.#server.setTicketKeys(ticketKeys(this.#options.ticketSecret, this.#trustDigest));
  }

  #began(socket: Socket): void {
    this.#handshakes.set(remoteOf(socket), this.#options.clock.monotonicMs());
  }

  #handshakeMs(remote: string): number {
    const nowMs = this.#options.clock.monotonicMs();
    const sinceMs = this.#handshakes.get(remote) ?? nowMs;
    this.#handshakes.delete(remote);
    return nowMs - sinceMs;
  }

  #failed(error: Error, socket: TLSSocket): void {
    // tls.Server leaves a socket open whose handshake failed or timed out.
    const remote = remoteOf(socket);
    socket.destroy();
    this.#handshakes.delete(remote);
    const reason = codeOf(error) ?? reasonOf(error);
    this.#options.observe({ type: "handshakeFailed", reason, remote });
  }

  #secured(socket: TLSSocket): void {
    const { clock, observe } = this.#options;
    const remote = remoteOf(socket);
    const durationMs = this.#handshakeMs(remote);
    const certificate = socket.getPeerX509Certificate();
    const verdict = this.#trust.check(certificate, clock.wallMs());
    const refused = typeof verdict === "string";
    const fingerprint = certificate === undefined ? "" : fingerprintOf(certificate);
    const subject = certificate === undefined ? "" : subjectOf(certificate);
    observe({
      type: "handshake",
      outcome: refused ? verdict : "accepted",
      durationMs,
      resumed: socket.isSessionReused(),
      protocol: socket.getProtocol() ?? "",
      remote,
      fingerprint,
      subject,
    });
    if (refused) {
      const timeMs = clock.wallMs();
      this.#refused.note({ timeMs, reason: verdict, remote, fingerprint, subject, certificate });
      this.#turnAway(socket);
    } else {
      const client = new AdmittedClient(verdict, this.#clientHost);
      const connection = new Connection(socket, verdict, client, this.#host);
      this.#connections.add(connection);
      // Its handshake had begun when draining did; what it asks at once is still answered.
      if (this.#draining) setTimeout(() => connection.drain(), lateGraceMs).unref();
    }
  }

  /** Closes cleanly: a close_notify, and whatever the client has sent is read and dropped. */
  #turnAway(socket: TLSSocket): void {
    this.#leaving.set(socket, this.#options.clock.monotonicMs());
    socket.on("error", () => undefined);
    socket.on("close", () => this.#leaving.delete(socket));
    socket.end();
    socket.resume();
  }

  #tellRefused(instance: string, username: string, fingerprint: string): void {
    const user = username.slice(0, userNameMax);
    this.#options.observe({ type: "passwordRefused", instance, user, fingerprint });
  }

  #sweep(): void {
    const { clock, limits } = this.#options;
    const nowMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    for (const connection of this.#connections) connection.sweep(nowMs, wallMs);
    for (const [socket, sinceMs] of this.#leaving) {
      if (nowMs > sinceMs + limits.handshakeTimeoutMs) socket.destroy();
    }
    for (const [remote, sinceMs] of this.#handshakes) {
      if (nowMs > sinceMs + 2 * limits.handshakeTimeoutMs) this.#handshakes.delete(remote);
    }
  }
}

function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress ?? "?"} ${socket.remotePort ?? 0}`;
}
