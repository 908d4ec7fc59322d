import { timingSafeEqual } from "node:crypto";
import {
  type RootDescription,
  type RootKey,
  type RootLimits,
  type RootOfTrust,
  RootOfTrustError,
  type RootUnwrap,
  type RootWrap,
  SealBroken,
} from "@holdfast/engine";
import type { RootContext } from "../kind.ts";
import { isRecord, type JsonRecord, textOf } from "./json.ts";
import { KeyManagerClient } from "./key-manager-client.ts";
import {
  type AnyIbmSettings,
  checkSettings,
  type KeyManagerSettings,
} from "./key-manager-settings.ts";
import { guid, type KeyManagerType } from "./key-manager-urls.ts";
import {
  currentVersionOf,
  expiryWarning,
  isExpired,
  keyOf,
  keyState,
  listRootKeys,
} from "./root-keys.ts";
import {
  aadOf,
  dataKeyBytes,
  decodeWrapped,
  encodeWrapped,
  openUnder,
  sealUnder,
} from "./wrapped-key.ts";

/** Throws on an invalid setting. Does not use the network yet. */
export function openKeyManager(settings: AnyIbmSettings, context: RootContext): KeyManagerRoot {
  return new KeyManagerRoot(checkSettings(settings), context);
}

/** A root key in one of IBM's key managers. Opening it does not use the network, so a node can start without it. */
export class KeyManagerRoot implements RootOfTrust {
  readonly kind: KeyManagerType;
  readonly limits: RootLimits;
  readonly #settings: KeyManagerSettings;
  readonly #context: RootContext;
  readonly #client: KeyManagerClient;
  /** An alias is resolved only once: a wrapped key must not change its root key because an alias moved. */
  #keyId: string | undefined;
  #warned: string | undefined;

  constructor(settings: KeyManagerSettings, context: RootContext) {
    const { kind, times, inFlightMax } = settings;
    this.kind = kind;
    this.limits = { deadlineMs: times.deadlineMs, inFlightMax };
    this.#settings = settings;
    this.#context = context;
    this.#client = new KeyManagerClient(settings, context);
    const { rootKey } = settings;
    if (rootKey !== undefined && guid.test(rootKey)) this.#keyId = rootKey;
  }

  async describe(): Promise<RootDescription> {
    const key = await this.#metadata();
    const name = `${this.kind} ${this.#settings.instanceId}/${await this.#id()}`;
    return { kind: this.kind, name, currentVersion: currentVersionOf(key) };
  }

