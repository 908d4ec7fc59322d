import { createPrivateKey, type KeyObject, type X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import { peerName } from "@holdfast/regions";
import {
  isIssuedBy,
  parseCertificates,
  purposes,
  readCertificates,
  readText,
  subjectOf,
} from "./certificates.ts";
import { OperatorError, reasonOf } from "./operator-error.ts";

/** Files with a node's peer certificate, its key and the authorities of its peers. */
interface PeerTls {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** A node's peer certificate, with its key and the authorities of its peers; all PEM. */
export interface PeerIdentity {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** The node's own certificate, without its intermediates. */
  readonly leaf: X509Certificate;
  readonly authorities: readonly X509Certificate[];
}

const suffix = peerName("");

/** Reads this node's peer certificate; refuses one that the other region would refuse, and says why. */
export function readPeerIdentity(tls: PeerTls, region: string): PeerIdentity {
  const authorities = readCertificates(tls.ca, "peer.tls.ca");
  const certificate = readText(tls.certificate, "peer.tls.certificate");
  const key = readText(tls.key, "peer.tls.key");
  const where = `peer.tls.certificate: ${tls.certificate}`;
  const chain = parseCertificates(certificate, where);
  const leaf = chain[0] as X509Certificate;
  if (!leaf.checkPrivateKey(readKey(key, tls.key))) {
    throw new OperatorError(
      `peer.tls.key: ${tls.key} is not the key of peer.tls.certificate ${tls.certificate}`,
    );
  }
  checkName(leaf, region, where);
  checkPurposes(leaf, where);
  if (!isTrusted(chain, authorities)) {
    throw new OperatorError(
      `${where}: ${subjectOf(leaf)} is not issued by an authority of peer.tls.ca ${tls.ca}`,
    );
  }
  const ca = authorities.map(String).join("");
  try {
    createSecureContext({ ca, cert: certificate, key });
  } catch (error) {
    throw new OperatorError(`${where}: ${reasonOf(error)}`);
  }
  return { ca, certificate, key, leaf, authorities };
}

function readKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new OperatorError(
      `peer.tls.key: ${path}: holds no usable private key: ${reasonOf(error)}`,
    );
  }
}

/** Requires the name of one region and no other: the holder of two could act for both. */
function checkName(leaf: X509Certificate, region: string, where: string): void {
  const names = (leaf.subjectAltName ?? "")
    .split(", ")
    .filter((name) => name.startsWith("DNS:") && name.endsWith(suffix))
    .map((name) => name.slice("DNS:".length));
  const wanted = peerName(region);
  if (names.length === 1 && names[0] === wanted) return;
  const has = names.length === 0 ? "no name of a region" : names.join(" and ");
  throw new OperatorError(
    `${where}: holds ${has}; issue one for region ${region}, with the DNS name ${wanted} and no other region's`,
  );
}

function checkPurposes(leaf: X509Certificate, where: string): void {
  if (leaf.ca)
    throw new OperatorError(`${where}: is an authority's certificate; issue one for the node`);
  const named = leaf.keyUsage as readonly string[] | undefined;
  if (named === undefined) return;
  if (named.includes(purposes.serverAuth) && named.includes(purposes.clientAuth)) return;
  throw new OperatorError(
    `${where}: must be for server and client authentication both, since nodes call each other`,
  );
}

/** Whether a chain of signatures leads from the leaf through its intermediates to an authority. */
function isTrusted(
  [leaf, ...intermediates]: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): boolean {
  if (leaf === undefined) return false;
  if (authorities.some((authority) => isIssuedBy(leaf, authority))) return true;
  const rest = intermediates.filter((one) => one.fingerprint256 !== leaf.fingerprint256);
  return rest.some(
    (next) =>
      isIssuedBy(leaf, next) &&
      isTrusted([next, ...rest.filter((one) => one !== next)], authorities),
  );
}

/** What the log says about the peer certificate in use. */
export function describePeerIdentity({ leaf, authorities }: PeerIdentity): string {
  const names = authorities.map(subjectOf).join(", ");
  return `${subjectOf(leaf)} until ${leaf.validToDate.toISOString()}; peers' authorities: ${names}`;
}
