import { RootOfTrustError } from "@holdfast/engine";
import { causeOf, HttpsClient } from "../http/https-client.ts";
import { type Outcome, Retries, retryAfterMs } from "../http/retry.ts";
import type { RootContext } from "../kind.ts";
import { IamTokens } from "./iam-token.ts";
import { isRecord, type JsonRecord, parseJson } from "./json.ts";
import type { KeyManagerSettings } from "./key-manager-settings.ts";
import { errorOf, isPassing, readRefusal, type Subject } from "./refusal.ts";

/** A call of the key manager's API. */
export interface ApiCall {
  /** For the log, such as `unwrap`. */
  readonly action: string;
  readonly about: Subject;
  readonly method: "GET" | "POST";
  /** After `/api/v2`. */
  readonly path: string;
  readonly body?: JsonRecord;
}

interface Attempt {
  readonly call: ApiCall;
  readonly correlationId: string;
  readonly number: number;
}

/** The key manager refused the token, and a new one may be accepted. */
const staleToken = Symbol("stale token");

/** IAM connections: one to fetch, one spare for a second try while the first still hangs. */
const iamConnections = 2;

/** Calls a key manager of IBM for one service ID: token, headers, retries, and the meaning of refusals. */
export class KeyManagerClient {
  readonly #settings: KeyManagerSettings;
  readonly #context: RootContext;
  readonly #http: HttpsClient;
  readonly #iamHttp: HttpsClient;
  readonly #retries: Retries;
  readonly #tokens: IamTokens;
  readonly #closed = new AbortController();

  constructor(settings: KeyManagerSettings, context: RootContext) {
    const { url, iamUrl, ca, inFlightMax, times, kind, apiKey } = settings;
    const { clock, ids } = context;
    const { attemptMs } = times;
    const trust = ca === undefined ? {} : { ca };
    this.#settings = settings;
    this.#context = context;
    this.#http = new HttpsClient({ url, connections: inFlightMax, attemptMs, ...trust });
    this.#iamHttp = new HttpsClient({
      url: iamUrl,
      connections: iamConnections,
      attemptMs,
      ...trust,
    });
    this.#retries = new Retries(clock, ids, times);
    this.#tokens = new IamTokens({
      client: this.#iamHttp,
      retries: new Retries(clock, ids, times),
      clock,
      apiKey,
      observe: (call) => context.observe({ type: "rootCall", root: kind, ...call }),
      closed: this.#closed.signal,
    });
  }

  /** Returns the body of a successful response; rejects with one of the four failures, or `SealBroken`. */
  async call(call: ApiCall): Promise<JsonRecord> {
    const correlationId = this.#context.ids.uuid();
    try {
      this.#closed.signal.throwIfAborted();
      return await this.#retries.run(async (signal, number) => {
        const first = await this.#send({ call, correlationId, number }, signal);
        if (first !== staleToken) return first;
        const second = await this.#send({ call, correlationId, number }, signal);
        if (second !== staleToken) return second;
        const where = this.#where(call, correlationId);
        throw errorOf({ status: 401, genuine: true }, call.about, where);
      }, this.#closed.signal);
    } catch (error) {
      throw this.#named(error, call, correlationId);
    }
  }

  /** Closes every connection; calls in flight and later calls fail as `unavailable`. */
  async close(): Promise<void> {
    this.#closed.abort(new RootOfTrustError("unavailable", "it is closed"));
    this.#tokens.forget();
    await Promise.all([this.#http.close(), this.#iamHttp.close()]);
  }

  /** One attempt. Discards a token that the key manager does not accept. */
  async #send(
    { call, correlationId, number }: Attempt,
    signal: AbortSignal,
  ): Promise<Outcome<JsonRecord> | typeof staleToken> {
    const token = await ended(this.#tokens.token(), signal);
    if (token instanceof Error) return { again: token };
    const { clock, observe } = this.#context;
    const startMs = clock.monotonicMs();
    const report = (more: { readonly status: number; readonly code?: string }) =>
      observe({
        type: "rootCall",
        root: this.#settings.kind,
        action: call.action,
        correlationId,
        attempt: number,
        durationMs: clock.monotonicMs() - startMs,
        ...more,
      });
    const request = {
      method: call.method,
      path: `/api/v2${call.path}`,
      headers: this.#headers(call, token, correlationId),
      ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
    };
    const answer = await this.#http.call(request, signal).catch(asError);
    if (answer instanceof Error) {
      const code = causeOf(answer);
      report({ status: 0, code });
      const message = `${this.#where(call, correlationId)}: it cannot be reached (${code})`;
      return { again: new RootOfTrustError("unavailable", message, { cause: answer }) };
    }
    const { status, body } = answer;
    if (status === 200) {
      report({ status });
      return this.#read(call, correlationId, body);
    }
    const refused = readRefusal(status, body);
    report({ status, ...(refused.code !== undefined && { code: refused.code }) });
    if (status === 401 && this.#tokens.reject(token)) return staleToken;
    const error = errorOf(refused, call.about, this.#where(call, correlationId));
    if (!isPassing(refused)) throw error;
    return { again: error, afterMs: retryAfterMs(answer.header("retry-after"), clock.wallMs()) };
  }

  #read(call: ApiCall, correlationId: string, body: string): Outcome<JsonRecord> {
    const content = parseJson(body);
    if (isRecord(content)) return { done: content };
    const message = `${this.#where(call, correlationId)}: its answer cannot be read`;
    return { again: new RootOfTrustError("unavailable", message) };
  }

  #headers({ body }: ApiCall, token: string, correlationId: string): Record<string, string> {
    const { instanceId, keyRing } = this.#settings;
    return {
      authorization: `Bearer ${token}`,
      "bluemix-instance": instanceId,
      "correlation-id": correlationId,
      accept: "application/json",
      ...(keyRing !== undefined && { "x-kms-key-ring": keyRing }),
      ...(body !== undefined && { "content-type": "application/json" }),
    };
  }

  #where({ action }: ApiCall, correlationId: string): string {
    return `${this.#settings.kind} ${action} at ${this.#settings.url}, correlation-id ${correlationId}`;
  }

  /** Turns an error of IAM or of the deadline into a failure of this call. */
  #named(error: unknown, call: ApiCall, correlationId: string): unknown {
    if (!(error instanceof Error) || error.name === "SealBroken") return error;
    const where = this.#where(call, correlationId);
    if (error.message.startsWith(where)) return error;
    const failure = error instanceof RootOfTrustError ? error.failure : "unavailable";
    return new RootOfTrustError(failure, `${where}: ${error.message}`, { cause: error });
  }
}

/** Returns the token, or why there is none yet. Rejects if IAM refuses, which ends the call. */
async function ended(token: Promise<string>, signal: AbortSignal): Promise<string | Error> {
  let end = (): void => undefined;
  const tooLate = new Promise<Error>((resolve) => {
    end = () => resolve(new RootOfTrustError("unavailable", "IAM does not answer"));
  });
  signal.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([token, tooLate]);
  } finally {
    signal.removeEventListener("abort", end);
  }
}

function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error("no answer", { cause });
}
