import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";
import type { ShownCertificate } from "@holdfast/redis";
import { parseAddress } from "../base/address.ts";

interface Server extends ShownCertificate {
  readonly seenMs: number;
}

const askTimeoutMs = 2_000;
/** A server that shows nothing for so long is no longer one of this region's. */
const keptMs = 86_400_000;

/**
 * The certificate that each Redis, Sentinel and lock master of the region showed last. New connections of the node tell
 * it. A connection to a primary may stay open for months, so a server that was not connected to for a while is asked.
 */
export class ShownCertificates {
  readonly #tls: ConnectionOptions;
  readonly #monotonicMs: () => number;
  readonly #servers = new Map<string, Server>();

  constructor(tls: ConnectionOptions | undefined, monotonicMs: () => number) {
    this.#tls = tls ?? {};
    this.#monotonicMs = monotonicMs;
  }

  /** A store that is its own lock master stays `redis`. */
  note({ kind, address, certificate }: ShownCertificate): void {
    const seenMs = this.#monotonicMs();
    const known = this.#servers.get(address)?.kind ?? kind;
    this.#servers.set(address, { kind: known, address, certificate, seenMs });
  }

  list(): readonly ShownCertificate[] {
    return [...this.#servers.values()];
  }

  /** Asks every server that has shown nothing for `afterMs`, and forgets one that is gone. */
  async ask(afterMs: number): Promise<void> {
    const agoMs = ({ seenMs }: Server) => this.#monotonicMs() - seenMs;
    const silent = [...this.#servers.values()].filter((server) => agoMs(server) >= afterMs);
    await Promise.all(
      silent.map(async ({ kind, address }) => {
        const certificate = await certificateAt(address, this.#tls);
        const server = this.#servers.get(address);
        if (certificate !== undefined) this.note({ kind, address, certificate });
        else if (server !== undefined && agoMs(server) >= keptMs) this.#servers.delete(address);
      }),
    );
  }
}

/** The certificate that a server shows now, even if it has ended; undefined if it does not answer. */
function certificateAt(
  address: string,
  tls: ConnectionOptions,
): Promise<X509Certificate | undefined> {
  const at = parseAddress(address);
  if (at === undefined) return Promise.resolve(undefined);
  const servername = isIP(at.host) === 0 ? at.host : "";
  return new Promise((resolve) => {
    const socket = connect({ ...tls, ...at, servername, rejectUnauthorized: false });
    const end = (certificate?: X509Certificate): void => {
      resolve(certificate);
      socket.destroy();
    };
    socket.setTimeout(askTimeoutMs, end).unref();
    socket.once("secureConnect", () => end(socket.getPeerX509Certificate()));
    socket.once("error", () => end());
    socket.once("close", () => end());
  });
}
