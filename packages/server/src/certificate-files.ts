import { type Stats, statSync } from "node:fs";
import { stat } from "node:fs/promises";
import type { Config } from "./config-table.ts";
import type { NodeObserver } from "./events.ts";
import { reasonOf } from "./start-error.ts";
import { describeIdentity, readIdentity, type ServerIdentity } from "./tls.ts";

/** How often the files are looked at. Polled, since folders that are swapped by a link tell watchers nothing. */
const pollMs = 2000;

/**
 * The server's certificate files, read again when they change or when `reload` is called. A pair that does not match
 * is refused and the one in use kept.
 */
export class CertificateFiles {
  readonly #tls: Config["tls"];
  readonly #observe: NodeObserver;
  readonly #timer: NodeJS.Timeout;
  #identity: ServerIdentity;
  #use: (identity: ServerIdentity) => void = () => undefined;
  /** What the files looked like when last read, and when last looked at. */
  #readState: string;
  #seenState: string;

  /** Reads the files for the first time; throws a `StartError` when they cannot be used. */
  constructor(tls: Config["tls"], observe: NodeObserver, everyMs: number = pollMs) {
    this.#tls = tls;
    this.#observe = observe;
    // Looked at before they are read: a change from here on is seen by the polls.
    this.#readState = this.#paths().map(stateSync).join("\n");
    this.#seenState = this.#readState;
    this.#identity = readIdentity(tls);
    this.#timer = setInterval(() => void this.poll(), everyMs).unref();
  }

  get identity(): ServerIdentity {
    return this.#identity;
  }

  /** Says who uses the certificates from now on. */
  onChange(use: (identity: ServerIdentity) => void): void {
    this.#use = use;
  }

  /** Looks at the files once. Two looks must agree before they are read, since certificate and key are written in turn. */
  async poll(): Promise<void> {
    const state = await this.#state();
    const settled = state === this.#seenState;
    this.#seenState = state;
    if (settled && state !== this.#readState) {
      this.#readState = state;
      this.reload();
    }
  }

  /** Reads the files now; tells whether they are in use. */
  reload(): boolean {
    try {
      const identity = readIdentity(this.#tls);
      this.#use(identity);
      this.#identity = identity;
    } catch (error) {
      const detail = `${reasonOf(error)}; the certificate in use is kept`;
      this.#observe({ type: "certificate", loaded: false, detail });
      return false;
    }
    this.#observe({ type: "certificate", loaded: true, detail: describeIdentity(this.#identity) });
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #paths(): readonly string[] {
    return [...this.#tls.certificate, ...this.#tls.key];
  }

  async #state(): Promise<string> {
    const states = this.#paths().map(async (path) => {
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

function stateSync(path: string): string {
  try {
    return print(statSync(path));
  } catch {
    return absent;
  }
}

function print({ mtimeMs, size, ino }: Pick<Stats, "mtimeMs" | "size" | "ino">): string {
  return `${mtimeMs} ${size} ${ino}`;
}
