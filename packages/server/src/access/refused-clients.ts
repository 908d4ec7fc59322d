import type { X509Certificate } from "node:crypto";
import { originOf } from "@holdfast/regions";
import { handshakeFaults } from "./handshake-fault.ts";
import { refusals } from "./trust.ts";

/** Why a client was refused, or its handshake failed. */
export const refusalReasons = [...refusals, ...handshakeFaults] as const;

/** A refused client, as of its last attempt. */
export interface RefusedClient {
  readonly timeMs: number;
  readonly reason: (typeof refusalReasons)[number];
  /** Address and port. */
  readonly remote: string;
  readonly fingerprint: string;
  readonly subject: string;
  /** DER; undefined if it showed none, or one larger than `certificateBytesMax`. */
  readonly certificate: Uint8Array | undefined;
  /** How often it was refused for this reason. */
  readonly times: number;
}

const keptMax = 100;
/**
 * The most clients kept per address, so that one that shows a new certificate each time does not
 * push out the client that an administrator looks for.
 */
const keptOfAddress = 10;
const certificateBytesMax = 8192;

/**
 * The clients refused last, each listed once: one that tries again and again must not push out the
 * one that an administrator looks for.
 */
export class RefusedClients {
  /** Oldest first. */
  readonly #clients = new Map<string, RefusedClient>();
  #count = 0;
  #seen = 0;

  /** Grows with every refused client that is not in the list yet. */
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
    const kept = new Set(fairShare([...this.#clients.values()]));
    for (const [one, refused] of this.#clients) if (!kept.has(refused)) this.#clients.delete(one);
  }
}

/**
 * Selects the clients to keep. It ranks the clients of each address: those that came more than once
 * first, then the newest. It keeps at most `keptOfAddress` per address and, if these are more than
 * `keptMax`, drops the lowest ranks first. Takes and returns clients oldest first.
 */
export function fairShare<One extends Pick<RefusedClient, "remote" | "times" | "timeMs">>(
  clients: readonly One[],
): readonly One[] {
  const order = new Map(clients.map((client, at) => [client, at]));
  const orderOf = (client: One) => order.get(client) ?? 0;
  const again = ({ times }: One) => (times > 1 ? 1 : 0);
  const counts = new Map<string, number>();
  return clients
    .toSorted(
      (one, other) =>
        again(other) - again(one) || other.timeMs - one.timeMs || orderOf(other) - orderOf(one),
    )
    .map((client) => {
      const address = originOf(hostOf(client.remote));
      const rank = counts.get(address) ?? 0;
      counts.set(address, rank + 1);
      return { client, rank };
    })
    .filter(({ rank }) => rank < keptOfAddress)
    .toSorted((one, other) => one.rank - other.rank)
    .slice(0, keptMax)
    .map(({ client }) => client)
    .toSorted((one, other) => one.timeMs - other.timeMs || orderOf(one) - orderOf(other));
}

function hostOf(remote: string): string {
  return remote.split(" ")[0] ?? "";
}
