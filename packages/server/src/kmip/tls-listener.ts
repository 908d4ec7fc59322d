import { constants } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import { type Arrival, HandshakeLimiter } from "@holdfast/regions";
import { type ClientHello, onClientHello } from "../access/client-hello.ts";
import { type HandshakeFault, handshakeFault } from "../access/handshake-fault.ts";
import type { Address } from "../base/address.ts";
import { codeOf, reasonOf } from "../base/operator-error.ts";
import { contextOptions, hasRsa, type ServerIdentity, type Suites } from "../base/tls.ts";

/** What a `TlsListener` needs, and its callbacks. */
export interface TlsListenerOptions {
  readonly identity: ServerIdentity;
  readonly suites: Suites;
  readonly ticketKeys: Buffer;
  readonly handshakeTimeoutMs: number;
  /** How many admitted connections there may be, which are counted elsewhere. */
  readonly connectionsMax: number;
  readonly monotonicMs: () => number;
  /** A handshake has succeeded. The connection stays a stranger until `admit`. */
  readonly secured: (socket: TLSSocket, arrival: Arrival) => void;
  /** A handshake has failed, or was cut; the socket is destroyed. */
  readonly failed: (reason: string, remote: string, fault?: HandshakeFault | undefined) => void;
  readonly dropped: () => void;
  readonly broken: (cause: unknown) => void;
}

/** Connections without an admitted client, at most; fewer where few connections are allowed. */
const strangersMax = 2048;
const strangersMin = 64;
/** Connections that are being closed still count at the listener. */
const closingMax = 512;

/**
 * TCP and TLS of the KMIP port. Clients that offer TLS 1.3 get session tickets under keys that nodes share. Others get
 * none: a TLS 1.2 ticket holds the session's own secret, so a later holder of the keys could read recorded traffic.
 * In TLS 1.3 a resumed session has a key exchange of its own.
 */
export class TlsListener {
  readonly #options: TlsListenerOptions;
  readonly #listener: Server;
  readonly #resumable: TlsServer;
  readonly #older: TlsServer;
  readonly #handshakes: HandshakeLimiter;
  readonly #hellos = new WeakMap<Socket, ClientHello>();
  /** Whether a certificate with an RSA key is offered. */
  #rsa: boolean;

  constructor(options: TlsListenerOptions) {
    this.#options = options;
    const { identity, suites, connectionsMax } = options;
    this.#rsa = hasRsa(identity);
    const strangers = Math.max(strangersMin, Math.min(strangersMax, connectionsMax >> 2));
    this.#handshakes = new HandshakeLimiter(
      {
        strangers,
        strangersOfAddress: strangers >> 1,
        handshakeMs: options.handshakeTimeoutMs,
      },
      (address, reason) => options.failed(reason, address),
    );
    this.#listener = createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    });
    this.#listener.maxConnections = connectionsMax + strangers + closingMax;
    this.#listener.on("connection", (socket) => this.#began(socket));
    this.#listener.on("drop", options.dropped);
    this.#resumable = this.#createTls(resumable(identity, suites));
    this.setTicketKeys(options.ticketKeys);
    this.#older = this.#createTls(withoutTickets(identity, suites));
  }

  get listening(): boolean {
    return this.#listener.listening;
  }

  /** Connections whose client is not admitted, or not yet. */
  get strangerCount(): number {
    return this.#handshakes.size;
  }

  /** Accepts connections; resolves with the port, rejects with the system's error. */
  async listen({ host, port }: Address): Promise<number> {
    const listener = this.#listener;
    listener.listen({ host, port, backlog: 1024 });
    await once(listener, "listening");
    // A failed accept (no file descriptors left) must not end the process; the backlog waits.
    if (listener.listenerCount("error") === 0) listener.on("error", this.#options.broken);
    return (listener.address() as AddressInfo).port;
  }

  /** Refuses new connections; those that are open stay. */
  shut(): void {
    this.#listener.close();
  }

  /** Offers other certificates from now on. */
  setIdentity(identity: ServerIdentity, ticketKeys: Buffer): void {
    const { suites } = this.#options;
    this.#rsa = hasRsa(identity);
    this.#resumable.setSecureContext(resumable(identity, suites));
    this.#older.setSecureContext(withoutTickets(identity, suites));
    this.setTicketKeys(ticketKeys);
  }

  /** 48 bytes, which are zeroed; tickets made under other keys are not accepted from now on. */
  setTicketKeys(keys: Buffer): void {
    this.#resumable.setTicketKeys(keys);
    keys.fill(0);
  }

  /** The connection's client is known: it is not a stranger any more. */
  admit(socket: TLSSocket): void {
    this.#handshakes.leave(socket);
  }

  /** Cuts off handshakes that have taken too long; called several times a second. */
  sweep(): void {
    this.#handshakes.sweep(this.#options.monotonicMs());
  }

  /** Ends all strangers. */
  close(): void {
    this.#handshakes.close();
  }

  #createTls(options: object): TlsServer {
    const server = createTlsServer({
      ...options,
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: this.#options.handshakeTimeoutMs,
    });
    server.on("secureConnection", (socket) => {
      const arrival = this.#handshakes.arrival(socket);
      if (arrival === undefined || arrival.cut) socket.destroy();
      else this.#options.secured(socket, arrival);
    });
    server.on("tlsClientError", (error, socket) => this.#failed(error, socket));
    return server;
  }

  #began(socket: Socket): void {
    this.#handshakes.enter(socket, this.#options.monotonicMs());
    socket.on("error", () => undefined);
    const onEnd = () => socket.destroy();
    const onClose = () => this.#left(socket);
    socket.once("end", onEnd).once("close", onClose);
    onClientHello(socket, (hello) => {
      socket.off("end", onEnd).off("close", onClose);
      if (hello !== undefined) this.#hellos.set(socket, hello);
      const newer = (hello?.version ?? 0) >= 0x03_04;
      (newer ? this.#resumable : this.#older).emit("connection", socket);
    });
  }

  #left(socket: Socket): void {
    const arrival = this.#handshakes.arrival(socket);
    if (arrival?.cut === false) {
      this.#options.failed("closed before the TLS handshake", remoteOf(arrival));
    }
  }

  #failed(error: Error, socket: TLSSocket): void {
    // tls.Server leaves a socket open whose handshake failed or timed out.
    const arrival = this.#handshakes.arrival(socket);
    const raw: unknown = Reflect.get(socket, "_parent");
    this.#handshakes.leave(socket);
    socket.destroy();
    if (arrival === undefined || arrival.cut) return;
    const reason = codeOf(error) ?? reasonOf(error);
    const hello = this.#hellos.get(raw as Socket);
    const server = { rsa: this.#rsa, suites: this.#options.suites };
    this.#options.failed(reason, remoteOf(arrival), handshakeFault(reason, hello, server));
  }
}

/** Address and port. */
export function remoteOf({ address, port }: Arrival): string {
  return `${address} ${port}`;
}

function resumable(identity: ServerIdentity, suites: Suites) {
  return { ...contextOptions(identity, suites), minVersion: "TLSv1.3" as const };
}

/** Supports up to TLS 1.3, so that a client notices when somebody in between removed the newer version. */
function withoutTickets(identity: ServerIdentity, suites: Suites) {
  const options = contextOptions(identity, suites);
  const secureOptions = (options.secureOptions ?? 0) | constants.SSL_OP_NO_TICKET;
  return { ...options, secureOptions };
}
