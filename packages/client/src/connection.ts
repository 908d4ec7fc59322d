import { isIP } from "node:net";
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { FrameReader } from "@holdfast/ttlv";
import { type Endpoint, printEndpoint } from "./endpoint.ts";
import {
  ConnectionError,
  type ConnectionFailure,
  failureReason,
  isCertificateRefused,
} from "./errors.ts";

/** Who the client is and whom it trusts, in PEM. */
export interface TlsCredentials {
  /** Authorities that may issue the server's certificate. */
  readonly ca: string | readonly string[];
  readonly certificate: string;
  readonly key: string;
  readonly passphrase?: string;
  /** The name that the server's certificate must have, if it is not the endpoint's host. */
  readonly serverName?: string;
}

export interface ConnectionOptions {
  readonly tls: TlsCredentials;
  /** How long TCP and the TLS handshake may take together. */
  readonly connectTimeoutMs: number;
  /** The largest response in bytes, including its header. */
  readonly responseBytesMax: number;
}

interface Waiting {
  readonly resolve: (response: Uint8Array) => void;
  readonly reject: (error: ConnectionError) => void;
}

/** One mutual TLS connection to a KMIP server; answers come in the order of the requests. */
export class Connection {
  readonly endpoint: Endpoint;
  /** Resolves when the connection has ended, for any reason. */
  readonly closed: Promise<void>;
  readonly #socket: TLSSocket;
  readonly #reader: FrameReader;
  readonly #waiting: Waiting[] = [];
  #secured = false;
  #answered = false;
  #failure: ConnectionError | undefined;

  private constructor(endpoint: Endpoint, socket: TLSSocket, options: ConnectionOptions) {
    this.endpoint = endpoint;
    this.#socket = socket;
    this.#reader = new FrameReader({ frameBytesMax: options.responseBytesMax });
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => this.#fail(failureReason(error), error));
    socket.on("end", () => this.#ended());
    socket.on("close", () => this.#ended());
  }

  /** Connects and verifies the server; rejects with a `ConnectionError`. */
  static async open(endpoint: Endpoint, options: ConnectionOptions): Promise<Connection> {
    const { tls, connectTimeoutMs } = options;
    const socket = connect({ ...endpoint, ...secureOptions(endpoint, tls) });
    const connection = new Connection(endpoint, socket, options);
    const timer = setTimeout(
      () => connection.#fail(`no connection within ${connectTimeoutMs} ms`),
      connectTimeoutMs,
    );
    const secured = new Promise<boolean>((resolve) => {
      socket.once("secureConnect", () => resolve(true));
      socket.once("close", () => resolve(false));
    });
    connection.#secured = await secured;
    clearTimeout(timer);
    if (connection.#failure === undefined) return connection;
    const { message, cause, refused } = connection.#failure;
    throw new ConnectionError("unreachable", message, cause, refused);
  }

  /** Whether another request can be sent. */
  get usable(): boolean {
    return this.#failure === undefined;
  }

  /** The number of requests that wait for an answer. */
  get inFlight(): number {
    return this.#waiting.length;
  }

  /** Sends one message and resolves with the answer. Closes the connection if that is too late. */
  exchange(message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    if (this.#failure !== undefined) {
      const { message: why, refused } = this.#failure;
      return Promise.reject(new ConnectionError("closed", why, undefined, refused));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#fail(`no answer within ${timeoutMs} ms`, undefined, "timeout"),
        timeoutMs,
      );
      this.#waiting.push({
        resolve: (response) => {
          clearTimeout(timer);
          resolve(response);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#socket.write(message);
    });
  }

  /** Ends the connection; requests in flight get no answer. */
  async close(): Promise<void> {
    this.#fail("closed by this client");
    await this.closed;
  }

  #read(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#answer(frame);
      if (this.#reader.failure !== undefined) throw this.#reader.failure;
    } catch (error) {
      this.#fail(`the answer is not KMIP: ${failureReason(error)}`, error);
    }
  }

  #answer(frame: Uint8Array): void {
    const waiting = this.#waiting.shift();
    this.#answered = true;
    if (waiting === undefined) this.#fail("the server sent an answer that nobody asked for");
    else waiting.resolve(frame);
  }

  #ended(): void {
    if (!this.#secured) this.#fail("the server closed the connection during the TLS handshake");
    else if (this.#answered) this.#fail("the server closed the connection");
    else {
      const reason =
        "the server closed the connection before any answer, as it does when it does not know the client certificate (`holdfast refused list` says why), or when a request is larger than kmip.requestBytesMax";
      this.#fail(reason, undefined, "lost", true);
    }
  }

  #fail(
    reason: string,
    cause?: unknown,
    failure: ConnectionFailure = "lost",
    refused = isCertificateRefused(cause),
  ): void {
    if (this.#failure !== undefined) return;
    const message = `${printEndpoint(this.endpoint)}: ${reason}`;
    this.#failure = new ConnectionError(failure, message, cause, refused);
    if (this.#secured && this.#waiting.length === 0 && cause === undefined) this.#end();
    else this.#socket.destroy();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure);
  }

  /** Ends the connection cleanly, and waits a short time for the server to end its side too. */
  #end(): void {
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), lingerMs);
    this.#socket.once("close", () => clearTimeout(timer));
  }
}

/** How long the server may take to end its side. */
const lingerMs = 500;

function secureOptions(endpoint: Endpoint, tls: TlsCredentials) {
  const name = tls.serverName ?? endpoint.host;
  return {
    ca: typeof tls.ca === "string" ? tls.ca : [...tls.ca],
    cert: tls.certificate,
    key: tls.key,
    minVersion: "TLSv1.2" as const,
    ...(tls.passphrase === undefined ? {} : { passphrase: tls.passphrase }),
    checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
      checkServerIdentity(name, certificate),
    // SNI carries names only (RFC 6066, 3); an address is checked nevertheless.
    ...(isIP(name) === 0 ? { servername: name } : {}),
  };
}
