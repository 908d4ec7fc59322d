import { hash, type X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { codeOf, reasonOf } from "../../base/operator-error.ts";
import { download } from "./download.ts";
import { type Crl, crlBytesMax, readCrl } from "./read-crl.ts";

/** Clocks and chance, as arguments. */
export interface CrlTimes {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
  /** From 0 to 1: spreads the requests of nodes. */
  readonly random: () => number;
}

/** A file or a distribution point with the list of an authority. */
export interface CrlSourceOptions {
  readonly authority: X509Certificate;
  /** A path, or an http:// URL. */
  readonly place: string;
  readonly kind: "file" | "url";
  /** How often a URL is asked at most, unless its list ends sooner. */
  readonly everyMs: number;
  readonly times: CrlTimes;
}

/** The shortest pause between two readings. */
const pauseMinMs = 60_000;
const downloadMs = 30_000;

/** One list of an authority: read again when its file changes, or before it ends. */
export class CrlSource {
  readonly #options: CrlSourceOptions;
  #crl: Crl | undefined;
  #digest = "";
  #fault = "it was not read yet";
  #againMs = Number.NEGATIVE_INFINITY;
  /** The state of the file when it was read, and when it was last looked at. */
  #readState = "";
  #seenState = "";
  #reading: Promise<void> | undefined;

  constructor(options: CrlSourceOptions) {
    this.#options = options;
  }

  get place(): string {
    return this.#options.place;
  }

  /** The last list that was good. */
  get crl(): Crl | undefined {
    return this.#crl;
  }

  /** Why the last reading failed; empty = it was good. */
  get fault(): string {
    return this.#fault;
  }

  /** Whether a list is there that has not ended. */
  get inTime(): boolean {
    return this.#crl !== undefined && this.#options.times.wallMs() <= this.#crl.nextUpdateMs;
  }

  /** Reads it if it is time, and no reading is under way. Never rejects. */
  async look(): Promise<void> {
    if (this.#reading !== undefined) return;
    const due = this.#options.times.monotonicMs() >= this.#againMs;
    if (this.#options.kind === "url") {
      if (due) await this.read();
      return;
    }
    const state = await stateOf(this.place);
    // Twice the same: a file that is being written is not read yet.
    const settled = state === this.#seenState;
    this.#seenState = state;
    if (settled && (state !== this.#readState || (due && this.#fault !== ""))) await this.read();
  }

  /** Reads it now, once a reading that is under way has ended. Never rejects. */
  async read(): Promise<void> {
    const reading = (this.#reading ?? Promise.resolve()).then(() => this.#read());
    this.#reading = reading;
    await reading;
    if (this.#reading === reading) this.#reading = undefined;
  }

  async #read(): Promise<void> {
    try {
      await this.#take(await this.#bytes());
      this.#fault = "";
    } catch (error) {
      this.#fault = reasonOf(error);
    }
    const { times } = this.#options;
    this.#againMs = times.monotonicMs() + this.#pauseMs() * (1 - times.random() / 10);
  }

  /** Half of the time that the list still has: a reading that fails can be repeated. */
  #pauseMs(): number {
    const { everyMs, times } = this.#options;
    const least = Math.min(pauseMinMs, everyMs);
    if (this.#fault !== "" || this.#crl === undefined) return least;
    const halfMs = (this.#crl.nextUpdateMs - times.wallMs()) / 2;
    return Math.max(least, Math.min(everyMs, halfMs));
  }

  async #bytes(): Promise<Buffer> {
    const { kind, place } = this.#options;
    if (kind === "url") {
      return await download(place, { bytesMax: crlBytesMax, timeoutMs: downloadMs });
    }
    this.#readState = await stateOf(place);
    this.#seenState = this.#readState;
    return await bytesOf(place);
  }

  async #take(bytes: Buffer): Promise<void> {
    const digest = hash("sha256", bytes);
    if (digest === this.#digest) return;
    const { authority, times } = this.#options;
    const crl = await readCrl(bytes, authority, times.wallMs());
    if (this.#crl !== undefined) refuseOtherPart(crl, this.#crl);
    if (this.#crl !== undefined) refuseOlder(crl, this.#crl);
    this.#crl = crl;
    this.#digest = digest;
  }
}

/** The parts of one list may share their numbers: another part has other certificates (RFC 5280, 6.3.3 (b) (2)). */
function refuseOtherPart(crl: Crl, known: Crl): void {
  if (crl.part === known.part) return;
  throw new Error(
    "it is not the part of the list that the last one was (issuing distribution point): correct the source, or restart the node if the authority has changed its parts",
  );
}

/** An older list may be a trick: it does not have the certificates that were revoked last. */
function refuseOlder(crl: Crl, known: Crl): void {
  if (known.number !== undefined) {
    if (crl.number === undefined) throw new Error("it has no CRL number, and the last one had one");
    if (crl.number > known.number) return;
    if (crl.number < known.number) {
      throw new Error(`it is older (CRL number ${crl.number}) than the last one (${known.number})`);
    }
  }
  if (crl.thisUpdateMs < known.thisUpdateMs) {
    const [now, before] = [crl, known].map((one) => new Date(one.thisUpdateMs).toISOString());
    throw new Error(`it is older (of ${now}) than the last one (of ${before})`);
  }
}

async function stateOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino, mode } = await stat(path);
    return `${mtimeMs} ${size} ${ino} ${mode}`;
  } catch {
    return "absent";
  }
}

async function bytesOf(path: string): Promise<Buffer> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new Error("it is not a file");
    if (found.size > crlBytesMax) throw new Error(`it is larger than ${crlBytesMax} bytes`);
    return await readFile(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw new Error("no such file", { cause: error });
    throw error;
  }
}
