import type { X509Certificate } from "node:crypto";
import type { Refusal } from "./trust.ts";

/** A client that was not let in, the last time that it came. */
export interface RefusedClient {
  readonly timeMs: number;
  readonly reason: Refusal;
  /** Address and port. */
  readonly remote: string;
  readonly fingerprint: string;
  readonly subject: string;
  /** DER, where it showed one that is not larger than a certificate should be. */
  readonly certificate: Uint8Array | undefined;
  /** How often it came. */
  readonly times: number;
}

const keptMax = 100;
const certificateBytesMax = 8192;

/**
 * The last clients that were not let in, each once: one that tries again and again must not drive out the one that an
 * administrator looks for.
 */
export class RefusedClients {
  /** Oldest first. */
  readonly #clients = new Map<string, RefusedClient>();
  #count = 0;
  #seen = 0;

  /** Grows with every client that was not among the last ones. */
  get count(): number {
    return this.#count;
  }

  /** Grows with every refusal. */
  get seen(): number {
    return this.#seen;
  }

  /** Newest last. */
  get list(): readonly RefusedClient[] {
    return [...this.#clients.values()];
  }

  note(
    client: Omit<RefusedClient, "certificate" | "times"> & {
      readonly certificate: X509Certificate | undefined;
    },
  ): void {
    this.#seen += 1;
    const who = client.fingerprint === "" ? hostOf(client.remote) : client.fingerprint;
    const key = `${client.reason} ${who}`;
    const times = (this.#clients.get(key)?.times ?? 0) + 1;
    if (times === 1) this.#count += 1;
    const raw = client.certificate?.raw;
    const certificate = raw !== undefined && raw.length <= certificateBytesMax ? raw : undefined;
    this.#clients.delete(key);
    this.#clients.set(key, { ...client, certificate, times });
    if (this.#clients.size <= keptMax) return;
    const oldest = this.#clients.keys().next();
    if (!oldest.done) this.#clients.delete(oldest.value);
  }
}

function hostOf(remote: string): string {
  return remote.split(" ")[0] ?? "";
}
