import { createCipheriv, createDecipheriv } from "node:crypto";
import { RootOfTrustError, SealBroken } from "../../base/errors.ts";
import type { Ids } from "../../base/ids.ts";
import type { RootKey, RootOfTrust, RootOfTrustFailure, RootUnwrap } from "../../ports/keys.ts";

/** A root of trust in memory that fails and rotates on demand, for tests. */
export class MemoryRootOfTrust implements RootOfTrust {
  readonly kind = "memory";
  readonly #ids: Ids;
  readonly #name: string;
  readonly #keys: Uint8Array[] = [];
  #failure: RootOfTrustFailure | undefined;
  #closed = false;

  constructor(ids: Ids, name = "memory") {
    this.#ids = ids;
    this.#name = name;
    this.rotate();
  }

  /** Makes every use fail like this from now on; undefined ends it. */
  fail(failure: RootOfTrustFailure | undefined): void {
    this.#failure = failure;
  }

  /** Makes a new version of the root key. */
  rotate(): void {
    this.#keys.push(this.#ids.randomBytes(32));
  }

  /** Deletes a version of the root key. */
  forget(version: string): void {
    this.#keys[Number(version) - 1] = this.#ids.randomBytes(32);
  }

  async describe() {
    this.#check();
    return { kind: this.kind, name: this.#name, currentVersion: String(this.#keys.length) };
  }

  async wrap(plaintext: Uint8Array, additionalData: Uint8Array) {
    this.#check();
    const version = this.#keys.length;
    const nonce = this.#ids.randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", this.#keys[version - 1] ?? nonce, nonce);
    cipher.setAAD(additionalData);
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
    const blob = Buffer.concat([Buffer.of(version), nonce, cipher.getAuthTag(), ciphertext]);
    return { blob, version: String(version) };
  }

  async unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap> {
    this.#check();
    const version = blob[0] ?? 0;
    const key = this.#keys[version - 1];
    if (key === undefined || blob.length < 29) throw new SealBroken("not a blob of this root");
    const decipher = createDecipheriv("aes-256-gcm", key, blob.subarray(1, 13));
    decipher.setAAD(additionalData);
    decipher.setAuthTag(blob.subarray(13, 29));
    const plaintext = decipher.update(blob.subarray(29));
    try {
      decipher.final();
    } catch (cause) {
      throw new SealBroken("the blob does not authenticate", { cause });
    }
    if (version === this.#keys.length) return { plaintext, version: String(version) };
    const rewrapped = await this.wrap(plaintext, additionalData);
    return { plaintext, version: String(version), rewrapped };
  }

  async rewrap(blob: Uint8Array, additionalData: Uint8Array) {
    const { plaintext, rewrapped } = await this.unwrap(blob, additionalData);
    plaintext.fill(0);
    return rewrapped;
  }

  async rootKeys(): Promise<readonly RootKey[]> {
    const { name, currentVersion } = await this.describe();
    return [{ id: name, name, aliases: [], state: "Active", usable: true, currentVersion }];
  }

  async validate(): Promise<void> {
    this.#check();
  }

  async probe(): Promise<void> {
    this.#check();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #check(): void {
    if (this.#closed) throw new RootOfTrustError("unavailable", "the root of trust is closed");
    if (this.#failure !== undefined) throw new RootOfTrustError(this.#failure, "as the test said");
  }
}
