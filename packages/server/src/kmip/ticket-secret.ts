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
  #shared = false;
  #looking = false;
  #warned = false;

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

  /** Ends an hour that is over, and looks for the secret that the nodes share. Called every few seconds; never rejects. */
  async look(): Promise<void> {
    if (this.#now() !== this.#hour) {
      this.#hour = this.#now();
      this.#shared = false;
      this.#warned = false;
      this.#replace(this.#fresh());
    }
    if (this.#shared || this.#looking) return;
    this.#looking = true;
    try {
      await this.#share();
    } catch (cause) {
      const { observe } = this.#options;
      const message = `the region's nodes share no session tickets now: clients resume at the same node only: ${reasonOf(cause)}`;
      // A store that is out of reach is reported elsewhere.
      if (!this.#warned && !(cause instanceof StoreUnavailable)) {
        this.#warned = true;
        observe({ type: "warning", message });
      }
    } finally {
      this.#looking = false;
    }
  }

  async #share(): Promise<void> {
    const { own, root, makes } = this.#options;
    const hour = this.#hour;
    const read = await own.localValue(name);
    const [, of, blob] = /^(\d+) ([\w+/=]{1,8192})$/.exec(read) ?? [];
    // Older and future ones are not even opened; the wrap is bound to its hour, too.
    if (Number(of) === hour && blob !== undefined) {
      const { plaintext } = await root.unwrap(Buffer.from(blob, "base64"), this.#binding(hour));
      const secret = Buffer.from(plaintext);
      plaintext.fill(0);
      if (secret.length !== ticketSecretBytes)
        throw new Error("the shared secret has a wrong length");
      if (this.#hour !== hour) return void secret.fill(0);
      this.#shared = true;
      this.#replace(secret);
      return;
    }
    if (!makes()) return;
    const made = await root.wrap(Buffer.from(this.#secret), this.#binding(hour));
    if (this.#hour !== hour) return;
    const value = `${hour} ${Buffer.from(made.blob).toString("base64")}`;
    // If another node was faster, the next look finds its secret.
    this.#shared = (await own.setLocalValue(name, read, value)) && this.#hour === hour;
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
