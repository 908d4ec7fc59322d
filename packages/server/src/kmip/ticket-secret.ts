import { type RootOfTrust, StoreUnavailable } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import { reasonOf } from "../base/operator-error.ts";
import type { NodeObserver } from "../observe/events.ts";

/** Bytes of the secret from which an hour's ticket keys are derived. */
const ticketSecretBytes = 32;

export interface TicketSecretOptions {
  readonly region: string;
  readonly own: Pick<RedisStore, "localValue" | "setLocalValue">;
  /** The configuration's root of trust, which the region's nodes share. */
  readonly root: Pick<RootOfTrust, "wrap" | "unwrap">;
  /** Whether this node makes the hour's secret if there is none. */
  readonly makes: () => boolean;
  readonly wallMs: () => number;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly observe: NodeObserver;
}

const name = "tickets";
const hourMs = 3_600_000;
/** How many looks are left out after one that found nothing to do, and at most after faults, which double it. */
const restLooks = 7;
const restLooksMax = 31;

/**
 * The secret of the region's session tickets: made for each hour, shared through the region's store wrapped by its root of
 * trust and bound to the hour, and then forgotten. While the nodes share none, each has its own: its clients resume at this
 * node only.
 */
export class TicketSecret {
  readonly #options: TicketSecretOptions;
  #use: (secret: Buffer) => void = () => undefined;
  #secret: Buffer;
  #hour: number;
  /** The value in the store that this node's secret is from, or was written as. */
  #shared: string | undefined;
  #looking = false;
  #warned = false;
  #faults = 0;
  #rest = 0;

  constructor(options: TicketSecretOptions) {
    this.#options = options;
    this.#hour = this.#now();
    this.#secret = this.#fresh();
  }

  /** The present hour's secret; zeroed once the hour is over. */
  get secret(): Buffer {
    return this.#secret;
  }

  /** Sets who uses the secret from now on. */
  onChange(use: (secret: Buffer) => void): void {
    this.#use = use;
    use(this.#secret);
  }

  /**
   * Ends an hour that is over, and looks for the secret that the nodes share. Called every few seconds, and asks less often
   * while nothing is new or something fails; never rejects.
   */
  async look(): Promise<void> {
    if (this.#now() !== this.#hour) {
      this.#hour = this.#now();
      this.#shared = undefined;
      this.#warned = false;
      this.#faults = 0;
      this.#rest = 0;
      this.#replace(this.#fresh());
    }
    if (this.#looking) return;
    if (this.#rest > 0) {
      this.#rest -= 1;
      return;
    }
    this.#looking = true;
    try {
      await this.#share();
    } catch (cause) {
      // A store that is out of reach is reported elsewhere.
      if (!(cause instanceof StoreUnavailable)) this.#failed(cause);
    } finally {
      this.#looking = false;
    }
  }

  /** The root of trust is asked again later each time. */
  #failed(cause: unknown): void {
    this.#faults += 1;
    this.#rest = Math.min(2 ** this.#faults - 1, restLooksMax);
    if (this.#warned) return;
    this.#warned = true;
    const message = `the region's nodes share no session tickets now: clients resume at the same node only: ${reasonOf(cause)}`;
    this.#options.observe({ type: "warning", message });
  }

  async #share(): Promise<void> {
    const { own, makes } = this.#options;
    const hour = this.#hour;
    const read = await own.localValue(name);
    if (read === this.#shared) {
      this.#rest = restLooks;
      return;
    }
    const [, of, blob] = /^(\d+) ([\w+/=]{1,8192})$/.exec(read) ?? [];
    // Older and future ones are not even opened; the wrap is bound to its hour, too.
    if (Number(of) === hour && blob !== undefined) {
      try {
        const secret = await this.#opened(Buffer.from(blob, "base64"), hour);
        if (this.#hour !== hour) return void secret.fill(0);
        this.#shared = read;
        this.#faults = 0;
        this.#replace(secret);
        return;
      } catch (cause) {
        if (this.#hour !== hour) return;
        this.#failed(cause);
      }
    }
    if (makes()) await this.#write(read, hour);
  }

  /** Puts this node's secret in the place of a value that is gone, old or does not open. */
  async #write(read: string, hour: number): Promise<void> {
    const value = this.#shared ?? (await this.#wrapped(hour));
    // If another node was faster, the next look finds its secret.
    const written =
      this.#hour === hour && (await this.#options.own.setLocalValue(name, read, value));
    if (written && this.#hour === hour) this.#shared = value;
  }

  async #opened(blob: Uint8Array, hour: number): Promise<Buffer> {
    const { plaintext } = await this.#options.root.unwrap(blob, this.#binding(hour));
    const secret = Buffer.from(plaintext);
    plaintext.fill(0);
    if (secret.length === ticketSecretBytes) return secret;
    secret.fill(0);
    throw new Error("the shared secret has a wrong length");
  }

  async #wrapped(hour: number): Promise<string> {
    const made = await this.#options.root.wrap(Buffer.from(this.#secret), this.#binding(hour));
    return `${hour} ${Buffer.from(made.blob).toString("base64")}`;
  }

  #binding(hour: number): Uint8Array {
    const { region } = this.#options;
    return Buffer.from(`holdfast-tickets-1:${region.length}:${region}:${hour}`);
  }

  #fresh(): Buffer {
    return Buffer.from(this.#options.randomBytes(ticketSecretBytes));
  }

  #replace(secret: Buffer): void {
    const old = this.#secret;
    this.#secret = secret;
    this.#use(secret);
    old.fill(0);
  }

  #now(): number {
    return Math.floor(this.#options.wallMs() / hourMs);
  }
}
