import { createDecipheriv, createHash, randomBytes, timingSafeEqual } from "node:crypto";
import {
  attributeItem,
  type KeyBlock,
  keyBlockOf,
  masks,
  type ObjectTypeName,
  objectItem,
  plainKeyOf,
  type Request,
  tags,
  within,
  withKeyBlock,
} from "@holdfast/kmip";
import { byteString, decode, encode, type Item, ItemType } from "@holdfast/ttlv";
import { Failure } from "../terminal/failure.ts";
import type { Peer, Refused } from "./peer.ts";

type WrappingSpecification = NonNullable<Request<"Get">["keyWrappingSpecification"]>;

/** Names of keys that this command registered to wrap others; they never move. */
const transportName = /^holdfast-transport-[\da-f-]{36}$/;
/** The initial value of RFC 3394, 2.2.3.1. */
const wrapStart = Buffer.alloc(8, 0xa6);
/** So many keys in clear, and none wrapped, show that a server does not wrap. */
const clearMax = 100;

/** Whether an object is a transport key of this or an earlier run. */
export function isTransportKey(names: readonly string[]): boolean {
  return names.some((name) => transportName.test(name));
}

/** A key that only this process and the source know; the source wraps each key with it (RFC 3394). */
export class TransportKey implements Disposable {
  readonly id: string;
  readonly #bytes: Buffer;
  readonly #specification: WrappingSpecification;
  #wrapped = 0;
  #clear = 0;

  private constructor(id: string, bytes: Buffer, peer: Peer) {
    this.id = id;
    this.#bytes = bytes;
    this.#specification = {
      wrappingMethod: "Encrypt",
      encryptionKeyInformation: {
        uniqueIdentifier: id,
        cryptographicParameters: { blockCipherMode: "NISTKeyWrap" },
      },
      attributeNames: [],
      ...(within(peer.version, "1.1") ? { encodingOption: "NoEncoding" } : {}),
    };
  }

  /** Registers a new one at the server, and makes it Active. */
  static async register(peer: Peer, newId: () => string): Promise<TransportKey> {
    const bytes = randomBytes(32);
    const name = `holdfast-transport-${newId()}`;
    const mask = masks.CryptographicUsageMask.WrapKey | masks.CryptographicUsageMask.UnwrapKey;
    const given = [
      attributeItem("CryptographicAlgorithm", "AES"),
      attributeItem("CryptographicLength", 8 * bytes.length),
      attributeItem("CryptographicUsageMask", mask),
      attributeItem("Name", { value: name, type: "UninterpretedTextString" }),
    ];
    const object = objectItem("SymmetricKey", {
      keyBlock: {
        keyFormatType: "Raw",
        keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, bytes) },
        cryptographicAlgorithm: "AES",
        cryptographicLength: 8 * bytes.length,
      },
    });
    const attributes = { attributes: given.map((item) => ({ item })), templateNames: [] };
    const { uniqueIdentifier } = await peer.call(
      (client) => client.register({ objectType: "SymmetricKey", attributes, object }),
      false,
    );
    await peer.call((client) => client.activate({ uniqueIdentifier }));
    return new TransportKey(uniqueIdentifier, bytes, peer);
  }

  /** The part of Get that asks for wrapping; objects without a Key Block cannot be wrapped. */
  get asked(): { readonly keyWrappingSpecification: WrappingSpecification } {
    return { keyWrappingSpecification: this.#specification };
  }

  /** The object with its key in clear. */
  unwrap(object: Item): Item {
    const block = keyBlockOf(object);
    if (block === undefined) return object;
    const { keyWrappingData, ...plain } = block;
    if (keyWrappingData === undefined) {
      this.#clear += 1;
      throw new Failure("it does not wrap this key, although it was asked to");
    }
    const opened = this.#opened(plain, keyWrappingData.encodingOption);
    this.#wrapped += 1;
    return withKeyBlock(object, opened);
  }

  /** Ends the work with a server that never wraps: otherwise it would send every key in clear. */
  requireWrapping(): void {
    if (this.#wrapped > 0 || this.#clear < clearMax) return;
    throw new Failure(
      `the source wrapped none of ${this.#clear} keys, although it was asked to: leave out --transport-key of \`migrate plan\` or \`migrate export\`; then only TLS protects keys on their way`,
    );
  }

  #opened(block: KeyBlock, encoding: string | undefined): KeyBlock {
    const { keyValue } = block;
    const whole = keyValue instanceof Uint8Array;
    const wrapped = whole ? keyValue : keyValue?.keyMaterial.value;
    if (!(wrapped instanceof Uint8Array)) throw new Failure("the wrapped key has no bytes");
    const bytes = this.#unwrapped(wrapped);
    const material = whole && encoding !== "NoEncoding" ? materialIn(bytes) : bytes;
    return { ...block, keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, material) } };
  }

  #unwrapped(wrapped: Uint8Array): Uint8Array {
    const cipher = createDecipheriv("id-aes256-wrap", this.#bytes, wrapStart);
    try {
      const plain = cipher.update(wrapped);
      cipher.final();
      return plain;
    } catch {
      throw new Failure("it wrapped the key in another way than it was asked to (RFC 3394)");
    }
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0);
  }
}

