import { timingSafeEqual } from "node:crypto";
import type { RootKey, RootUnwrap, RootWrap } from "@holdfast/engine";
import { authenticated, parseBlob, printBlob } from "./blob.ts";
import { BlobBroken, TokenFailure } from "./faults.ts";
import type { TokenOperations } from "./messages.ts";
import type { Handle } from "./native.ts";
import type { Token } from "./token.ts";
import { findRootKeys, type KeyPair, type RootKeyVersions, rootKeyOf } from "./token-keys.ts";

const keyBytes = 32;
const macBytes = 32;
/** The maximum length that a block cipher's padding adds. */
const blockBytes = 16;
/** How long an unwrap relies on the last look-up; whatever names or uses the newest version always looks again. */
const lookAgainMs = 1_000;
/** The oldest version signs this text; the result identifies a root key and reveals nothing about it. */
const identityText = Buffer.from("holdfast root key", "ascii");

interface Known {
  readonly epoch: number;
  readonly atMs: number;
  readonly versions: RootKeyVersions;
}

/** A root of trust's operations on a token, for one call and with that call's PIN. */
export class TokenRoot implements TokenOperations {
  readonly #token: Token;
  readonly #monotonicMs: () => number;
  readonly #known: Map<string, Known>;
  readonly #pin: string;

  constructor(
    token: Token,
    monotonicMs: () => number,
    pin = "",
    known: Map<string, Known> = new Map(),
  ) {
    this.#token = token;
    this.#monotonicMs = monotonicMs;
    this.#known = known;
    this.#pin = pin;
  }

