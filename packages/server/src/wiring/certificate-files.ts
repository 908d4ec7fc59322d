import { type Stats, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import { isPem } from "../base/certificates.ts";
import { reasonOf } from "../base/operator-error.ts";
import { describePeerIdentity, type PeerIdentity, readPeerIdentity } from "../base/peer-tls.ts";
import { describeIdentity, readIdentity, type ServerIdentity } from "../base/tls.ts";
import type { Config } from "../config/config-table.ts";
import type { NodeObserver } from "../observe/events.ts";

/** How often the files are checked. Polled, since watchers miss folders that are swapped by a link. */
const pollMs = 2000;

/** Files that hold certificates, and how they are read; `read` throws where they cannot be used. */
export interface CertificateSource<Identity> {
  readonly purpose: "kmip" | "peer" | "admin";
  readonly paths: readonly string[];
  readonly read: () => Identity;
  readonly describe: (identity: Identity) => string;
}

/** The KMIP endpoint's certificates. */
export function kmipCertificates(tls: Config["tls"]): CertificateSource<ServerIdentity> {
  return {
    purpose: "kmip",
    paths: [...tls.certificate, ...tls.key],
    read: () => readIdentity(tls),
    describe: describeIdentity,
  };
}

/** The admin API's certificates. */
export function adminCertificates({
  tls,
}: Pick<NonNullable<Config["admin"]>, "tls">): CertificateSource<ServerIdentity> {
  return {
    purpose: "admin",
    paths: [...tls.certificate, ...tls.key],
    read: () => readIdentity({ ...tls, suites: "default" }, "admin.tls"),
    describe: describeIdentity,
  };
}

/** A node's certificate for connections between the regions, and the keys of both. */
export function peerCertificates(
  peer: Pick<NonNullable<Config["peer"]>, "tls" | "regionKeyFile" | "keys">,
  own: Pick<Config, "region" | "node">,
): CertificateSource<PeerIdentity> {
  const { tls, regionKeyFile, keys } = peer;
  return {
    purpose: "peer",
    paths: [
      ...[tls.ca, tls.certificate, tls.key, regionKeyFile],
      ...keys.filter((source) => !isPem(source)),
    ],
    read: () => readPeerIdentity(peer, own),
    describe: describePeerIdentity,
  };
}

/**
 * Certificate files, read again when they change or when `reload` is called. Files that cannot be used (a key of
 * another certificate, say) are refused, and those in use are kept.
 */
export class CertificateFiles<Identity> {
  readonly #source: CertificateSource<Identity>;
  readonly #observe: NodeObserver;
  readonly #timer: NodeJS.Timeout;
  #identity: Identity;
  #fault = "";
  #use: (identity: Identity) => void = () => undefined;
  /** The state of the files when they were last read, and when they were last checked. */
  #readState: string;
  #seenState: string;

  /** Reads the files for the first time; throws an `OperatorError` when they cannot be used. */
  constructor(
    source: CertificateSource<Identity>,
    observe: NodeObserver,
    everyMs: number = pollMs,
  ) {
    this.#source = source;
    this.#observe = observe;
    this.#readState = stateOf(source.paths);
    this.#seenState = this.#readState;
    this.#identity = source.read();
    this.#timer = setInterval(() => void this.poll(), everyMs).unref();
  }

  get identity(): Identity {
    return this.#identity;
  }

  /** What is wrong with the files now, while those that were read before are in use; empty = nothing. */
  get fault(): string {
    return this.#fault;
  }

  /** Sets who uses the certificates from now on. */
  onChange(use: (identity: Identity) => void): void {
    this.#use = use;
  }

  /** Checks the files once. Two checks must agree before they are read: certificate and key are written in turn. */
  async poll(): Promise<void> {
    const state = await this.#state();
    const settled = state === this.#seenState;
    this.#seenState = state;
    if (settled && state !== this.#readState) this.reload();
  }

  /** Reads the files now; returns whether they are in use. */
  reload(): boolean {
    const { purpose, paths, read, describe } = this.#source;
    this.#readState = stateOf(paths);
    try {
      const identity = read();
      this.#use(identity);
      this.#identity = identity;
      this.#fault = "";
    } catch (error) {
      this.#fault = reasonOf(error);
      const detail = `${this.#fault}; the certificate in use is kept`;
      this.#observe({ type: "certificate", purpose, loaded: false, detail });
      return false;
    }
    this.#observe({ type: "certificate", purpose, loaded: true, detail: describe(this.#identity) });
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #state(): Promise<string> {
    const states = this.#source.paths.map(async (path) => {
      try {
        return print(await stat(path));
      } catch {
        return absent;
      }
    });
    return (await Promise.all(states)).join("\n");
  }
}

const absent = "absent";

/** Taken before the files are read: the polls see a change from here on. */
function stateOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      try {
        return print(statSync(path));
      } catch {
        return absent;
      }
    })
    .join("\n");
}

/** Includes the mode, so that a file that can no longer be read is noticed before the next start. */
function print({ mtimeMs, size, ino, mode }: Pick<Stats, "mtimeMs" | "size" | "ino" | "mode">) {
  return `${mtimeMs} ${size} ${ino} ${mode}`;
}
