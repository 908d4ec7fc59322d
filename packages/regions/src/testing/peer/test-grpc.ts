import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type Server,
  type TLSSocket,
} from "node:tls";
import { proveLink } from "../../peer/link-proof.ts";
import { type MessageSize, type PeerTls, readPeerTls, serverName } from "../../peer/peer-tls.ts";

const contentType = "application/grpc";

/** A message as gRPC frames it: not compressed, its length, its bytes. */
export function framed(message: Uint8Array): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** The messages of a body. */
export function messagesOf(body: Buffer): readonly Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    messages.push(body.subarray(at + 5, end));
    at = end;
  }
  return messages;
}

/** The result of a raw call. */
export interface RawReply {
  readonly status: string;
  readonly message: string;
  readonly headers: IncomingHttpHeaders;
  readonly messages: readonly Buffer[];
}

/** A connection of region a to a node of region b that has proven the region key. */
export async function provenSocket(
  port: number,
  tls: PeerTls,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const { keys } = readPeerTls(tls);
  const socket = connectTls({
    ...{ host: "127.0.0.1", port, ca: tls.ca, cert: tls.certificate, key: tls.key },
    servername: "b.peer.holdfast",
    ALPNProtocols: ["h2"],
    checkServerIdentity: () => undefined,
    ...options,
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  const certificate = socket.getPeerX509Certificate();
  await proveLink(socket, { role: "client", own: "a", other: "b", certificate, keys });
  return socket;
}

/** gRPC by hand, so that anything can be sent; of region a. */
export class RawClient implements Disposable {
  readonly session: ClientHttp2Session;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
    this.session.on("error", () => undefined);
  }

  /** Connects to a node of region b, and proves the region key. */
  static async open(
    address: string,
    tls: PeerTls,
    size: MessageSize = "small",
  ): Promise<RawClient> {
    const port = Number(address.split(":")[1]);
    const socket = await provenSocket(port, tls, { servername: serverName("b", size) });
    return new RawClient(connect(`https://${address}`, { createConnection: () => socket }));
  }

  /** Begins a call of `/holdfast.peer.v1.Peer/METHOD`; its end by the server is no error. */
  stream(method: string, headers: Record<string, string> = {}): ClientHttp2Stream {
    const stream = this.session.request({
      ":method": "POST",
      ":path": `/holdfast.peer.v1.Peer/${method}`,
      "content-type": contentType,
      te: "trailers",
      ...headers,
    });
    stream.on("error", () => undefined);
    return stream;
  }

  /** Sends a body to `/holdfast.peer.v1.Peer/METHOD`. */
  call(method: string, body: Buffer, headers: Record<string, string> = {}): Promise<RawReply> {
    return new Promise((resolve, reject) => {
      const stream = this.stream(method, headers);
      let first: IncomingHttpHeaders = {};
      let last: IncomingHttpHeaders | undefined;
      const chunks: Buffer[] = [];
      stream.on("response", (got) => {
        first = got;
      });
      stream.on("trailers", (got) => {
        last = got;
      });
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("close", () => {
        const status = last ?? first;
        resolve({
          status: String(status["grpc-status"]),
          message: decodeURIComponent(String(status["grpc-message"] ?? "")),
          headers: status,
          messages: messagesOf(Buffer.concat(chunks)),
        });
      });
      stream.end(body);
    });
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

/** Answers a method's request; undefined for one that it does not have. */
export type RawAnswer = (method: string, request: Buffer) => Uint8Array | undefined;

/**
 * A server of another release, of region b: answers message by message, and UNIMPLEMENTED where it has no answer.
 */
export class RawServer implements AsyncDisposable {
  readonly #server: Server;

  constructor(tls: PeerTls, answer: RawAnswer) {
    const { keys } = readPeerTls(tls);
    const inner = createServer();
    inner.on("session", (session) => session.on("error", () => undefined));
    inner.on("stream", (stream: ServerHttp2Stream, headers) => {
      const method = String(headers[":path"]).split("/").at(-1) ?? "";
      stream.on("error", () => undefined);
      serve(stream, (request) => answer(method, request));
    });
    this.#server = createTlsServer({
      ...{ ca: tls.ca, cert: tls.certificate, key: tls.key, ALPNProtocols: ["h2"] },
      requestCert: true,
      rejectUnauthorized: true,
    });
    this.#server.on("secureConnection", (socket) => {
      socket.on("error", () => undefined);
      const certificate = socket.getPeerX509Certificate();
      const side = { role: "server", own: "b", other: "a", certificate, keys } as const;
      void proveLink(socket, side).then(() => inner.emit("connection", socket));
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
  }
}

function serve(
  stream: ServerHttp2Stream,
  answer: (request: Buffer) => Uint8Array | undefined,
): void {
  let left = Buffer.alloc(0);
  let code = "0";
  const start = () => {
    if (stream.headersSent) return;
    stream.respond({ ":status": 200, "content-type": contentType }, { waitForTrailers: true });
  };
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": code }));
  stream.on("data", (chunk: Buffer) => {
    left = Buffer.concat([left, chunk]);
    while (left.length >= 5 && left.length >= 5 + left.readUInt32BE(1)) {
      const end = 5 + left.readUInt32BE(1);
      const reply = answer(left.subarray(5, end));
      left = left.subarray(end);
      start();
      if (reply === undefined) code = "12";
      else stream.write(framed(reply));
      if (reply === undefined) stream.end();
    }
  });
  stream.on("end", () => {
    start();
    stream.end();
  });
}
