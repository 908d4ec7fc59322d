import { constants, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import { RegionKeys, readPeerKey, readRegionKey } from "./region-keys.ts";

/**
 * A node's peer certificate, its key, and the authorities that issue peer certificates; its region's key, and the public
 * keys of the other region. All PEM.
 */
export interface PeerTls {
  /** The peers' certificate authorities: while one is being replaced, the old and the new one. */
  readonly ca: string;
  /** The node's certificate, its intermediates after it. */
  readonly certificate: string;
  readonly key: string;
  readonly regionKey: string;
  readonly peerKeys: readonly string[];
}

/** A `PeerTls` that was read, each part checked. */
export interface PeerIdentity {
  readonly authorities: readonly X509Certificate[];
  readonly leaf: X509Certificate;
  readonly context: SecureContext;
  readonly contextOptions: SecureContextOptions;
  readonly keys: RegionKeys;
  /**
   * When the first of the certificates expires: the leaf or an authority. Milliseconds since the
   * epoch.
   */
  readonly notAfterMs: number;
}

/** Says of a certificate's SHA-256 (lower-case hex) whether it is on the deny list. */
export type IsDenied = (fingerprint: string) => boolean;

/** Why a denied certificate is refused. */
export const onDenyList = "its certificate is on the deny list";

const chainMax = 8;
const pemCertificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

const ciphers = [
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_128_GCM_SHA256",
].join(":");

/** The DNS name that a certificate of a region's nodes carries. */
export function peerName(region: string): string {
  return `${region}.peer.holdfast`;
}

/**
 * What a connection is for: a node limits large messages separately, so that they delay nothing
 * else.
 */
export type MessageSize = "small" | "large";

/** The TLS server name of a connection. The one for large messages is in no certificate. */
export function serverName(region: string, size: MessageSize): string {
  return size === "small" ? peerName(region) : `large.${peerName(region)}`;
}

/** What a connection is for, by the server name that its client asked for. */
export function sizeFor(name: unknown): MessageSize {
  return typeof name === "string" && /^large\.[^.]+\.peer\.holdfast$/.test(name)
    ? "large"
    : "small";
}

/** Reads a `PeerTls`; throws an Error with one line that says what is wrong. */
export function readPeerTls(tls: PeerTls): PeerIdentity {
  const authorities = certificatesOf(tls.ca, "peer CA");
  const [leaf] = certificatesOf(tls.certificate, "peer certificate");
  if (leaf === undefined) throw new Error("the peer certificate holds no certificate");
  // OpenSSL accepts a key of another type without an error, and then every handshake fails.
  if (!leaf.checkPrivateKey(keyOf(tls.key))) {
    throw new Error("the peer key is not the key of the peer certificate");
  }
  const contextOptions: SecureContextOptions = {
    ca: authorities.map((authority) => authority.toString()),
    cert: tls.certificate,
    key: tls.key,
    ciphers,
    // The proof of the region key is bound to a session by TLS 1.3's exporter.
    minVersion: "TLSv1.3",
    // A resumed session would skip the check of an authority that was removed since.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    honorCipherOrder: true,
    sessionIdContext: "holdfast-peer",
  };
  const ends = [leaf, ...authorities].map((certificate) => Date.parse(certificate.validTo));
  return {
    authorities,
    leaf,
    context: createSecureContext(contextOptions),
    contextOptions,
    keys: new RegionKeys(readRegionKey(tls.regionKey), tls.peerKeys.map(readPeerKey)),
    notAfterMs: Math.min(...ends),
  };
}

function keyOf(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new Error("the peer key cannot be read", { cause });
  }
}

function certificatesOf(pem: string, what: string): readonly X509Certificate[] {
  const blocks = pem.match(pemCertificate) ?? [];
  if (blocks.length === 0) throw new Error(`the ${what} holds no certificate in PEM`);
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new Error(`the ${what} cannot be read`, { cause });
    }
  });
}

/** DNS names of a Subject Alternative Name as Node writes it. */
export function dnsNamesOf(subjectAltName: string | undefined): readonly string[] {
  // Node quotes a name that holds anything unusual; such a name is never a peer's.
  return (subjectAltName ?? "")
    .split(", ")
    .flatMap((name) => (name.startsWith("DNS:") ? [name.slice(4).toLowerCase()] : []));
}

/** Which of the regions a certificate speaks for; undefined for none or more than one. */
export function regionOf(
  certificate: X509Certificate,
  regions: readonly string[],
): string | undefined {
  const names = new Set(dnsNamesOf(certificate.subjectAltName));
  const found = regions.filter((region) => names.has(peerName(region).toLowerCase()));
  return found.length === 1 ? found[0] : undefined;
}

/** The node that a certificate of a region belongs to, by its name `NODE.REGION.peer.holdfast`; undefined unless it has just one. */
export function nodeOf(dnsNames: readonly string[], region: string): string | undefined {
  const suffix = `.${peerName(region).toLowerCase()}`;
  const nodes = dnsNames.flatMap((name) => {
    const node = name.toLowerCase().endsWith(suffix) ? name.slice(0, -suffix.length) : "";
    return /^[^.*]+$/.test(node) ? [node] : [];
  });
  return nodes.length === 1 ? nodes[0] : undefined;
}

/** SHA-256 of a certificate, lower-case hex. */
export function fingerprintOf({ fingerprint256 }: { readonly fingerprint256: string }): string {
  return fingerprint256.replaceAll(":", "").toLowerCase();
}

/** Whether one of the authorities issued a certificate, itself or through the intermediates that came with it. */
export function issuedBy(
  certificate: X509Certificate,
  authorities: readonly X509Certificate[],
): boolean {
  let link: X509Certificate | undefined = certificate;
  for (let depth = 0; link !== undefined && depth < chainMax; depth += 1) {
    const issued: X509Certificate = link;
    const of = (authority: X509Certificate) =>
      issued.checkIssued(authority) && issued.verify(authority.publicKey);
    if (authorities.some(of)) return true;
    const next: X509Certificate | undefined = issued.issuerCertificate;
    link = next !== undefined && of(next) ? next : undefined;
  }
  return false;
}
