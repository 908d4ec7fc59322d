import { constants, verify, type X509Certificate } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import type { X509Crl } from "@peculiar/x509";
import { publicKeyOf } from "../../base/certificates.ts";
import { type Element, elementAt, elementsIn, encoded } from "./der.ts";

/** A revocation list whose signature and form were checked (RFC 5280, 5). */
export interface Crl {
  /** The CRL number (5.2.3); undefined if it has none. */
  readonly number: bigint | undefined;
  /** Its issuing distribution point (5.2.5), hex of the DER: which part of a list it is; empty = a whole list. */
  readonly part: string;
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
  /** Serial numbers, as `serialOf` writes them. */
  readonly revoked: ReadonlySet<string>;
}

/** The largest list that is read, bytes. */
export const crlBytesMax = 20 * 1024 * 1024;
/** The most entries that are read. */
const crlEntriesMax = 500_000;
/** Everything of a list but its entries and signature, bytes. */
const restBytesMax = 64 * 1024;
/** Entries that are read before other work gets a turn. */
const perTurn = 2000;
/** How far the authority's clock may be ahead, ms. */
const aheadMs = 300_000;
/** Longer serial numbers are not issued (RFC 5280, 4.1.2.2: 20 bytes). */
const serialBytesMax = 64;

const tags = { boolean: 0x01, integer: 0x02, oid: 0x06, utcTime: 0x17, time: 0x18 } as const;
const [sequence, bitString] = [0x30, 0x03];
const oids = {
  number: "2.5.29.20",
  delta: "2.5.29.27",
  issuingDistributionPoint: "2.5.29.28",
} as const;
/** The reason of a revocation (2.5.29.21), as the bytes of its identifier; all reasons count alike. */
const reasonCode = "551d15";
const certificateIssuer = "551d1d";

const verifySignature = promisify(verify);

/** A certificate's serial number, in the one form in which it is compared: hex, without leading zeros. */
export function serialOf({ serialNumber }: Pick<X509Certificate, "serialNumber">): string {
  return serialNumber.toLowerCase().replace(/^(-?)0*(?=.)/, "$1");
}

/**
 * Reads a revocation list, PEM or DER, of an authority. Rejects with an Error of one line if it is not one that this
 * authority signed, or has something that cannot be obeyed.
 */
export async function readCrl(
  source: Uint8Array,
  authority: X509Certificate,
  nowMs: number,
): Promise<Crl> {
  if (source.length > crlBytesMax) throw new Error(`it is larger than ${crlBytesMax} bytes`);
  const bytes = derOf(source);
  const { outer, tbs, parts, entries } = frameOf(bytes);
  const rest = await shellOf(bytes, outer, tbs, entries);
  const { thisUpdateMs, nextUpdateMs } = await checkIssuer(rest, authority, nowMs);
  await checkSignature(bytes, { tbs, parts }, rest, authority);
  const { number, part } = checkExtensions(rest);
  const revoked = entries === undefined ? new Set<string>() : await serialsIn(bytes, entries);
  return { number, part, thisUpdateMs, nextUpdateMs, revoked };
}

function derOf(source: Uint8Array): Uint8Array {
  if (source[0] === sequence) return source;
  const blocks = Buffer.from(source).toString("latin1").split("-----BEGIN X509 CRL-----");
  if (blocks.length === 1) {
    throw new Error("it is not a revocation list: neither DER nor PEM (-----BEGIN X509 CRL-----)");
  }
  if (blocks.length > 2) throw new Error("it has more than one list: put each into its own file");
  const [text, after] = (blocks[1] ?? "").split("-----END X509 CRL-----");
  if (after === undefined) throw new Error("it is cut off: -----END X509 CRL----- is missing");
  return Buffer.from(text ?? "", "base64");
}

interface Frame {
  readonly outer: Element;
  /** What is signed. */
  readonly tbs: Element;
  /** What is signed, its algorithm, the signature. */
  readonly parts: readonly Element[];
  readonly entries: Element | undefined;
}

