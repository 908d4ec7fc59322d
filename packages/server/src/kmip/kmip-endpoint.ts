import type { TLSSocket } from "node:tls";
import type { Clock } from "@holdfast/engine";
import type { Arrival } from "@holdfast/regions";
import type { HandshakeFault } from "../access/handshake-fault.ts";
import { LastConnections } from "../access/last-connections.ts";
import type { Passwords } from "../access/passwords.ts";
import { RefusedClients } from "../access/refused-clients.ts";
import type { Admission, Trust } from "../access/trust.ts";
import { type Address, printAddress } from "../base/address.ts";
import { fingerprintOf, subjectOf } from "../base/certificates.ts";
import { listenError } from "../base/listen-error.ts";
import { Places } from "../base/places.ts";
import { type ServerIdentity, type Suites, ticketKeys } from "../base/tls.ts";
import type { NodeObserver } from "../observe/events.ts";
import { AdmittedClient, type ClientHost } from "./admitted-client.ts";
import {
  Connection,
  type ConnectionHost,
  type Execute,
  ReaderPool,
  type Refuse,
} from "./connection.ts";
import { MemoryBudget } from "./memory-budget.ts";
import { Scheduler } from "./scheduler.ts";
import { remoteOf, TlsListener } from "./tls-listener.ts";

/** Where an endpoint listens, and its limits, from the settings of `kmip`. */
interface EndpointLimits {
  readonly listen: Address;
  readonly connectionsMax: number;
  readonly handshakeTimeoutMs: number;
  readonly requestBytesMax: number;
  readonly requestDeadlineMs: number;
  readonly idleTimeoutMs: number;
  readonly pipelineMax: number;
  readonly inFlightBytesMax: number;
}

export interface EndpointOptions {
  readonly limits: EndpointLimits;
  readonly suites: Suites;
  readonly identity: ServerIdentity;
  /** From which the keys of session tickets are derived, until `setTicketSecret`. */
  readonly ticketSecret: Buffer;
  readonly trust: Trust;
  readonly passwords: Passwords;
  readonly execute: Execute;
  readonly refuse: Refuse;
  readonly clock: Clock;
  readonly requestId: () => string;
  readonly observe: NodeObserver;
}

const sweepMs = 250;

/** The longest part of an unknown user name that is logged. */
const userNameMax = 128;

/** How long a connection whose handshake ends while the node drains may take to send its request. */
const lateGraceMs = 100;
/** How long a handshake that has begun when the node drains may take. */
const handshakeGraceMs = 1000;

/**
 * KMIP over mutual TLS 1.2 and 1.3. `Trust` decides which client is admitted, for every connection, resumed ones too.
 * The listener can be shut and opened again while connections stay open.
 */