  async wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap> {
    const dataKey = this.#context.ids.randomBytes(dataKeyBytes);
    try {
      const answer = await this.#act("wrap", "key", {
        plaintext: Buffer.from(dataKey).toString("base64"),
        ...this.#aad(additionalData),
      });
      const sealed = sealUnder(dataKey, plaintext, additionalData, this.#context.ids);
      return this.#wrapOf(answer, "keyVersion", sealed);
    } finally {
      dataKey.fill(0);
    }
  }

  async unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap> {
    const { ciphertext, sealed } = decodeWrapped(blob);
    const answer = await this.#act("unwrap", "ciphertext", {
      ciphertext,
      ...this.#aad(additionalData),
    });
    const dataKey = Buffer.from(textOf(answer, "plaintext") ?? "", "base64");
    try {
      const plaintext = openUnder(dataKey, sealed, additionalData);
      const unwrapped = { plaintext, version: versionIn(answer, "keyVersion") };
      if (textOf(answer, "ciphertext") === undefined) return unwrapped;
      return { ...unwrapped, rewrapped: this.#wrapOf(answer, "rewrappedKeyVersion", sealed) };
    } finally {
      dataKey.fill(0);
    }
  }

  async rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined> {
    // HPCS would rewrap anything under the new version, so unwrap it here, which verifies the seal.
    if (this.kind === "hpcs") {
      const { plaintext, rewrapped } = await this.unwrap(blob, additionalData);
      plaintext.fill(0);
      return rewrapped;
    }
    const { ciphertext, sealed } = decodeWrapped(blob);
    const aad = this.#aad(additionalData);
    const answer = await this.#act("rewrap", "ciphertext", { ciphertext, ...aad });
    const before = versionIn(answer, "keyVersion");
    if (versionIn(answer, "rewrappedKeyVersion") === before) return undefined;
    return this.#wrapOf(answer, "rewrappedKeyVersion", sealed);
  }

  async rootKeys(): Promise<readonly RootKey[]> {
    return await listRootKeys(this.#client);
  }

  async validate(): Promise<void> {
    const key = await this.#metadata();
    const wrong = keyState(key);
    if (wrong !== undefined) throw new RootOfTrustError(wrong.failure, this.#says(wrong.says));
    if (this.#settings.role === "manager") await this.#checkManager();
    this.#warnOfExpiry(key);
    // An expired key still unwraps. Refusing that would lose every key on the expiry date.
    if (!isExpired(key)) await this.probe();
  }

  async probe(): Promise<void> {
    const { ids } = this.#context;
    const [sample, additionalData] = [ids.randomBytes(32), ids.randomBytes(16)];
    const { blob } = await this.wrap(sample, additionalData);
    const { plaintext } = await this.unwrap(blob, additionalData);
    if (plaintext.length === sample.length && timingSafeEqual(sample, plaintext)) return;
    throw new SealBroken("the root key does not open what it wrapped");
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  /** A Manager may read the instance's policies, a Writer may not, and reading changes nothing. */
  async #checkManager(): Promise<void> {
    const call = { action: "instancePolicies", about: "instance", method: "GET" } as const;
    try {
      await this.#client.call({ ...call, path: "/instance/policies" });
    } catch (error) {
      if (!(error instanceof RootOfTrustError) || error.failure !== "denied") throw error;
      const message = this.#says("the service ID lacks the service role Manager on the instance");
      throw new RootOfTrustError("denied", message, { cause: error });
    }
  }

  /** Warns once per distinct message, so once a day while the date approaches. */
  #warnOfExpiry(key: JsonRecord): void {
    const warning = expiryWarning(key, this.#context.clock.wallMs());
    if (warning !== undefined && warning !== this.#warned) {
      this.#context.observe({ type: "warning", message: this.#says(warning) });
    }
    this.#warned = warning;
  }

  #says(what: string): string {
    return `${this.kind} ${this.#settings.instanceId}: ${what}`;
  }

  async #act(
    action: "wrap" | "unwrap" | "rewrap",
    about: "key" | "ciphertext",
    body: JsonRecord,
  ): Promise<JsonRecord> {
    const path = `/keys/${await this.#id()}/actions/${action}`;
    return await this.#client.call({ action, about, method: "POST", path, body });
  }

  /** HPCS has no `aad`: only the seal under the data key binds the additional data there. Key Protect has both. */
  #aad(additionalData: Uint8Array): JsonRecord {
    return this.kind === "hpcs" ? {} : { aad: aadOf(additionalData) };
  }

  #wrapOf(answer: JsonRecord, version: string, sealed: Uint8Array): RootWrap {
    const ciphertext = textOf(answer, "ciphertext") ?? "";
    const blob = encodeWrapped({ ciphertext, sealed });
    if (blob !== undefined) return { blob, version: versionIn(answer, version) };
    throw new RootOfTrustError("unavailable", this.#says("its answer is not a wrapped key"));
  }

  async #id(): Promise<string> {
    if (this.#keyId === undefined) await this.#metadata();
    if (this.#keyId === undefined) {
      throw new RootOfTrustError("unavailable", this.#says("its answer names no root key"));
    }
    return this.#keyId;
  }

  async #metadata(): Promise<JsonRecord> {
    const rootKey = this.#keyId ?? this.#settings.rootKey;
    if (rootKey === undefined) {
      throw new RootOfTrustError("denied", this.#says("no root key is named"));
    }
    const call = { action: "metadata", about: "key", method: "GET" } as const;
    const key = keyOf(await this.#client.call({ ...call, path: `/keys/${rootKey}/metadata` }));
    this.#keyId ??= textOf(key, "id");
    return key;
  }
}

/** The API of 2019 has no versions: there every version is 1. */
function versionIn(answer: JsonRecord, field: string): string {
  const version = answer[field];
  return (isRecord(version) ? textOf(version, "id") : undefined) ?? "1";
}
