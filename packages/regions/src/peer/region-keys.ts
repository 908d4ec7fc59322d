import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from "node:crypto";

/** Public keys of the other region, at most: while one is being replaced, the old and the new one. */
export const peerKeysMax = 2;

const curve = "prime256v1";
const [idBytes, scalarBytes] = [32, 32];
const proofBytes = 32;
const magic = Buffer.from("HFLINK1\n");
/** A proof of the region key: magic, the key's identifier, and a MAC for each key that the other side may have. */
export const linkProofBytes: number = magic.length + idBytes + peerKeysMax * proofBytes;

const algorithm = "aes-256-gcm";
const tagBytes = 16;
const [keyBytes, nonceBytes] = [32, 12];
/** An ephemeral P-256 key as SubjectPublicKeyInfo (DER). */
const ephemeralBytes = 91;

/** What both ends of a connection know about it. */
export interface LinkEnds {
  readonly client: { readonly region: string; readonly fingerprint: string };
  readonly server: { readonly region: string; readonly fingerprint: string };
  /** The exporter of the TLS session (RFC 9266). */
  readonly exporter: Uint8Array;
}

/** What an answered KEK is bound to. */
export interface KekBinding {
  readonly instance: string;
  readonly kekId: string;
  /** The region that asks. */
  readonly asking: string;
}

/** The other side's region key, which it has proven (lower-case hex of its name); or what is wrong with the proof. */
export type LinkCheck =
  | { readonly key: string }
  | {
      readonly fault: string;
      /** It sent nothing before it closed the connection, as a node does that refuses this one. */
      readonly cut?: true;
    };

/** A key of the other region. */
interface PeerKey {
  readonly id: Buffer;
  readonly key: KeyObject;
  /** Known to the two regions alone. */
  readonly secret: Buffer;
}

/** Reads a region key: PEM, PKCS#8, ECDH on P-256. Throws an Error whose message continues "the file …". */
export function readRegionKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new Error("holds no usable private key in PEM", { cause });
  }
  if (!onCurve(key)) throw new Error("holds a key that is not an EC key on P-256");
  return key;
}

/** Reads the public half of a region key: PEM. Throws an Error whose message continues "the file …". */
export function readPeerKey(pem: string): KeyObject {
  // Node would take a private key or a certificate here, too.
  if (/PRIVATE KEY/.test(pem)) {
    throw new Error(
      "holds a private key: give the public half, as `holdfast region-key show` prints it in the other region",
    );
  }
  if (!/-----BEGIN PUBLIC KEY-----/.test(pem)) throw new Error("holds no public key in PEM");
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw new Error("holds no usable public key in PEM", { cause });
  }
  if (!onCurve(key)) throw new Error("holds a key that is not an EC key on P-256");
  return key;
}

/** Makes a region key: PEM, PKCS#8. */
export function makeRegionKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** A region key's public half, PEM. */
export function publicHalf(key: KeyObject): string {
  return createPublicKey(key).export({ type: "spki", format: "pem" }).toString();
}

/** SHA-256 of a key's public half (SubjectPublicKeyInfo), lower-case hex. */
export function regionKeyId(key: KeyObject): string {
  return idOf(key).toString("hex");
}

/** A region's own key and the public keys of the other region: proves the link, and seals KEKs. */
export class RegionKeys {
  readonly #own: KeyObject;
  /** What keys of `localMac` are derived from. */
  readonly #local: KeyObject;
  readonly #id: Buffer;
  readonly #peers: readonly PeerKey[];

  /** Throws an Error with one line if the keys cannot be used together. */
  constructor(own: KeyObject, peers: readonly KeyObject[]) {
    this.#own = own;
    this.#local = scalarOf(own);
    this.#id = idOf(own);
    if (peers.length === 0) throw new Error("no key of the other region is given");
    if (peers.length > peerKeysMax) throw new Error(`more than ${peerKeysMax} keys are given`);
    this.#peers = peers.map((key) => {
      const id = idOf(key);
      if (id.equals(this.#id)) throw new Error("this region's own key is given");
      const shared = diffieHellman({ privateKey: own, publicKey: key });
      const secret = derived(shared, "holdfast-link-1", proofBytes);
      shared.fill(0);
      return { id, key, secret };
    });
  }

  /** The own key's name: SHA-256 of its public half. */
  get id(): Uint8Array {
    return this.#id;
  }

