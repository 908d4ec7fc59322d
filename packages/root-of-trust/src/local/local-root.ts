import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  timingSafeEqual,
} from "node:crypto";
import {
  type Clock,
  type Ids,
  type RootDescription,
  type RootKey,
  type RootOfTrust,
  RootOfTrustError,
  type RootUnwrap,
  type RootWrap,
  SealBroken,
} from "@holdfast/engine";
import {
  appendRootKey,
  createRootKeys,
  fingerprintOf,
  type KeyFile,
  nameOf,
  type RootKeys,
  type RootKeyVersion,
  readRootKeys,
  rootKeyBytes,
  zeroKeys,
} from "./root-key-file.ts";

const algorithm = "aes-256-gcm";
/** First bytes of every blob; they identify the scheme. The version of the root key follows. */
const scheme = Buffer.from("HFL1", "ascii");
const headerBytes = scheme.length + 4;
const nonceBytes = 12;
const tagBytes = 16;

/** The sources of a new root key and its date. */
export interface LocalRootSources {
  readonly clock: Clock;
  readonly ids: Ids;
}

/** Creates a file with the first version of a root key, mode 0600; refuses to replace an existing file. */
export async function createLocalRoot(
  file: string | KeyFile,
  sources: LocalRootSources,
): Promise<void> {
  const first = newVersion(1, sources);
  await createRootKeys(keyFile(file), first, sources.ids).finally(() => zeroKeys([first]));
}

/** Adds a version of the root key, which wraps from now on; older ones still unwrap. Returns its number. */
export async function rotateLocalRoot(
  file: string | KeyFile,
  sources: LocalRootSources,
): Promise<number> {
  const made: RootKeyVersion[] = [];
  const next = (newest: RootKeyVersion) => {
    const version = newVersion(newest.version + 1, sources);
    made.push(version);
    return version;
  };
  await appendRootKey(keyFile(file), next, sources.ids).finally(() => zeroKeys(made));
  return made[0]?.version ?? 0;
}

/** Opens a local root of trust; rejects with what is wrong with its file. */
export async function openLocalRoot(file: string | KeyFile, ids: Ids): Promise<LocalRoot> {
  const path = keyFile(file);
  return new LocalRoot(path, ids, await readRootKeys(path));
}

function keyFile(file: string | KeyFile): KeyFile {
  return typeof file === "string" ? { path: file } : file;
}

function newVersion(version: number, { clock, ids }: LocalRootSources): RootKeyVersion {
  const created = new Date(clock.wallMs()).toISOString();
  return { version, created, key: ids.randomBytes(rootKeyBytes) };
}

/** Wraps with AES-256-GCM under the newest key of a file. Reads the file again after it was replaced. */
export class LocalRoot implements RootOfTrust {
  readonly kind = "local";
  readonly #file: KeyFile;
  readonly #ids: Ids;
  /** Never keep these in a variable across an await: a reload zeroes the keys that it replaces. */
  #keys: RootKeys | undefined;
  #reloading: Promise<void> | undefined;
  #refused: { readonly tried: string; readonly error: RootOfTrustError } | undefined;
  #closed = false;

  constructor(file: KeyFile, ids: Ids, keys: RootKeys) {
    this.#file = file;
    this.#ids = ids;
    this.#keys = keys;
  }

