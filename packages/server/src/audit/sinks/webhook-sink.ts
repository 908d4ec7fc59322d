import { hash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { AuditSink, ChainedEntry } from "@holdfast/regions";
import type { CadfSettings } from "../cadf.ts";
import { httpsPost, type Posted } from "./https-post.ts";
import { type ShippedText, shippedTexts } from "./shipped.ts";

/** A webhook, and how to send to it. */
export interface WebhookSinkOptions {
  readonly url: string;
  /** PEM of the authorities that may issue the receiver's certificate; by default the system's. */
  readonly ca: () => string | undefined;
  /** The header that authenticates the sender; read for each batch, since the secret may change. */
  readonly authorization: () => Readonly<Record<string, string>>;
  /** The most events in one request. */
  readonly batchMax: number;
  /** How long one request may take; 10,000 ms unless given. */
  readonly timeoutMs?: number;
  /** The first pause before another try; it doubles each time. 250 ms unless given. */
  readonly retryMs?: number;
  /** A random number from 0 to 1. */
  readonly chance: () => number;
}

const triesMax = 4;
const retryAfterMaxMs = 30_000;
/** Temporary failures, which are tried again (RFC 9110, 15). */
const passing: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);
const tooLarge = 413;

/** Posts audit events as JSON arrays to a URL. A 2xx answer confirms that they have arrived. */
export class WebhookSink implements AuditSink {
  readonly name = "webhook";
  readonly #options: WebhookSinkOptions;
  readonly #cadf: CadfSettings;

  constructor(options: WebhookSinkOptions, cadf: CadfSettings) {
    this.#options = options;
    this.#cadf = cadf;
  }

  async deliver(entries: readonly ChainedEntry[], signal: AbortSignal): Promise<void> {
    const events = await shippedTexts(entries, this.#cadf);
    const { batchMax } = this.#options;
    for (let at = 0; at < events.length; at += batchMax) {
      await this.#post(events.slice(at, at + batchMax), signal);
    }
  }

  async #post(events: readonly ShippedText[], signal: AbortSignal): Promise<void> {
    const { retryMs = 250, chance } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const posted = await this.#try(events, signal);
      if (posted.status >= 200 && posted.status < 300) return;
      if (posted.status === tooLarge && events.length > 1) {
        const half = events.length >> 1;
        await this.#post(events.slice(0, half), signal);
        return this.#post(events.slice(half), signal);
      }
      if (!passing.has(posted.status) || attempt === triesMax) throw new Error(posted.says);
      const pauseMs = retryMs * 2 ** (attempt - 1) * (0.5 + chance());
      const askedMs = Math.min(posted.retryAfterMs ?? 0, retryAfterMaxMs);
      await delay(Math.max(pauseMs, askedMs), undefined, { signal });
    }
  }

  /** A failed connection counts as a 503. */
  async #try(events: readonly ShippedText[], signal: AbortSignal): Promise<Posted> {
    const { url, ca, authorization, timeoutMs = 10_000 } = this.#options;
    const headers = {
      ...authorization(),
      "content-type": "application/json",
      // The same for the same events, from any node and at each try.
      "idempotency-key": hash("sha256", events.map(({ event }) => event.id).join("\n"), "hex"),
    };
    const body = `[${events.map(({ text }) => text).join(",")}]`;
    return httpsPost(url, { ca: ca(), headers, body, timeoutMs, signal });
  }
}