  /** A MAC that only this region's nodes can make, for what they keep in their own store. */
  localMac(purpose: string, data: string): Buffer {
    const key = derived(this.#local, `holdfast-local-1 ${purpose}`, proofBytes);
    const mac = createHmac("sha256", key).update(data).digest();
    key.fill(0);
    return mac;
  }

  /** What this side sends first: it proves that the side holds its region's key. */
  prove(role: "client" | "server", ends: LinkEnds): Buffer {
    const proofs = Array.from({ length: peerKeysMax }, (_, at) => {
      const peer = this.#peers[at];
      return peer === undefined ? Buffer.alloc(proofBytes) : proof(peer.secret, role, ends);
    });
    return Buffer.concat([magic, this.#id, ...proofs]);
  }

  /** Checks what a side that has this role sent. */
  check(role: "client" | "server", ends: LinkEnds, sent: Uint8Array): LinkCheck {
    const bytes = Buffer.from(sent.buffer, sent.byteOffset, sent.byteLength);
    if (bytes.length === 0) {
      return { fault: "it closed the connection before it proved its region key", cut: true };
    }
    if (bytes.length !== linkProofBytes || !bytes.subarray(0, magic.length).equals(magic)) {
      return { fault: "it does not prove a region key" };
    }
    const id = bytes.subarray(magic.length, magic.length + idBytes);
    const key = id.toString("hex");
    const peer = this.#named(id);
    if (peer === undefined) return { fault: `its region key ${key} is not in peer.keys` };
    const wanted = proof(peer.secret, role, ends);
    for (let at = magic.length + idBytes; at < bytes.length; at += proofBytes) {
      if (timingSafeEqual(bytes.subarray(at, at + proofBytes), wanted)) return { key };
    }
    return {
      fault: `it does not hold the region key ${key}, or its peer.keys lacks this region's key`,
    };
  }

  /** Whether a KEK can be sealed to the key of this name. */
  knows(id: Uint8Array): boolean {
    return this.#named(id) !== undefined;
  }

  /** Seals a KEK to the other region's key of this name, by a key that is used once. */
  seal(id: Uint8Array, binding: KekBinding, kek: Uint8Array): Uint8Array {
    const peer = this.#named(id);
    if (peer === undefined) throw new RangeError("the key is not in peer.keys");
    const once = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const ephemeral = once.publicKey.export({ type: "spki", format: "der" });
    const shared = diffieHellman({ privateKey: once.privateKey, publicKey: peer.key });
    const { key, nonce, data } = sealing(shared, ephemeral, peer.id, binding);
    try {
      const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
      cipher.setAAD(data);
      const sealed = [cipher.update(kek), cipher.final(), cipher.getAuthTag()];
      return Buffer.concat([ephemeral, ...sealed]);
    } finally {
      key.fill(0);
    }
  }

  /** The inverse of `seal`, for the own key; the caller zeroes the result. Undefined for anything else. */
  open(binding: KekBinding, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length < ephemeralBytes + tagBytes) return undefined;
    const ephemeral = Buffer.from(sealed.subarray(0, ephemeralBytes));
    let key: Buffer | undefined;
    let kek: Buffer | undefined;
    try {
      const publicKey = createPublicKey({ key: ephemeral, format: "der", type: "spki" });
      if (!onCurve(publicKey)) return undefined;
      const shared = diffieHellman({ privateKey: this.#own, publicKey });
      const from = sealing(shared, ephemeral, this.#id, binding);
      key = from.key;
      const cipher = createDecipheriv(algorithm, key, from.nonce, { authTagLength: tagBytes });
      cipher.setAAD(from.data);
      cipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
      kek = cipher.update(sealed.subarray(ephemeralBytes, sealed.length - tagBytes));
      cipher.final();
      return kek;
    } catch {
      kek?.fill(0);
      return undefined;
    } finally {
      key?.fill(0);
    }
  }

  #named(id: Uint8Array): PeerKey | undefined {
    return this.#peers.find((peer) => peer.id.equals(id));
  }
}

function onCurve(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === curve;
}

/** The private scalar of a region key. */
function scalarOf(key: KeyObject): KeyObject {
  // SEC 1: the heads of the sequence, of its version (1) and of the scalar have 2 bytes each.
  const der = key.export({ type: "sec1", format: "der" });
  try {
    return createSecretKey(der.subarray(7, 7 + scalarBytes));
  } finally {
    der.fill(0);
  }
}

function idOf(key: KeyObject): Buffer {
  const half = key.type === "private" ? createPublicKey(key) : key;
  return createHash("sha256")
    .update(half.export({ type: "spki", format: "der" }))
    .digest();
}

function proof(secret: Buffer, role: "client" | "server", ends: LinkEnds): Buffer {
  const { client, server, exporter } = ends;
  const told = [role, client.region, server.region, client.fingerprint, server.fingerprint];
  const text = lengthPrefixed("holdfast-link-proof-1", told);
  return createHmac("sha256", secret).update(text).update(exporter).digest();
}

/** The key, the nonce and the bound data of a sealed KEK; zeroes the shared secret. */
function sealing(shared: Buffer, ephemeral: Buffer, to: Buffer, binding: KekBinding) {
  const { instance, kekId, asking } = binding;
  const names = [instance, kekId, asking, ephemeral.toString("hex"), to.toString("hex")];
  const data = lengthPrefixed("holdfast-kek-answer-1", names);
  const both = derived(shared, data, keyBytes + nonceBytes);
  shared.fill(0);
  return { key: both.subarray(0, keyBytes), nonce: both.subarray(keyBytes), data };
}

function derived(
  secret: Uint8Array | KeyObject,
  info: string | Uint8Array,
  length: number,
): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), bounded(info), length));
}

/** HKDF of Node takes at most 1,024 bytes of `info`. */
function bounded(info: string | Uint8Array): Buffer {
  return createHash("sha256").update(info).digest();
}

/** Joins texts so that no two lists give the same bytes. */
function lengthPrefixed(purpose: string, texts: readonly string[]): Buffer {
  return Buffer.from(texts.reduce((all, text) => `${all}${text.length}:${text}`, `${purpose}:`));
}
