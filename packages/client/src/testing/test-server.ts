import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import {
  decodeRequest,
  encodeResponse,
  type RequestItem,
  type RequestMessage,
  type ResponseItem,
} from "@holdfast/kmip";
import { createAuthority } from "@holdfast/testing/pki";
import { decode, encode, FrameReader } from "@holdfast/ttlv";
import type { TlsCredentials } from "../connection.ts";

/** Certificates of one test: a server's, with the addresses that it may have, and a client's. */
export interface TestPki {
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: TlsCredentials;
}

/** Makes a new authority, which issues a server's and a client's certificate. */
export async function testPki(addresses: readonly string[] = ["127.0.0.1"]): Promise<TestPki> {
  const validity = { notBeforeMs: Date.now() - 86_400_000, days: 2 };
  const authority = await createAuthority({ commonName: "Test CA", ...validity });
  const server = await authority.issue({ commonName: "server", hosts: addresses, ...validity });
  const client = await authority.issue({ commonName: "client", ...validity });
  return {
    server: { cert: server.certificate, key: server.key },
    client: { ca: authority.certificate, ...client },
  };
}

type Answer = readonly ResponseItem[] | Uint8Array | undefined;

/** What a test server does with a message; undefined = it does not answer. */
export type Behaviour = (request: RequestMessage, socket: TLSSocket) => Answer | Promise<Answer>;

/** A mutual TLS server on loopback that answers KMIP requests as a test defines. */
export class TestServer {
  readonly endpoint: string;
  readonly requests: RequestMessage[] = [];
  readonly sockets = new Set<TLSSocket>();
  connections = 0;
  behaviour: Behaviour;
  readonly #close: () => Promise<void>;

  private constructor(port: number, behaviour: Behaviour, close: () => Promise<void>) {
    this.endpoint = `127.0.0.1:${port}`;
    this.behaviour = behaviour;
    this.#close = close;
  }

  static async start(pki: TestPki, behaviour: Behaviour, port = 0): Promise<TestServer> {
    const server = createServer({
      ...pki.server,
      ca: [pki.client.ca].flat(),
      requestCert: true,
      rejectUnauthorized: true,
    });
    server.on("tlsClientError", (_error, socket) => socket.destroy());
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    const made = new TestServer((server.address() as AddressInfo).port, behaviour, async () => {
      for (const socket of made.sockets) socket.destroy();
      server.close();
      await once(server, "close");
    });
    server.on("secureConnection", (socket) => made.#serve(socket));
    return made;
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #serve(socket: TLSSocket): void {
    this.connections += 1;
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
    const reader = new FrameReader({ frameBytesMax: 1 << 20 });
    socket.on("data", (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) void this.#answer(frame, socket);
    });
  }

  async #answer(frame: Uint8Array, socket: TLSSocket): Promise<void> {
    const request = decodeRequest(decode(frame));
    this.requests.push(request);
    const answer = await this.behaviour(request, socket);
    if (answer instanceof Uint8Array) socket.write(answer);
    else if (answer !== undefined) {
      const { version } = request;
      socket.write(encode(encodeResponse({ version, timeStamp: 0, items: answer })));
    }
  }
}

/** Success for every item, with the result of `payload`. */
export function succeed(payload: (item: RequestItem) => unknown): Behaviour {
  return ({ items }) =>
    items.map((item) => ({
      ...(item.operation === undefined ? {} : { operation: item.operation }),
      ...(item.uniqueBatchItemId === undefined
        ? {}
        : { uniqueBatchItemId: item.uniqueBatchItemId }),
      status: "Success",
      payload: payload(item),
    }));
}