function frameOf(bytes: Uint8Array): Frame {
  const outer = elementAt(bytes, 0, bytes.length);
  if (outer.tag !== sequence) throw noList();
  if (outer.end !== bytes.length) throw new Error("something follows the list");
  const parts = elementsIn(bytes, outer, 3);
  const [tbs, algorithm, signature] = parts;
  const inner = tbs?.tag === sequence ? elementsIn(bytes, tbs, 7) : [];
  const isList = algorithm?.tag === sequence && signature?.tag === bitString && inner.length >= 3;
  if (tbs === undefined || !isList) throw noList();
  const [inside] = inner.filter(({ tag }) => tag === sequence);
  const names = [inside, algorithm].map((part) => hexOf(bytes, part?.start ?? 0, part?.end ?? 0));
  if (names[0] !== names[1]) throw new Error("it names two different signature algorithms");
  // After the times: the algorithm and the name before them are sequences too.
  const times = inner.findLastIndex(({ tag }) => tag === tags.utcTime || tag === tags.time);
  const [entries, ...others] = inner.slice(times + 1).filter(({ tag }) => tag === sequence);
  if (others.length > 0) throw noList();
  return { outer, tbs, parts, entries };
}

function noList(cause?: unknown): Error {
  return new Error("it is not a revocation list", { cause });
}

/** The list without its entries, which a library reads: it needs a kilobyte of memory for each part of an entry. */
async function shellOf(
  bytes: Uint8Array,
  outer: Element,
  tbs: Element,
  entries: Element | undefined,
): Promise<X509Crl> {
  const { start, end } = entries ?? { start: tbs.end, end: tbs.end };
  const before = bytes.subarray(tbs.from, start);
  const after = bytes.subarray(end, tbs.end);
  const signed = bytes.subarray(tbs.end, outer.end);
  if (before.length + after.length + signed.length > restBytesMax) {
    throw new Error(`its parts beside the entries are larger than ${restBytesMax} bytes`);
  }
  // Loaded here, since it takes 3 MB, and most nodes never need it.
  const x509 = await import("./x509.ts");
  try {
    const list = new x509.X509Crl(encoded(sequence, encoded(sequence, before, after), signed));
    // These are read when they are asked for first.
    void [list.thisUpdate, list.nextUpdate, list.extensions, list.issuer, list.signatureAlgorithm];
    return list;
  } catch (cause) {
    throw noList(cause);
  }
}

async function checkIssuer(list: X509Crl, authority: X509Certificate, nowMs: number) {
  const x509 = await import("./x509.ts");
  const issuer = new x509.X509Certificate(authority.raw);
  if (list.issuer !== issuer.subject) {
    throw new Error(`it is of another authority: ${list.issuer.slice(0, 256)}`);
  }
  const usage = issuer.getExtension(x509.KeyUsagesExtension);
  if (usage !== null && (usage.usages & x509.KeyUsageFlags.cRLSign) === 0) {
    throw new Error("the authority's certificate is not for signing such lists (no cRLSign)");
  }
  const thisUpdateMs = list.thisUpdate.getTime();
  const nextUpdateMs = list.nextUpdate?.getTime() ?? Number.NaN;
  if (!Number.isFinite(nextUpdateMs)) throw new Error("it does not say when the next one comes");
  if (!(thisUpdateMs <= nowMs + aheadMs)) {
    throw new Error("it is from the future: compare the clocks of the authority and of this node");
  }
  return { thisUpdateMs, nextUpdateMs };
}

const hashes = new Set(["SHA-256", "SHA-384", "SHA-512"]);

async function checkSignature(
  bytes: Uint8Array,
  { tbs, parts }: Pick<Frame, "tbs" | "parts">,
  list: X509Crl,
  authority: X509Certificate,
): Promise<void> {
  const key = publicKeyOf(authority);
  if (key === undefined) throw new Error("OpenSSL cannot use the authority's key here");
  const { digest, ...scheme } = schemeOf(list);
  const { from, end } = parts[2] as Element;
  // The first byte of a bit string says how many of its last bits do not count: none here.
  const signature = bytes.subarray(from + 1, end);
  const signed = bytes.subarray(tbs.start, tbs.end);
  const fits = (key.asymmetricKeyType ?? "").startsWith(scheme.type);
  const good =
    fits &&
    (await verifySignature(digest, signed, { key, ...scheme.options }, signature).catch(
      () => false,
    ));
  if (!good) throw new Error("its signature is not of the authority's key");
}