export class KmipEndpoint {
  readonly #options: EndpointOptions;
  readonly #listener: TlsListener;
  readonly #host: ConnectionHost;
  readonly #connections = new Set<Connection>();
  readonly #places: Places<Connection>;
  readonly #refused = new RefusedClients();
  readonly #lastConnections = new LastConnections();
  /** What a connection needs to check the passwords that its client sends. */
  readonly #clientHost: ClientHost;
  readonly #sweeper: NodeJS.Timeout;
  #trust: Trust;
  /** What the session tickets are bound to. */
  #trustDigest: string;
  #ticketSecret: Buffer;
  #draining = false;
  #port: number;
  #changing: Promise<void> = Promise.resolve();

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#trust = options.trust;
    this.#trustDigest = options.trust.digest;
    this.#ticketSecret = options.ticketSecret;
    this.#port = options.limits.listen.port;
    this.#host = this.#makeHost();
    this.#clientHost = {
      passwords: options.passwords,
      refused: ({ instance, fingerprint }, user) =>
        this.#tellRefused(instance.id, user, fingerprint),
    };
    const { connectionsMax, handshakeTimeoutMs } = options.limits;
    const ofOwner = Math.ceil(connectionsMax / 2);
    this.#places = new Places({ all: connectionsMax, ofOwner });
    this.#listener = new TlsListener({
      identity: options.identity,
      suites: options.suites,
      connectionsMax,
      handshakeTimeoutMs,
      ticketKeys: ticketKeys(options.ticketSecret, options.trust.digest),
      monotonicMs: options.clock.monotonicMs,
      secured: (socket, arrival) => this.#secured(socket, arrival),
      failed: (reason, remote, fault) => this.#failed(reason, remote, fault),
      dropped: () => options.observe({ type: "connectionDropped" }),
      broken: (cause) => options.observe({ type: "warning", message: "KMIP listener", cause }),
    });
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs).unref();
  }

  /** The address that clients connect to; the port is known once the listener was open. */
  get address(): string {
    return printAddress({ host: this.#options.limits.listen.host, port: this.#port });
  }

  get listening(): boolean {
    return this.#listener.listening;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get handshakeCount(): number {
    return this.#listener.strangerCount;
  }

  get heldBytes(): number {
    return this.#host.budget.usedBytes;
  }

  /** The clients that were refused last. */
  get refused(): RefusedClients {
    return this.#refused;
  }

  /** When clients connected last. */
  get lastConnections(): LastConnections {
    return this.#lastConnections;
  }

  /** Accepts connections (again). Rejects with an `OperatorError` when it cannot listen at the address. */
  open(): Promise<void> {
    this.#changing = this.#changing.catch(() => undefined).then(() => this.#listen());
    return this.#changing;
  }

  /** Refuses new connections; those that are open stay. */
  shut(): Promise<void> {
    this.#changing = this.#changing
      .catch(() => undefined)
      .then(() => {
        if (!this.#listener.listening) return;
        this.#listener.shut();
        this.#tellListener(false);
      });
    return this.#changing;
  }

  /** Offers other certificates from now on; open connections are not touched. */
  setIdentity(identity: ServerIdentity): void {
    this.#listener.setIdentity(identity, ticketKeys(this.#ticketSecret, this.#trustDigest));
  }

  /** Trusts other certificates from now on. */
  setTrust(trust: Trust): void {
    this.#trust = trust;
    this.trustChanged();
  }

  /** The trust was changed: sessions cannot be resumed, and clients that are no longer trusted are cut off. */
  trustChanged(): void {
    const trust = this.#trust;
    if (trust.digest !== this.#trustDigest) this.#setTicketKeys();
    const wallMs = this.#options.clock.wallMs();
    for (const connection of this.#connections) {
      if (trust.isCurrent(connection.admission)) continue;
      const certificate = connection.socket.getPeerX509Certificate();
      const isValid =
        certificate !== undefined && trust.recheck(connection.admission, certificate, wallMs);
      if (!isValid) connection.distrust("no longer trusted");
    }
  }

  /** Ends the connections of all clients, once what they have asked is answered. */
  cutAll(why: string): void {
    for (const connection of this.#connections) connection.finish("trustEnded", why);
  }

  /** Shuts the listener, answers what is in flight, and cuts what is left after `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    this.#draining = true;
    await this.shut();
    for (const connection of this.#connections) connection.drain();
    const { clock } = this.#options;
    const startMs = clock.monotonicMs();
    const isOver = () => {
      const tookMs = clock.monotonicMs() - startMs;
      const handshakes = this.handshakeCount > 0 && tookMs < handshakeGraceMs;
      return tookMs >= withinMs || (this.#connections.size === 0 && !handshakes);
    };
    while (!isOver()) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await this.close();
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    await this.shut();
    clearInterval(this.#sweeper);
    const open = [...this.#connections].map(({ socket }) => socket);
    const closed = open.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const connection of this.#connections) connection.destroy("draining");
    this.#listener.close();
    await Promise.all(closed);
  }

  #makeHost(): ConnectionHost {
    const { limits, clock, observe, execute, refuse, requestId } = this.#options;
    return {
      limits,
      budget: new MemoryBudget(limits.inFlightBytesMax),
      readers: new ReaderPool(limits.requestBytesMax),
      scheduler: new Scheduler(clock.monotonicMs),
      execute,
      refuse,
      requestId,
      monotonicMs: clock.monotonicMs,
      wallMs: clock.wallMs,
      answered: (sinceMs, requestBytes, responseBytes) => {
        const durationMs = clock.monotonicMs() - sinceMs;
        observe({ type: "request", durationMs, requestBytes, responseBytes });
      },
      failed: (id, cause) => observe({ type: "requestFailed", requestId: id, cause }),
      ended: (connection, ending, detail) => {
        const { instance, fingerprint } = connection.admission;
        this.#connections.delete(connection);
        this.#places.leave(instance.id, connection);
        observe({ type: "connectionEnded", ending, detail, instance: instance.id, fingerprint });
      },
    };
  }

  async #listen(): Promise<void> {
    if (this.#listener.listening) return;
    const { host } = this.#options.limits.listen;
    try {
      this.#port = await this.#listener.listen({ host, port: this.#port });
    } catch (error) {
      throw listenError("kmip.listen", this.address, error);
    }
    this.#tellListener(true);
  }

  #tellListener(open: boolean): void {
    this.#options.observe({ type: "listener", open, address: this.address });
  }

  /** Tickets under another secret are not accepted from now on. */
  setTicketSecret(secret: Buffer): void {
    this.#ticketSecret = secret;
    this.#setTicketKeys();
  }

  #setTicketKeys(): void {
    this.#trustDigest = this.#trust.digest;
    this.#listener.setTicketKeys(ticketKeys(this.#ticketSecret, this.#trustDigest));
  }

  #failed(reason: string, remote: string, fault: HandshakeFault | undefined): void {
    const { clock, observe } = this.#options;
    observe({ type: "handshakeFailed", reason, remote, ...(fault && { fault }) });
    if (fault === undefined) return;
    const nobody = { fingerprint: "", subject: "", certificate: undefined };
    this.#refused.note({ timeMs: clock.wallMs(), reason: fault, remote, ...nobody });
  }

  #secured(socket: TLSSocket, arrival: Arrival): void {
    const { clock, observe } = this.#options;
    const remote = remoteOf(arrival);
    const durationMs = clock.monotonicMs() - arrival.sinceMs;
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
      this.#lastConnections.note(verdict.authority ?? verdict.fingerprint, clock.wallMs());
      this.#admit(socket, verdict);
    }
  }

  #admit(socket: TLSSocket, admission: Admission): void {
    const client = new AdmittedClient(admission, this.#clientHost);
    const connection = new Connection(socket, admission, client, this.#host);
    this.#listener.admit(socket);
    this.#connections.add(connection);
    if (!this.#places.enter(admission.instance.id, connection)) {
      this.#options.observe({ type: "connectionDropped" });
      connection.displace();
    }
    // Its handshake began before draining did: a request that it sends at once is still answered.
    if (this.#draining) setTimeout(() => connection.drain(), lateGraceMs).unref();
  }

  /**
   * Closes cleanly: a close_notify, and everything that the client has sent is read and dropped. It still counts as
   * a stranger, and so is bounded in number and time.
   */
  #turnAway(socket: TLSSocket): void {
    socket.on("error", () => undefined);
    socket.end();
    socket.resume();
  }

  #tellRefused(instance: string, username: string, fingerprint: string): void {
    const user = username.slice(0, userNameMax);
    this.#options.observe({ type: "passwordRefused", instance, user, fingerprint });
  }

  #sweep(): void {
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    for (const connection of this.#connections) connection.sweep(nowMs, wallMs);
    this.#listener.sweep();
  }
}
