import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { KmipClient, KmipClientError, type TlsCredentials } from "@holdfast/client";
import { attributeItem, keyBlockOf, plainKeyOf } from "@holdfast/kmip";

/** What a load has seen so far. */
export interface LoadReport {
  readonly runs: boolean;
  /** Keys that were made and acknowledged. */
  readonly made: number;
  /** Keys that were fetched, each with the bytes that it had before. */
  readonly fetched: number;
  /** Requests that got an error or no answer; another endpoint is asked afterwards. */
  readonly refused: number;
  /** Acknowledged keys that were not found, or had other bytes: must stay 0. */
  readonly lost: number;
  /** The longest time without a successful answer, ms. */
  readonly longestGapMs: number;
}

const workers = 4;
const pauseMs = 40;
/** Keys that are remembered, to be fetched again. */
const keysMax = 2000;
const connectTimeoutMs = 1000;
const requestTimeoutMs = 2000;

/** Makes keys and fetches earlier ones at all nodes in turn, and counts what becomes of them. */
export class Load {
  readonly #endpoints: readonly string[];
  readonly #tls: TlsCredentials;
  /** Acknowledged keys; the digest is of the bytes that the first fetch got. */
  readonly #known: { readonly id: string; digest?: string }[] = [];
  readonly #counts = { made: 0, fetched: 0, refused: 0, lost: 0 };
  #longestGapMs = 0;
  #answeredMs: number | undefined;
  #ending: AbortController | undefined;
  #working: Promise<unknown> = Promise.resolve();

  constructor(endpoints: readonly string[], tls: TlsCredentials) {
    this.#endpoints = endpoints;
    this.#tls = tls;
  }

  get report(): LoadReport {
    const gapMs = this.#answeredMs === undefined ? 0 : performance.now() - this.#answeredMs;
    return {
      runs: this.#ending !== undefined,
      ...this.#counts,
      longestGapMs: Math.round(Math.max(this.#longestGapMs, gapMs)),
    };
  }

  start(): void {
    if (this.#ending !== undefined) return;
    this.#ending = new AbortController();
    const { signal } = this.#ending;
    this.#working = Promise.all(Array.from({ length: workers }, (_, at) => this.#work(at, signal)));
  }

  async stop(): Promise<void> {
    this.#ending?.abort();
    this.#ending = undefined;
    this.#answeredMs = undefined;
    await this.#working;
  }

  /** One client. Each begins with another endpoint. */
  async #work(at: number, signal: AbortSignal): Promise<void> {
    const first = at % this.#endpoints.length;
    const endpoints = [...this.#endpoints.slice(first), ...this.#endpoints.slice(0, first)];
    while (!signal.aborted) {
      try {
        const times = { connectTimeoutMs, requestTimeoutMs, connectionsMax: 1 };
        const options = { endpoints, tls: this.#tls, version: "1.4" as const, ...times };
        await using client = await KmipClient.connect(options);
        while (!signal.aborted) {
          await this.#attempt(() => this.#make(client));
          await this.#attempt(() => this.#fetchAgain(client));
          await sleep(pauseMs);
        }
      } catch {
        this.#counts.refused += 1;
        await sleep(pauseMs);
      }
    }
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      const nowMs = performance.now();
      if (this.#answeredMs !== undefined) {
        this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#answeredMs);
      }
      if (this.#ending !== undefined) this.#answeredMs = nowMs;
    } catch {
      this.#counts.refused += 1;
    }
  }

  async #make(client: KmipClient): Promise<void> {
    const attributes = [
      attributeItem("CryptographicAlgorithm", "AES"),
      attributeItem("CryptographicLength", 256),
      attributeItem("CryptographicUsageMask", 0x0c),
    ].map((item) => ({ item }));
    const { uniqueIdentifier: id } = await client.create({
      objectType: "SymmetricKey",
      attributes: { attributes, templateNames: [] },
    });
    this.#counts.made += 1;
    const place = this.#known.length < keysMax ? this.#known.length : this.#random();
    this.#known[place] = { id };
  }

  async #fetchAgain(client: KmipClient): Promise<void> {
    const key = this.#known[this.#random()];
    if (key === undefined) return;
    try {
      const digest = await digestOf(client, key.id);
      key.digest ??= digest;
      if (digest === key.digest) this.#counts.fetched += 1;
      else this.#counts.lost += 1;
    } catch (error) {
      if (!(error instanceof KmipClientError && error.reason === "ItemNotFound")) throw error;
      this.#counts.lost += 1;
    }
  }

  #random(): number {
    return Math.floor(Math.random() * this.#known.length);
  }
}

async function digestOf(client: KmipClient, uniqueIdentifier: string): Promise<string> {
  const { object } = await client.get({ uniqueIdentifier });
  const block = object === undefined ? undefined : keyBlockOf(object);
  const key = block === undefined ? undefined : plainKeyOf(block);
  return createHash("sha256")
    .update(key ?? "")
    .digest("hex");
}
