import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttps, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createServer as createTls, type TLSSocket, type Server as TlsServer } from "node:tls";
import { type AuditEvent, encodeAudit } from "@holdfast/engine";
import type { ChainedEntry } from "@holdfast/regions";
import type { CadfSettings } from "../audit/cadf.ts";

/** Certificate and key of a receiver, PEM. */
export interface ReceiverIdentity {
  readonly cert: string;
  readonly key: string;
}

/** How events are rendered in tests of sinks. */
export const cadf: CadfSettings = { region: "a", account: "acme", names: "current" };

/** Entries as the leader gives them to sinks. */
export function entriesOf(count: number, more: Partial<AuditEvent> = {}): readonly ChainedEntry[] {
  return Array.from({ length: count }, (_, at): ChainedEntry => {
    const event: AuditEvent = {
      time: 1_795_000_000_000 + at,
      action: "kmip-key.read",
      outcome: "success",
      initiator: "ab".repeat(32),
      requestId: randomUUID(),
      target: `t${at}`,
      ...more,
    };
    const [bytes = Buffer.alloc(0)] = encodeAudit(randomUUID(), [event]);
    return { storeId: "store", partition: 3, number: at + 1, bytes, hash: Buffer.alloc(32, at) };
  });
}

/** A syslog receiver that accepts only frames as defined in RFC 5425, 4.3. */
export class SyslogReceiver implements AsyncDisposable {
  readonly messages: string[] = [];
  readonly #server: TlsServer;
  readonly #sockets = new Set<TLSSocket>();
  connections = 0;
  /** Whether it reads nothing. */
  deaf = false;

  private constructor(identity: ReceiverIdentity, ca: string | undefined) {
    const client = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true };
    this.#server = createTls({ ...identity, ...client }, (socket) => this.#serve(socket));
  }

  static async open(identity: ReceiverIdentity, ca?: string): Promise<SyslogReceiver> {
    const receiver = new SyslogReceiver(identity, ca);
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Closes every connection. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.cut();
  }

  #serve(socket: TLSSocket): void {
    this.connections += 1;
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
    if (this.deaf) return;
    let waiting = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      waiting = Buffer.concat([waiting, chunk]);
      for (;;) {
        const [head = "", digits = ""] = /^(\d+) /.exec(waiting.toString("latin1", 0, 12)) ?? [];
        const end = head.length + Number(digits);
        if (head === "" || waiting.length < end) return;
        this.messages.push(waiting.toString("utf8", head.length, end));
        waiting = waiting.subarray(end);
      }
    });
  }
}

/** A request that a webhook received. */
export interface Post {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly events: readonly { readonly id: string; readonly target: { readonly name: string } }[];
}

/** A webhook's receiver over HTTPS. */
export class WebhookReceiver implements AsyncDisposable {
  readonly posts: Post[] = [];
  /** Responses to the next requests; 200 if there are none. */
  readonly answers: (number | "silent" | "cut")[] = [];
  readonly retryAfter: string | undefined;
  readonly #server: HttpsServer;

  private constructor(identity: ReceiverIdentity, retryAfter: string | undefined) {
    this.retryAfter = retryAfter;
    this.#server = createHttps(identity, (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("error", () => undefined);
      request.on("end", () => {
        const answer = this.answers.shift() ?? 200;
        const events = JSON.parse(Buffer.concat(chunks).toString("utf8"));
        this.posts.push({ headers: request.headers, events });
        if (answer === "silent") return;
        if (answer === "cut") {
          request.socket.destroy();
          return;
        }
        const headers = this.retryAfter === undefined ? {} : { "retry-after": this.retryAfter };
        const location = answer === 307 ? { location: "https://elsewhere.invalid/" } : {};
        response.writeHead(answer, { ...headers, ...location }).end("x".repeat(100_000));
      });
    });
  }

  static async open(identity: ReceiverIdentity, retryAfter?: string): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver(identity, retryAfter);
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}/events?token=in-the-query`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
