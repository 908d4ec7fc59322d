import { type Clock, type Event, RootOfTrustError } from "@holdfast/engine";
import { causeOf, type HttpsClient } from "../http/https-client.ts";
import { type Outcome, type Retries, retryAfterMs } from "../http/retry.ts";
import { isRecord, parseJson, textOf } from "./json.ts";

type RootCall = Extract<Event, { readonly type: "rootCall" }>;
type TokenCall = Omit<RootCall, "type" | "root">;

/** Dependencies for fetching tokens. */
export interface IamOptions {
  readonly client: HttpsClient;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly apiKey: () => Promise<string>;
  readonly observe: (call: TokenCall) => void;
  /** Aborts every request. */
  readonly closed: AbortSignal;
}

interface Token {
  readonly text: string;
  /** When to fetch a new one, and when this one expires; monotonic. */
  readonly renewMs: number;
  readonly endMs: number;
}

const earlyMs = 60_000;
/** How long to remember a refusal, so that a service ID without access does not flood IAM. */
const refusalMs = 1000;
/** Minimum time between two replacements of a refused token. */
const replaceMs = 5000;
const grantType = "urn:ibm:params:oauth:grant-type:apikey";

/** IAM tokens of one service ID: cached, renewed early, fetched once for concurrent callers. */
export class IamTokens {
  readonly #options: IamOptions;
  #token: Token | undefined;
  #fetching: Promise<Token> | undefined;
  #replacedMs: number | undefined;
  #refused: { readonly error: RootOfTrustError; readonly untilMs: number } | undefined;

  constructor(options: IamOptions) {
    this.#options = options;
  }

  /** A valid token. A failed renewal does not invalidate a token that is still valid. */
  async token(): Promise<string> {
    const nowMs = this.#options.clock.monotonicMs();
    const token = this.#token;
    if (token === undefined || nowMs >= token.endMs) return (await this.#fetchOnce()).text;
    if (nowMs >= token.renewMs) this.#fetchOnce().catch(() => undefined);
    return token.text;
  }

  /**
   * To call when the key manager refused a token. Returns whether a new token may help. If the refused token is itself
   * a recent replacement, it does not: access is missing, and more requests would only flood IAM.
   */
  reject(text: string): boolean {
    if (this.#token?.text !== text) return true;
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#replacedMs !== undefined && nowMs - this.#replacedMs < replaceMs) return false;
    this.#replacedMs = nowMs;
    this.#token = undefined;
    return true;
  }

  forget(): void {
    this.#token = undefined;
  }

  #fetchOnce(): Promise<Token> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#refused !== undefined && nowMs < this.#refused.untilMs) {
      return Promise.reject(this.#refused.error);
    }
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<Token> {
    const { retries, clock, closed } = this.#options;
    this.#refused = undefined;
    try {
      const form = await this.#form();
      const token = await retries.run(
        (signal, number) => this.#attempt(form, signal, number),
        closed,
      );
      if (!closed.aborted) this.#token = token;
      return token;
    } catch (error) {
      if (error instanceof RootOfTrustError && error.failure === "denied") {
        this.#token = undefined;
        this.#refused = { error, untilMs: clock.monotonicMs() + refusalMs };
      }
      throw error;
    }
  }

  async #form(): Promise<string> {
    const apikey = await this.#options.apiKey().catch((cause: unknown) => {
      throw new RootOfTrustError("unavailable", "the service ID's API key cannot be read", {
        cause,
      });
    });
    return new URLSearchParams({ grant_type: grantType, apikey: apikey.trim() }).toString();
  }

  async #attempt(form: string, signal: AbortSignal, attempt: number): Promise<Outcome<Token>> {
    const { client, clock, observe } = this.#options;
    const startMs = clock.monotonicMs();
    const said = { action: "token", attempt };
    try {
      const answer = await client.call(
        {
          method: "POST",
          path: "/identity/token",
          headers: {
            accept: "application/json",
            "content-type": "application/x-www-form-urlencoded",
          },
          body: form,
        },
        signal,
      );
      const durationMs = clock.monotonicMs() - startMs;
      const content = parseJson(answer.body);
      const code = textOf(content, "errorCode")?.slice(0, 80);
      const correlationId = requestIdOf(content);
      observe({ ...said, status: answer.status, correlationId, durationMs, ...(code && { code }) });
      if (answer.status === 200) return readToken(content, startMs);
      const afterMs = retryAfterMs(answer.header("retry-after"), clock.wallMs());
      return refusal(answer.status, code, correlationId, afterMs);
    } catch (cause) {
      if (cause instanceof RootOfTrustError) throw cause;
      const [code, durationMs] = [causeOf(cause), clock.monotonicMs() - startMs];
      observe({ ...said, status: 0, code, correlationId: "", durationMs });
      const message = `IAM cannot be reached (${code})`;
      return { again: new RootOfTrustError("unavailable", message, { cause }) };
    }
  }
}

/** Counts the lifetime from before the request, so that a token is never assumed to live longer than it does. */
function readToken(content: unknown, startMs: number): Outcome<Token> {
  const text = textOf(content, "access_token");
  const seconds = isRecord(content) ? content["expires_in"] : undefined;
  if (text === undefined || !/^[\x21-\x7e]+$/.test(text) || typeof seconds !== "number") {
    return { again: new RootOfTrustError("unavailable", "IAM's answer has no token") };
  }
  const lifeMs = Math.max(0, seconds * 1000);
  const endMs = startMs + lifeMs;
  return { done: { text, endMs, renewMs: endMs - Math.min(earlyMs, lifeMs / 2) } };
}

/** A permanent refusal concerns the API key: IAM answers 400 if it does not know the key. */
function refusal(
  status: number,
  code: string | undefined,
  requestId: string,
  afterMs: number | undefined,
): Outcome<never> {
  const said = [status, code, requestId && `request ${requestId}`].filter(Boolean).join(" ");
  const passing = status === 429 || status === 408 || status >= 500 || status < 400;
  if (passing) {
    return { again: new RootOfTrustError("unavailable", `IAM issues no token (${said})`), afterMs };
  }
  // Another server in IAM's place, such as a proxy, does not speak for IAM.
  if (code === undefined && status !== 401 && status !== 403) {
    return {
      again: new RootOfTrustError("unavailable", `something else answers for IAM (${said})`),
    };
  }
  throw new RootOfTrustError("denied", `IAM does not accept the service ID's API key (${said})`);
}

function requestIdOf(content: unknown): string {
  const context = isRecord(content) ? content["context"] : undefined;
  return textOf(context, "requestId")?.slice(0, 80) ?? "";
}