/** How Node verifies a list's signature: the digest, options, and the beginning of the key type, in OpenSSL's names. */
function schemeOf({ signatureAlgorithm }: X509Crl) {
  const { name, hash, saltLength } = signatureAlgorithm as unknown as {
    readonly name: string;
    readonly hash?: { readonly name: string };
    readonly saltLength?: number;
  };
  if (name === "Ed25519" || name === "EdDSA") return { type: "ed", digest: null, options: {} };
  const digest = hash?.name ?? "";
  if (!hashes.has(digest)) {
    throw new Error(`its signature (${name} ${digest}) is too weak, or not known here`);
  }
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltLength ?? 20 };
  return {
    type: name === "ECDSA" ? "ec" : "rsa",
    digest: digest.replace("-", ""),
    options: name === "RSA-PSS" ? pss : {},
  };
}

/** The CRL number, and the issuing distribution point. */
function checkExtensions(list: X509Crl): Pick<Crl, "number" | "part"> {
  let number: bigint | undefined;
  let part = "";
  for (const { type, critical, value } of list.extensions) {
    const bytes = new Uint8Array(value);
    if (type === oids.delta) throw new Error("it is a delta list: only whole lists are read");
    else if (type === oids.number) number = integerIn(bytes);
    else if (type === oids.issuingDistributionPoint) {
      checkScope(bytes);
      part = Buffer.from(bytes).toString("hex");
    } else if (critical) throw new Error(`it has a critical extension that is not known: ${type}`);
  }
  return { number, part };
}

/** RFC 5280, 5.2.5: which certificates a list is about. Parts of a list may be in several files. */
function checkScope(bytes: Uint8Array): void {
  const outer = elementAt(bytes, 0, bytes.length);
  const has = new Set(elementsIn(bytes, outer, 6).map(({ tag }) => tag & 0x1f));
  if (has.has(4)) throw new Error("it is an indirect list: only the authority's own is read");
  if (has.has(3)) throw new Error("it lists some reasons only: a whole list is needed");
  if (has.has(2) || has.has(5)) throw new Error("it is not about the certificates of clients");
}

function integerIn(bytes: Uint8Array): bigint {
  const { tag, from, end } = elementAt(bytes, 0, bytes.length);
  if (tag !== tags.integer || end === from || end - from > serialBytesMax) {
    throw new Error("its CRL number cannot be read");
  }
  return BigInt(`0x${hexOf(bytes, from, end)}`);
}

/** Reads the entries; other work gets its turn in between. */
async function serialsIn(bytes: Uint8Array, entries: Element): Promise<ReadonlySet<string>> {
  const serials = new Set<string>();
  for (let [at, count] = [entries.from, 0]; at < entries.end; count++) {
    if (count === crlEntriesMax) {
      throw new Error(`it has more than ${crlEntriesMax} entries`);
    }
    if (count % perTurn === perTurn - 1) await turn();
    const entry = elementAt(bytes, at, entries.end);
    serials.add(serialIn(bytes, entry));
    at = entry.end;
  }
  return serials;
}

function serialIn(bytes: Uint8Array, entry: Element): string {
  const unreadable = "it has an entry that cannot be read";
  if (entry.tag !== sequence) throw new Error(unreadable);
  const [serial, time, extensions] = elementsIn(bytes, entry, 3);
  if (serial?.tag !== tags.integer || time === undefined) throw new Error(unreadable);
  if (extensions !== undefined) checkEntry(bytes, extensions);
  const { from, end } = serial;
  if (end === from || end - from > serialBytesMax) throw new Error(unreadable);
  const hex = hexOf(bytes, from, end);
  const negative = ((bytes[from] ?? 0) & 0x80) !== 0;
  return negative
    ? BigInt.asIntN(8 * (end - from), BigInt(`0x${hex}`)).toString(16)
    : hex.replace(/^0*(?=.)/, "");
}

/** RFC 5280, 5.3: an entry with a critical extension that is not known makes the list unusable. */
function checkEntry(bytes: Uint8Array, extensions: Element): void {
  for (const extension of elementsIn(bytes, extensions, 16)) {
    const [oid, critical] = elementsIn(bytes, extension, 3);
    if (oid?.tag !== tags.oid) throw new Error("it has an entry that cannot be read");
    const name = hexOf(bytes, oid.from, oid.end);
    if (name === certificateIssuer) {
      throw new Error("it is an indirect list: only the authority's own is read");
    }
    const counts = critical?.tag === tags.boolean && bytes[critical.from] !== 0;
    if (counts && name !== reasonCode) {
      throw new Error("an entry has a critical extension that is not known");
    }
  }
}

function hexOf(bytes: Uint8Array, from: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString("hex");
}
