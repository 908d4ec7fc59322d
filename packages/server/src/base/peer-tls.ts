import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  type X509Certificate,
} from "node:crypto";
import { statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import {
  peerKeysMax,
  peerName,
  RegionKeys,
  readPeerKey,
  readRegionKey,
  regionKeyId,
} from "@holdfast/regions";
import {
  isIssuedBy,
  isPem,
  parseCertificates,
  purposes,
  readCertificates,
  readText,
  subjectOf,
} from "./certificates.ts";
import { OperatorError, reasonOf } from "./operator-error.ts";

/** Files with a node's peer certificate, its key and the authorities of its peers, and the keys of both regions. */
interface PeerFiles {
  readonly tls: { readonly ca: string; readonly certificate: string; readonly key: string };
  readonly regionKeyFile: string;
  readonly keys: readonly string[];
}

/** A node's peer certificate, with its key and the authorities of its peers, and the keys of both regions; all PEM. */
export interface PeerIdentity {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly regionKey: string;
  readonly peerKeys: readonly string[];
  /** The node's own certificate, without its intermediates. */
  readonly leaf: X509Certificate;
  readonly authorities: readonly X509Certificate[];
}

const suffix = peerName("");
const publicKeys = /-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g;

/** Reads this node's peer certificate and keys; refuses those that the other region would refuse, and says why. */
export function readPeerIdentity(
  { tls, regionKeyFile, keys }: PeerFiles,
  { region, node }: { readonly region: string; readonly node: string },
): PeerIdentity {
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
  checkName(leaf, { region, node }, where);
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
  return { ca, certificate, key, leaf, authorities, ...readKeys(regionKeyFile, keys) };
}

/** Reads a region's own key, from a file that nobody else may read. */
export function readOwnKey(path: string): KeyObject {
  const pem = readText(path, "peer.regionKeyFile");
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) !== 0) {
    const shown = mode.toString(8).padStart(4, "0");
    throw new OperatorError(
      `peer.regionKeyFile: ${path}: mode ${shown} lets others read or change it; run: chmod 0600 ${path}`,
    );
  }
  return told(`peer.regionKeyFile: ${path}`, () => readRegionKey(pem));
}

function readKeys(
  regionKeyFile: string,
  keys: readonly string[],
): Pick<PeerIdentity, "regionKey" | "peerKeys"> {
  const own = readOwnKey(regionKeyFile);
  const peerKeys = keys.flatMap((source, at) => {
    const where = isPem(source) ? `peer.keys[${at}]` : `peer.keys[${at}]: ${source}`;
    const pem = isPem(source) ? source : readText(source, `peer.keys[${at}]`);
    const blocks = pem.match(publicKeys) ?? [pem];
    return blocks.map((block) => {
      const key = told(where, () => readPeerKey(block));
      if (regionKeyId(key) === regionKeyId(own)) {
        throw new OperatorError(
          `${where}: is this region's own key: give what \`holdfast region-key show\` prints in the other region`,
        );
      }
      return key;
    });
  });
  if (peerKeys.length < 1 || peerKeys.length > peerKeysMax) {
    throw new OperatorError(
      `peer.keys: must name 1 or ${peerKeysMax} keys of the other region: its present one, and the next one while it is replaced`,
    );
  }
  told("peer.keys", () => new RegionKeys(own, peerKeys));
  const pem = { type: "spki", format: "pem" } as const;
  return {
    regionKey: own.export({ type: "pkcs8", format: "pem" }).toString(),
    peerKeys: peerKeys.map((key) => key.export(pem).toString()),
  };
}

/** Runs; what it throws becomes an `OperatorError` of the setting. */
function told<Result>(where: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw new OperatorError(`${where}: ${reasonOf(error)}`);
  }
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

/** Requires the names of one region and one node, and no other: the holder of two could act for both. */
function checkName(
  leaf: X509Certificate,
  { region, node }: { readonly region: string; readonly node: string },
  where: string,
): void {
  const names = (leaf.subjectAltName ?? "")
    .split(", ")
    .filter((name) => name.startsWith("DNS:") && name.endsWith(suffix))
    .map((name) => name.slice("DNS:".length));
  const wanted = [peerName(region), `${node}.${peerName(region)}`];
  if (names.length === wanted.length && wanted.every((name) => names.includes(name))) return;
  const has = names.length === 0 ? "no name of a region" : names.join(" and ");
  throw new OperatorError(
    `${where}: holds ${has}; issue one for node ${node} of region ${region}, with the DNS names ${wanted.join(" and ")} and no other of these names`,
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
export function describePeerIdentity(identity: PeerIdentity): string {
  const { leaf, authorities, regionKey, peerKeys } = identity;
  const idOf = (pem: string) => regionKeyId(createPublicKey(pem)).slice(0, 16);
  const names = authorities.map(subjectOf).join(", ");
  return `${subjectOf(leaf)} until ${leaf.validToDate.toISOString()}; peers' authorities: ${names}; region key ${idOf(regionKey)}; keys of the other region: ${peerKeys.map(idOf).join(", ")}`;
}
