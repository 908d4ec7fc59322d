import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createLocalRoot, createSealingKey } from "@holdfast/root-of-trust";
import { machine, makeRegionKey, publicHalf, purposes, readRegionKey } from "@holdfast/server/base";
import { makePrivate, readOrMake, writePrivate } from "../base/folder.ts";

/** Files that servers and clients use; absolute paths. */
export interface ServerFiles {
  /** The authority that issued the servers' certificate. */
  readonly ca: string;
  readonly caKey: string;
  readonly serverCertificate: string;
  readonly serverKey: string;
  /** The same with RSA, for clients whose TLS 1.2 suites need it, such as an old vCenter. */
  readonly serverRsaCertificate: string;
  readonly serverRsaKey: string;
  /** A self-signed leaf, as vCenter creates one; the servers know it by its fingerprint. */
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** Files that all nodes of one region share. */
export interface RegionFiles {
  /** Proves the region to the other one; `regionPublicKey` is its public half, for the other region. */
  readonly regionKey: string;
  readonly regionPublicKey: string;
  /** The local root of trust. It wraps the keys that seal the objects, so it is never created again. */
  readonly rootKey: string;
  /** Seals the secrets of instances' key managers. */
  readonly sealingKey: string;
}

/** A node's files in the regions' own PKI. */
export interface PeerFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A node that needs a certificate for the link between the regions. */
export interface PeerNode {
  readonly region: string;
  readonly node: string;
}

const days = 3650;
const renewBeforeMs = 45 * 86_400_000;
/** Certificates are backdated, so that they are already valid for a clock that is behind. */
const backdateMs = 86_400_000;

/**
 * Creates the servers' and the client's certificates if they are missing, expire within 45 days or do not name a host,
 * and leaves the others unchanged. Only this user can read the files.
 */
export async function ensureServerPki(
  folder: string,
  hosts: readonly string[],
): Promise<ServerFiles> {
  const files = {
    ca: join(folder, "ca.pem"),
    caKey: join(folder, "ca.key"),
    serverCertificate: join(folder, "server.pem"),
    serverKey: join(folder, "server.key"),
    serverRsaCertificate: join(folder, "server-rsa.pem"),
    serverRsaKey: join(folder, "server-rsa.key"),
    clientCertificate: join(folder, "client.pem"),
    clientKey: join(folder, "client.key"),
  };
  const nowMs = Date.now();
  makePrivate(folder);
  const certificates = [files.serverCertificate, files.serverRsaCertificate];
  const others = [files.ca, files.caKey, files.serverKey, files.serverRsaKey];
  const complete =
    others.every(existsSync) && certificates.every((one) => serves(one, hosts, nowMs));
  if (!complete) {
    await makeServer(files, hosts, nowMs);
  }
  if (!existsSync(files.clientKey) || !serves(files.clientCertificate, [], nowMs)) {
    // Loaded only if something is issued: loading takes as long as the rest of a start.
    const { selfSigned } = await import("@holdfast/testing/pki");
    const issued = await selfSigned({
      commonName: "Holdfast demo client",
      keyType: "RSA-2048",
      notBeforeMs: nowMs - backdateMs,
      days,
    });
    writePrivate(files.clientCertificate, issued.certificate);
    writePrivate(files.clientKey, issued.key);
  }
  return files;
}

/** Creates a region's own key, root key and sealing key if they are missing. */
export async function ensureRegionFiles(folder: string): Promise<RegionFiles> {
  const files = {
    regionKey: join(folder, "region.key"),
    regionPublicKey: join(folder, "region.pub"),
    rootKey: join(folder, "root.key"),
    sealingKey: join(folder, "sealing.key"),
  };
  makePrivate(folder);
  const key = readOrMake(files.regionKey, () => Buffer.from(makeRegionKey())).toString();
  writePrivate(files.regionPublicKey, publicHalf(readRegionKey(key)));
  if (!existsSync(files.rootKey)) {
    await createLocalRoot(files.rootKey, machine);
  }
  if (!existsSync(files.sealingKey)) {
    await createSealingKey(files.sealingKey, machine);
  }
  return files;
}

/** A PKI for one region whose nodes share one folder. */
export async function ensurePki(
  folder: string,
  hosts: readonly string[],
): Promise<ServerFiles & RegionFiles> {
  return { ...(await ensureServerPki(folder, hosts)), ...(await ensureRegionFiles(folder)) };
}

/**
 * The regions' own PKI: an authority that issues nothing else, and a certificate for each node, pinned by the name
 * `REGION.peer.holdfast` and the node's `NODE.REGION.peer.holdfast`. If one is missing or expires within 45 days, all are
 * created again.
 */
export async function ensurePeerPki(
  folder: string,
  nodes: readonly PeerNode[],
): Promise<{
  readonly ca: string;
  readonly caKey: string;
  readonly of: (node: string) => PeerFiles;
}> {
  const [ca, caKey] = [join(folder, "peer-ca.pem"), join(folder, "peer-ca.key")];
  const of = (node: string) => ({
    certificate: join(folder, `${node}.peer.pem`),
    key: join(folder, `${node}.peer.key`),
  });
  const nowMs = Date.now();
  const complete =
    [ca, caKey].every(existsSync) &&
    nodes.every(({ region, node }) => {
      const { certificate, key } = of(node);
      return existsSync(key) && serves(certificate, peerNames(region, node), nowMs);
    });
  if (complete) return { ca, caKey, of };
  makePrivate(folder);
  const { createAuthority } = await import("@holdfast/testing/pki");
  const validity = { notBeforeMs: nowMs - backdateMs, days };
  const authority = await createAuthority({
    commonName: "Holdfast development peers",
    ...validity,
  });
  for (const { region, node } of nodes) {
    const issued = await authority.issue({
      commonName: `Holdfast node ${node}`,
      hosts: peerNames(region, node),
      purposes: [purposes.serverAuth, purposes.clientAuth],
      ...validity,
    });
    writePrivate(of(node).certificate, issued.certificate);
    writePrivate(of(node).key, issued.key);
  }
  writePrivate(caKey, authority.key);
  writePrivate(ca, authority.certificate);
  return { ca, caKey, of };
}

/** The names in a certificate by which nodes recognise its region and its node. */
function peerNames(region: string, node: string): readonly string[] {
  return [`${region}.peer.holdfast`, `${node}.${region}.peer.holdfast`];
}

async function makeServer(files: ServerFiles, hosts: readonly string[], nowMs: number) {
  const { createAuthority } = await import("@holdfast/testing/pki");
  const validity = { notBeforeMs: nowMs - backdateMs, days };
  const authority = await createAuthority({ commonName: "Holdfast development CA", ...validity });
  const issue = (keyType: "P-256" | "RSA-2048") =>
    authority.issue({
      commonName: "Holdfast development server",
      keyType,
      hosts,
      purposes: [purposes.serverAuth],
      ...validity,
    });
  const [elliptic, rsa] = await Promise.all([issue("P-256"), issue("RSA-2048")]);
  writePrivate(files.ca, authority.certificate);
  writePrivate(files.caKey, authority.key);
  writePrivate(files.serverCertificate, elliptic.certificate);
  writePrivate(files.serverKey, elliptic.key);
  writePrivate(files.serverRsaCertificate, rsa.certificate);
  writePrivate(files.serverRsaKey, rsa.key);
}

function serves(path: string, hosts: readonly string[], nowMs: number): boolean {
  if (!existsSync(path)) return false;
  const certificate = new X509Certificate(readFileSync(path));
  const names = (certificate.subjectAltName ?? "").split(", ");
  return (
    certificate.validToDate.getTime() - renewBeforeMs > nowMs &&
    hosts.every((host) => names.includes(`IP Address:${host}`) || names.includes(`DNS:${host}`))
  );
}

/** Creates the files for nodes and a client, and certificates, region keys and root keys for `peers`; returns their paths. */
export async function makePki(
  out: string,
  hosts: readonly string[],
  peers: readonly PeerNode[],
): Promise<readonly string[]> {
  const folder = resolve(out);
  makePrivate(folder, "--out");
  if (peers.length === 0) return Object.values(await ensurePki(folder, hosts));
  const server = await ensureServerPki(folder, hosts);
  const { ca, caKey, of } = await ensurePeerPki(folder, peers);
  const regions = [...new Set(peers.map(({ region }) => region))];
  const own = await Promise.all(regions.map((region) => ensureRegionFiles(join(folder, region))));
  const all = [...own, ...peers.map(({ node }) => of(node))];
  return [...Object.values(server), ca, caKey, ...all.flatMap((files) => Object.values(files))];
}