  /** The same token with the PIN of another call. */
  withPin(pin: string): TokenRoot {
    return new TokenRoot(this.#token, this.#monotonicMs, pin, this.#known);
  }

  async describe(
    rootKey: string,
  ): Promise<{ readonly identity: string; readonly version: number }> {
    return await this.#use(async (session) => {
      const versions = this.#look(session, rootKey);
      const [oldest, newest] = [versions.pairs[0], newestOf(versions)];
      const mac = await this.#sign(session, (oldest ?? newest).mac, identityText);
      return { identity: mac.toString("hex", 0, 8), version: newest.version };
    });
  }

  async wrap(
    rootKey: string,
    plaintext: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootWrap> {
    return await this.#use((session) => {
      const pair = newestOf(this.#look(session, rootKey));
      return this.#wrapUnder(session, pair, { plaintext, additionalData, iv });
    });
  }

  async unwrap(
    rootKey: string,
    blob: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootUnwrap> {
    const parts = parseBlob(blob);
    return await this.#use(async (session) => {
      const versions = this.#recent(session, rootKey, parts.version);
      const pair = versionIn(versions, parts.version);
      const mac = await this.#sign(session, pair.mac, authenticated(parts, additionalData));
      if (mac.length !== parts.mac.length || !timingSafeEqual(mac, parts.mac)) {
        throw new BlobBroken("a wrapped key does not authenticate");
      }
      const plaintext = await this.#decrypt(session, pair.cipher, parts);
      const answer = { plaintext, version: String(parts.version) };
      const newest = newestOf(versions);
      if (newest.version === parts.version) return answer;
      const again = { plaintext, additionalData, iv };
      return { ...answer, rewrapped: await this.#wrapUnder(session, newest, again) };
    });
  }

  async rewrap(
    rootKey: string,
    blob: Uint8Array,
    additionalData: Uint8Array,
    iv: Uint8Array,
  ): Promise<RootWrap | undefined> {
    await this.describe(rootKey);
    const { plaintext, rewrapped } = await this.unwrap(rootKey, blob, additionalData, iv);
    plaintext.fill(0);
    return rewrapped;
  }

  async rootKeys(): Promise<readonly RootKey[]> {
    return await this.#use(async (session) =>
      findRootKeys(this.#token.library, session).map(rootKeyOf),
    );
  }

  async check(rootKey: string): Promise<void> {
    const { CKM_AES_CBC_PAD, CKM_SHA256_HMAC } = this.#token.library.native;
    await this.#use(async (session) => {
      newestOf(this.#look(session, rootKey));
      const offered = this.#token.mechanisms();
      if (!offered.has(CKM_AES_CBC_PAD) || !offered.has(CKM_SHA256_HMAC)) {
        throw new TokenFailure(
          "unavailable",
          `token ${this.#token.label} lacks CKM_AES_CBC_PAD or CKM_SHA256_HMAC`,
        );
      }
    });
  }

  async addVersion(rootKey: string, first: boolean): Promise<number> {
    return await this.#use(async (session) => {
      const before = this.#find(session, rootKey);
      if (first && before.highest > 0) {
        throw new TokenFailure(
          "denied",
          `token ${this.#token.label} has a root key ${rootKey} already; it is kept`,
        );
      }
      if (!first) newestOf(before);
      const version = before.highest + 1;
      const made = this.#generate(session, rootKey, version);
      const after = this.#find(session, rootKey);
      if (after.ambiguous.includes(version)) {
        for (const handle of made) this.#token.library.calls.C_DestroyObject(session, handle);
        throw new TokenFailure(
          "unavailable",
          `another caller created version ${version} of root key ${rootKey} at the same time: check the token and try again`,
        );
      }
      return version;
    });
  }

  async #use<Result>(body: (session: Handle) => Promise<Result>): Promise<Result> {
    return await this.#token.withSession(this.#pin, body);
  }

  #find(session: Handle, rootKey: string): RootKeyVersions {
    const [found] = findRootKeys(this.#token.library, session, rootKey);
    return found ?? { label: rootKey, pairs: [], ambiguous: [], highest: 0 };
  }

  #look(session: Handle, rootKey: string): RootKeyVersions {
    const { epoch } = this.#token;
    const versions = this.#find(session, rootKey);
    this.#known.set(rootKey, { epoch, atMs: this.#monotonicMs(), versions });
    return versions;
  }

  #recent(session: Handle, rootKey: string, version: number): RootKeyVersions {
    const known = this.#known.get(rootKey);
    const fresh =
      known !== undefined &&
      known.epoch === this.#token.epoch &&
      this.#monotonicMs() - known.atMs < lookAgainMs &&
      known.versions.pairs.some((pair) => pair.version === version);
    return fresh ? known.versions : this.#look(session, rootKey);
  }

  async #wrapUnder(
    session: Handle,
    { version, cipher, mac }: KeyPair,
    given: {
      readonly plaintext: Uint8Array;
      readonly additionalData: Uint8Array;
      readonly iv: Uint8Array;
    },
  ): Promise<RootWrap> {
    const { calls, native } = this.#token.library;
    const [plaintext, iv] = [bufferOf(given.plaintext), bufferOf(given.iv)];
    calls.C_EncryptInit(session, { mechanism: native.CKM_AES_CBC_PAD, parameter: iv }, cipher);
    const room = Buffer.alloc(plaintext.length + blockBytes);
    const ciphertext = Buffer.from(await calls.C_EncryptAsync(session, plaintext, room));
    const parts = { version, iv, ciphertext };
    const signed = await this.#sign(session, mac, authenticated(parts, given.additionalData));
    return { blob: printBlob({ ...parts, mac: signed }), version: String(version) };
  }

  async #decrypt(
    session: Handle,
    key: Handle,
    { iv, ciphertext }: { readonly iv: Buffer; readonly ciphertext: Buffer },
  ): Promise<Uint8Array> {
    const { calls, native } = this.#token.library;
    calls.C_DecryptInit(session, { mechanism: native.CKM_AES_CBC_PAD, parameter: iv }, key);
    const room = Buffer.alloc(ciphertext.length + blockBytes);
    const plaintext = await calls.C_DecryptAsync(session, ciphertext, room);
    const copy = Uint8Array.from(plaintext);
    room.fill(0);
    return copy;
  }

  async #sign(session: Handle, key: Handle, data: Buffer): Promise<Buffer> {
    const { calls, native } = this.#token.library;
    calls.C_SignInit(session, { mechanism: native.CKM_SHA256_HMAC }, key);
    return Buffer.from(await calls.C_SignAsync(session, data, Buffer.alloc(macBytes)));
  }

  /** Creates the HMAC key and the AES key of a version, which never leave the token. */
  #generate(session: Handle, label: string, version: number): readonly Handle[] {
    const { calls, native } = this.#token.library;
    const id = Buffer.alloc(4);
    id.writeUInt32BE(version);
    const common = [
      { type: native.CKA_CLASS, value: native.CKO_SECRET_KEY },
      { type: native.CKA_TOKEN, value: true },
      { type: native.CKA_PRIVATE, value: true },
      { type: native.CKA_SENSITIVE, value: true },
      { type: native.CKA_EXTRACTABLE, value: false },
      { type: native.CKA_LABEL, value: label },
      { type: native.CKA_ID, value: id },
      { type: native.CKA_VALUE_LEN, value: keyBytes },
    ];
    const mac = calls.C_GenerateKey(session, { mechanism: native.CKM_GENERIC_SECRET_KEY_GEN }, [
      ...common,
      { type: native.CKA_KEY_TYPE, value: native.CKK_GENERIC_SECRET },
      { type: native.CKA_SIGN, value: true },
      { type: native.CKA_VERIFY, value: true },
    ]);
    const cipher = calls.C_GenerateKey(session, { mechanism: native.CKM_AES_KEY_GEN }, [
      ...common,
      { type: native.CKA_KEY_TYPE, value: native.CKK_AES },
      { type: native.CKA_ENCRYPT, value: true },
      { type: native.CKA_DECRYPT, value: true },
    ]);
    return [mac, cipher];
  }
}

function newestOf({ label, pairs, ambiguous }: RootKeyVersions): KeyPair {
  const newest = pairs.at(-1);
  if (newest !== undefined) return newest;
  if (ambiguous.length > 0) throw twice(label, ambiguous[0] ?? 0);
  throw new TokenFailure("gone", `root key ${label} is not in the token`);
}

function versionIn(versions: RootKeyVersions, version: number): KeyPair {
  const { label, pairs, ambiguous } = versions;
  const found = pairs.find((pair) => pair.version === version);
  if (found !== undefined) return found;
  if (ambiguous.includes(version)) throw twice(label, version);
  const newest = newestOf(versions).version;
  // An outdated copy of a token can be updated while the node continues within its grace time.
  if (version > newest) {
    throw new TokenFailure(
      "unavailable",
      `root key ${label}: version ${version} is needed, but the newest in this token is ${newest}; copy the newer one to it`,
    );
  }
  throw new TokenFailure("gone", `root key ${label}: version ${version} is not in the token`);
}

function twice(label: string, version: number): TokenFailure {
  return new TokenFailure(
    "unavailable",
    `root key ${label} has version ${version} twice in the token: delete the one that is not in use`,
  );
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
