import { Agent, request } from "node:https";
import { until } from "@holdfast/testing";

/** An answer, unchecked. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly json: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** A request that a typed client may be unable to send. */
export interface RawRequest {
  readonly method: string;
  readonly path: string;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  /** Sends the body without a media type. */
  readonly untyped?: boolean;
}

/** HTTPS from one address of this machine, with kept connections. */
export class RawHttps implements Disposable {
  readonly #agent: Agent;
  readonly #origin: string;

  constructor(origin: string, ca: string, localAddress = "127.0.0.1") {
    this.#origin = origin;
    this.#agent = new Agent({ ca, keepAlive: true, maxSockets: 8, localAddress });
  }

  ask(asked: RawRequest): Promise<RawAnswer> {
    const { method, path, token, headers = {}, body, untyped } = asked;
    return new Promise((resolve, reject) => {
      const sent = request(
        `${this.#origin}${path}`,
        {
          method,
          agent: this.#agent,
          headers: {
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
            ...(body === undefined || untyped === true
              ? {}
              : { "content-type": "application/json" }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(chunks).toString("utf8");
            const { statusCode: status = 0 } = response;
            resolve({ status, headers: response.headers, text, json: parsed(text) });
          });
        },
      );
      sent.on("error", (error: Error & { readonly code?: unknown }) => {
        // The server may have closed a kept connection just before.
        if (!sent.reusedSocket || error.code !== "ECONNRESET") reject(error);
        else resolve(this.ask(asked));
      });
      sent.end(body);
    });
  }

  /** Asks again while a busy machine keeps the node from its store. */
  async insist(asked: RawRequest): Promise<RawAnswer> {
    const all: RawAnswer[] = [];
    await until(`an answer to ${asked.method} ${asked.path}`, async () => {
      const answer = await this.ask(asked);
      all.push(answer);
      return answer.status !== 503 || answer.text;
    });
    return all.at(-1) as RawAnswer;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
