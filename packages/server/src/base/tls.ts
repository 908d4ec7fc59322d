import {
  constants,
  createPrivateKey,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  type X509Certificate,
} from "node:crypto";
import { type ConnectionOptions, createSecureContext, type SecureContextOptions } from "node:tls";
import { parseCertificates, readText, subjectOf } from "./certificates.ts";
import { OperatorError, reasonOf } from "./operator-error.ts";

/** Which cipher suites are served: with or without those of KMIP's Basic suite. */
export type Suites = "default" | "kmip-basic";

/** The files of a server's certificates and keys, in the same order, and its cipher suites. */
interface IdentitySettings {
  readonly certificate: readonly string[];
  readonly key: readonly string[];
  readonly suites: Suites;
}

/** The server's certificates and keys, each pair checked. */
export interface ServerIdentity {
  readonly pairs: readonly { readonly certificate: string; readonly key: string }[];
  /** The server's own certificates, without their intermediates. */
  readonly leaves: readonly X509Certificate[];
}

const tls13 = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];
const forwardSecret = [
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
];
/** KMIP 2.1 profiles, 3.1.2: the suites that a TLS 1.2 server of the Basic suite offers. */
const kmipBasic = ["AES256-SHA256", "AES128-SHA256"];

/** The same at all nodes: Node's default depends on a process's arguments and ends resumption. */
const sessionIdContext = "holdfast-kmip";

/** Reads the server's certificates; a pair that does not match is refused here, since OpenSSL may not notice. */
export function readIdentity(tls: IdentitySettings, setting: string = "tls"): ServerIdentity {
  const pairs = tls.certificate.map((path, at) =>
    readPair({ certificate: path, key: tls.key[at] as string }, setting),
  );
  const identity = {
    pairs: pairs.map(({ certificate, key }) => ({ certificate, key })),
    leaves: pairs.map(({ leaf }) => leaf),
  };
  if (tls.suites === "kmip-basic" && !hasRsa(identity)) {
    throw new OperatorError(
      "tls.suites: kmip-basic needs an RSA certificate; add one to tls.certificate and tls.key",
    );
  }
  try {
    createSecureContext(contextOptions(identity, tls.suites));
  } catch (error) {
    // For example, a key that is too short, or an intermediate that cannot be read.
    throw new OperatorError(
      `${setting}.certificate: ${tls.certificate.join(", ")}: ${reasonOf(error)}`,
    );
  }
  return identity;
}

/** PEM files for connections to a server: its authorities, and this node's certificate with its key. */
interface ClientFiles {
  readonly ca: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
}

/** Reads them, and refuses what could open no connection: OpenSSL would only fail, or never answer. */
export function readClientTls(
  { ca, certificate, key }: ClientFiles,
  setting: string,
): Pick<ConnectionOptions, "ca" | "cert" | "key"> {
  const own =
    certificate === undefined || key === undefined
      ? undefined
      : readPair({ certificate, key }, setting);
  return {
    ...(ca === undefined ? {} : { ca: readAuthorities(ca, `${setting}.ca`) }),
    ...(own === undefined ? {} : { cert: own.certificate, key: own.key }),
  };
}

/** Reads the text of a PEM file with authorities; refuses one of which a certificate cannot be read. */
export function readAuthorities(path: string, setting: string): string {
  const text = readText(path, setting);
  parseCertificates(text, `${setting}: ${path}`);
  return text;
}

/** Reads a certificate with its intermediates, and its key. */
function readPair(files: { readonly certificate: string; readonly key: string }, setting: string) {
  const certificate = readText(files.certificate, `${setting}.certificate`);
  const key = readText(files.key, `${setting}.key`);
  const leaf = parseCertificates(
    certificate,
    `${setting}.certificate: ${files.certificate}`,
  )[0] as X509Certificate;
  if (!leaf.checkPrivateKey(readKey(key, `${setting}.key: ${files.key}`))) {
    throw new OperatorError(
      `${setting}.key: ${files.key} is not the key of ${setting}.certificate ${files.certificate}`,
    );
  }
  return { certificate, key, leaf };
}

/** Whether one of the certificates has an RSA key. */
export function hasRsa({ leaves }: Pick<ServerIdentity, "leaves">): boolean {
  return leaves.some((leaf) => leaf.publicKey.asymmetricKeyType === "rsa");
}

function readKey(pem: string, what: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new OperatorError(`${what}: holds no usable private key: ${reasonOf(error)}`);
  }
}

/**
 * Every option of the endpoint's secure context: `setSecureContext` forgets every option that is
 * not passed again. There is no `ca`, so that clients are sent no names of authorities; `Trust`
 * checks trust.
 */
export function contextOptions(
  identity: ServerIdentity,
  suites: IdentitySettings["suites"],
): SecureContextOptions {
  const names = [...tls13, ...forwardSecret, ...(suites === "kmip-basic" ? kmipBasic : [])];
  return {
    cert: identity.pairs.map(({ certificate }) => certificate),
    key: identity.pairs.map(({ key }) => key),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    ciphers: names.join(":"),
    honorCipherOrder: true,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    sessionIdContext,
  };
}

/** Session ticket keys (48 bytes) for one set of trusted certificates; each set has its own. */
export function ticketKeys(secret: Buffer, trustDigest: string): Buffer {
  const info = `holdfast tls tickets ${trustDigest}`;
  return Buffer.from(hkdfSync("sha256", createSecretKey(secret), Buffer.alloc(0), info, 48));
}

/** What the log says about the certificates in use. */
export function describeIdentity(identity: ServerIdentity): string {
  return identity.leaves
    .map((leaf) => `${subjectOf(leaf)} until ${leaf.validToDate.toISOString()}`)
    .join("; ");
}
