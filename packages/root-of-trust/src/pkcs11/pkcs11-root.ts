import { timingSafeEqual } from "node:crypto";
import {
  type RootDescription,
  type RootKey,
  type RootLimits,
  type RootOfTrust,
  RootOfTrustError,
  type RootOfTrustFailure,
  type RootUnwrap,
  type RootWrap,
  SealBroken,
} from "@holdfast/engine";
import type { RootContext } from "../kind.ts";
import { ivBytes } from "./blob.ts";
import type { Pkcs11Host } from "./host.ts";
import { type HostLease, Pkcs11Hosts } from "./hosts.ts";
import type { TokenOperations } from "./messages.ts";
import type { Pkcs11Settings } from "./pkcs11.ts";

const sampleBytes = 32;

/** The status that a key manager returns in the same case, so that all kinds look alike in metrics. */
const statuses: Readonly<Record<RootOfTrustFailure | "done" | "broken", number>> = {
  done: 200,
  denied: 403,
  disabled: 409,
  gone: 410,
  broken: 422,
  unavailable: 0,
};

type Pkcs11Context = Required<RootContext>;

/** Opens a root key in a PKCS#11 token without using the token yet: an absent token is found once it is present. */
export async function openPkcs11(
  settings: Pkcs11Settings,
  { pkcs11 = new Pkcs11Hosts(), ...context }: RootContext,
): Promise<Pkcs11Root> {
  return new Pkcs11Root(settings, { ...context, pkcs11 });
}

/** Creates the first version of a root key in a token; refuses if one exists. Returns its number. */
export async function createPkcs11Root(
  settings: Pkcs11Settings,
  context: RootContext,
): Promise<number> {
  return await addVersion(settings, context, true);
}

/** Creates the next version of a root key, which wraps from then on; older ones still unwrap. Returns its number. */
export async function rotatePkcs11Root(
  settings: Pkcs11Settings,
  context: RootContext,
): Promise<number> {
  return await addVersion(settings, context, false);
}

async function addVersion(
  settings: Pkcs11Settings,
  context: RootContext,
  first: boolean,
): Promise<number> {
  const root = await openPkcs11(settings, context);
  try {
    return await root.addVersion(first);
  } finally {
    await root.close();
  }
}

/** A root key in a PKCS#11 token: AES-CBC and HMAC-SHA-256, each under a key that never leaves the token. */
export class Pkcs11Root implements RootOfTrust {
  readonly kind = "pkcs11";
  readonly limits: RootLimits;
  readonly #settings: Pkcs11Settings;
  readonly #context: Pkcs11Context;
  #lease: HostLease | undefined;
  #closed = false;

  constructor(settings: Pkcs11Settings, context: Pkcs11Context) {
    const { deadlineMs, inFlightMax } = settings;
    this.limits = { deadlineMs, inFlightMax };
    this.#settings = settings;
    this.#context = context;
  }

  async describe(): Promise<RootDescription> {
    const { identity, version } = await this.#call("describe", this.#rootKey());
    return { kind: this.kind, name: `pkcs11 ${identity}`, currentVersion: String(version) };
  }

  async wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap> {
    return await this.#call("wrap", this.#rootKey(), plaintext, additionalData, this.#iv());
  }

  async unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap> {
    return await this.#call("unwrap", this.#rootKey(), blob, additionalData, this.#iv());
  }

  async rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined> {
    return await this.#call("rewrap", this.#rootKey(), blob, additionalData, this.#iv());
  }

  async rootKeys(): Promise<readonly RootKey[]> {
    return await this.#call("rootKeys");
  }

  async validate(): Promise<void> {
    await this.#call("check", this.#rootKey());
    await this.probe();
  }

  async probe(): Promise<void> {
    const [sample, additionalData] = [this.#context.ids.randomBytes(sampleBytes), this.#iv()];
    const { blob } = await this.wrap(sample, additionalData);
    const { plaintext } = await this.unwrap(blob, additionalData);
    if (plaintext.length !== sample.length || !timingSafeEqual(sample, plaintext)) {
      throw new SealBroken("the root key does not open what it wrapped");
    }
  }

  /** Creates a version of the root key: the first, or the next. */
  async addVersion(first: boolean): Promise<number> {
    return await this.#call("addVersion", this.#rootKey(), first);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const lease = this.#lease;
    this.#lease = undefined;
    await lease?.release();
  }

  async #call<Name extends keyof TokenOperations>(
    name: Name,
    ...args: Parameters<TokenOperations[Name]>
  ): Promise<Awaited<ReturnType<TokenOperations[Name]>>> {
    const { clock } = this.#context;
    const startMs = clock.monotonicMs();
    let status = statuses.done;
    try {
      return await this.#hostFor(await this.#pin()).call(name, ...args);
    } catch (error) {
      status = error instanceof RootOfTrustError ? statuses[error.failure] : statuses.broken;
      throw error;
    } finally {
      const durationMs = clock.monotonicMs() - startMs;
      const call = { root: this.kind, action: name, status, correlationId: "", attempt: 1 };
      this.#context.observe({ type: "rootCall", ...call, durationMs });
    }
  }

  /** The host for this PIN. If the PIN was replaced, this releases the host that logged in with the old one. */
  #hostFor(pin: string): Pkcs11Host {
    if (this.#closed) throw this.#unavailable("closed");
    if (this.#lease?.pin === pin) return this.#lease.host;
    // The old host closes once nothing uses it; do not wait for that.
    void this.#lease?.release();
    const { clock, pkcs11 } = this.#context;
    this.#lease = pkcs11.lease(this.#settings, clock, pin);
    return this.#lease.host;
  }

  async #pin(): Promise<string> {
    return await this.#settings.pin().catch((error: unknown) => {
      const why = error instanceof Error ? error.message : "cannot be read";
      throw this.#unavailable(`its PIN: ${why}`);
    });
  }

  #unavailable(why: string): RootOfTrustError {
    return new RootOfTrustError("unavailable", `token ${this.#settings.token}: ${why}`);
  }

  #rootKey(): string {
    const { rootKey, token } = this.#settings;
    if (rootKey !== undefined) return rootKey;
    throw new RootOfTrustError("gone", `token ${token}: no root key is named`);
  }

  #iv(): Uint8Array {
    return this.#context.ids.randomBytes(ivBytes);
  }
}