  async describe(): Promise<RootDescription> {
    await this.#reload();
    const currentVersion = String(this.#newest().version);
    return { kind: this.kind, name: `local ${this.#identity()}`, currentVersion };
  }

  async wrap(plaintext: Uint8Array, additionalData: Uint8Array): Promise<RootWrap> {
    await this.#reload();
    return this.#wrapNow(plaintext, additionalData);
  }

  async unwrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootUnwrap> {
    await this.#reload();
    const version = versionOf(blob);
    const plaintext = decrypt(this.#version(version).key, blob, additionalData);
    const answer = { plaintext, version: String(version) };
    if (version === this.#newest().version) return answer;
    return { ...answer, rewrapped: this.#wrapNow(plaintext, additionalData) };
  }

  async rewrap(blob: Uint8Array, additionalData: Uint8Array): Promise<RootWrap | undefined> {
    const { plaintext, rewrapped } = await this.unwrap(blob, additionalData);
    plaintext.fill(0);
    return rewrapped;
  }

  async rootKeys(): Promise<readonly RootKey[]> {
    const { name, currentVersion } = await this.describe();
    const createdMs = Date.parse(this.#keys?.versions[0]?.created ?? "");
    return [
      {
        id: name,
        name,
        aliases: [],
        state: "Active",
        usable: true,
        currentVersion,
        ...(!Number.isNaN(createdMs) && { createdMs }),
      },
    ];
  }

  async validate(): Promise<void> {
    await this.probe();
  }

  async probe(): Promise<void> {
    const [sample, additionalData] = [this.#ids.randomBytes(32), this.#ids.randomBytes(16)];
    const { blob } = await this.wrap(sample, additionalData);
    const { plaintext } = await this.unwrap(blob, additionalData);
    if (!timingSafeEqual(sample, plaintext))
      throw new SealBroken("the root key does not open what it wrapped");
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#forget();
  }

  /** A passphrase check is expensive by design, so a refused one is not tried again with the same file. */
  async #read(fingerprint: string): Promise<RootKeys> {
    const text = await this.#file.passphrase?.().catch(() => undefined);
    if (text === undefined) return await readRootKeys(this.#file);
    const tried = createHash("sha256").update(`${fingerprint}\0${text}`).digest("hex");
    if (this.#refused?.tried === tried) throw this.#refused.error;
    return await readRootKeys(this.#file).catch((error: unknown) => {
      if (error instanceof RootOfTrustError && error.failure === "denied") {
        this.#refused = { tried, error };
      }
      throw error;
    });
  }

  #forget(): void {
    zeroKeys(this.#keys?.versions ?? []);
    this.#keys = undefined;
  }

  async #reload(): Promise<void> {
    if (this.#closed) throw this.#failure("unavailable", "closed");
    this.#reloading ??= this.#reloadNow().finally(() => {
      this.#reloading = undefined;
    });
    await this.#reloading;
  }

  async #reloadNow(): Promise<void> {
    try {
      const fingerprint = await fingerprintOf(this.#file);
      if (fingerprint === this.#keys?.fingerprint) return;
      const keys = await this.#read(fingerprint);
      this.#forget();
      if (this.#closed) zeroKeys(keys.versions);
      else this.#keys = keys;
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  /** Identifies a root key and reveals nothing about it. It is stored with each wrap, and new versions keep it. */
  #identity(): string {
    const key = this.#keys?.versions[0]?.key ?? this.#newest().key;
    return createHmac("sha256", key).update("holdfast root key").digest("hex").slice(0, 16);
  }

  #newest(): RootKeyVersion {
    const newest = this.#keys?.versions.at(-1);
    if (newest === undefined) throw this.#failure("unavailable", "its keys are being read again");
    return newest;
  }

  #version(version: number): RootKeyVersion {
    const found = this.#keys?.versions.find((known) => known.version === version);
    if (found !== undefined) return found;
    const newest = this.#newest().version;
    // A node with an older copy of the file keeps its open keys for the grace time, until it has the newer file.
    if (version > newest) {
      const mend = "copy the newer file to this node";
      throw this.#failure(
        "unavailable",
        `version ${version} is needed, but the newest is ${newest}; ${mend}`,
      );
    }
    throw this.#failure("gone", `version ${version} is no longer in it`);
  }

  #failure(failure: "unavailable" | "gone", what: string): RootOfTrustError {
    return new RootOfTrustError(failure, `${nameOf(this.#file)}: ${what}`);
  }

  #wrapNow(plaintext: Uint8Array, additionalData: Uint8Array) {
    const { version, key } = this.#newest();
    const header = Buffer.alloc(headerBytes);
    scheme.copy(header);
    header.writeUInt32BE(version, scheme.length);
    const nonce = this.#ids.randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
    cipher.setAAD(Buffer.concat([header, additionalData]));
    const ciphertext = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
    return { blob: Buffer.concat([header, nonce, ...ciphertext]), version: String(version) };
  }
}

function versionOf(blob: Uint8Array): number {
  const ours = scheme.every((byte, at) => blob[at] === byte);
  if (!ours || blob.length < headerBytes + nonceBytes + tagBytes) {
    throw new SealBroken("not wrapped by a local root of trust");
  }
  return new DataView(blob.buffer, blob.byteOffset).getUint32(scheme.length);
}

function decrypt(key: Uint8Array, blob: Uint8Array, additionalData: Uint8Array): Uint8Array {
  const nonceEnd = headerBytes + nonceBytes;
  const nonce = blob.subarray(headerBytes, nonceEnd);
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(Buffer.concat([blob.subarray(0, headerBytes), additionalData]));
  decipher.setAuthTag(blob.subarray(-tagBytes));
  const plaintext = decipher.update(blob.subarray(nonceEnd, -tagBytes));
  try {
    decipher.final();
  } catch (cause) {
    plaintext.fill(0);
    throw new SealBroken("a wrapped key does not authenticate", { cause });
  }
  return plaintext;
}