/** The Key Material of an encoded Key Value. */
function materialIn(bytes: Uint8Array): Uint8Array {
  const value = decode(bytes);
  const material =
    value.type === ItemType.Structure
      ? value.value.find(({ tag }) => tag === tags.KeyMaterial.tag)
      : undefined;
  if (material?.type === ItemType.ByteString) return material.value;
  throw new Failure("the wrapped key has no bytes");
}

const withoutKeyBlock: readonly ObjectTypeName[] = [
  "Certificate",
  "OpaqueObject",
  "Template",
  "CertificateRequest",
];

/** The object from the server in clear, wrapped on its way if there is a transport key. */
export async function fetched(
  peer: Peer,
  id: string,
  type: ObjectTypeName,
  transport: TransportKey | undefined,
): Promise<Item | Refused> {
  if (transport === undefined || withoutKeyBlock.includes(type)) return await peer.object(id, type);
  transport.requireWrapping();
  const wrapped = await peer.object(id, type, transport.asked);
  if ("refused" in wrapped) return wrapped;
  try {
    const object = transport.unwrap(wrapped);
    const block = keyBlockOf(object);
    // Throws if the bytes do not fit the key's format.
    if (block !== undefined) plainKeyOf(block);
    return object;
  } catch (error) {
    // It may be the key in clear, and other errors may quote bytes of it. The next object may be wrapped as it should be.
    wipe(wrapped);
    const refused = error instanceof Failure ? error.message : "the wrapped key cannot be read";
    return { id, refused, gone: false };
  }
}

/** The hash of a shorter key would help to guess it. */
const digestBytesMin = 14;

/** SHA-256 of a symmetric key's bytes, as KMIP's Digest has it; undefined for short keys and all other objects. */
export function digestOf(object: Item): string | undefined {
  if (object.tag !== tags.SymmetricKey.tag) return undefined;
  const block = keyBlockOf(object);
  const key = block === undefined ? undefined : plainKeyOf(block);
  return key === undefined || key.length < digestBytesMin
    ? undefined
    : createHash("sha256").update(key).digest("hex");
}

/** Whether two objects hold the same key or data. Their formats may differ. */
export function isSame(one: Item, other: Item): boolean {
  if (one.tag !== other.tag) return false;
  const [first, second] = [contentOf(one), contentOf(other)];
  return first.length === second.length && timingSafeEqual(first, second);
}

function contentOf(object: Item): Uint8Array {
  const block = keyBlockOf(object);
  const key = block === undefined ? undefined : plainKeyOf(block);
  // A hash, so that no second copy of the object remains.
  return createHash("sha256")
    .update(key ?? encodedOnce(object))
    .digest();
}

function encodedOnce(object: Item): Uint8Array {
  const bytes = encode(object);
  const hashed = createHash("sha256").update(bytes).digest();
  bytes.fill(0);
  return hashed;
}

/** Overwrites every byte string of an object. Nothing else may use the object afterwards. */
export function wipe(object: Item | Refused): void {
  if ("refused" in object) return;
  if (object.type === ItemType.Structure) object.value.forEach(wipe);
  else if (object.value instanceof Uint8Array) object.value.fill(0);
}
