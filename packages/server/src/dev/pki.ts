import { randomBytes, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createLocalRoot } from "@holdfast/root-of-trust";
import { purposes } from "../purposes.ts";
import { systemClock, systemIds } from "../system.ts";
import { makePrivate, readOrMake, writePrivate } from "./folder.ts";

/** Files of a development PKI, absolute paths. */
export interface PkiFiles {
  /** The authority that issued the servers' certificate. */
  readonly ca: string;
  readonly caKey: string;
  readonly serverCertificate: string;
  readonly serverKey: string;
  /** A self-signed leaf, as vCenter makes one; the servers know it by its fingerprint. */
  readonly clientCertificate: string;
  readonly clientKey: string;
  readonly ticketKeys: string;
  /** The local root of trust: it wraps the keys that seal the objects, so it is never made anew. */
  readonly rootKey: string;
}

const days = 3650;
const renewBeforeMs = 30 * 86_400_000;
/** A clock that is behind must not find the certificate not yet valid. */
const backdateMs = 86_400_000;

/** Where a PKI's files lie in a folder. */
function pkiFiles(folder: string): PkiFiles {
  return {
    ca: join(folder, "ca.pem"),
    caKey: join(folder, "ca.key"),
    serverCertificate: join(folder, "server.pem"),
    serverKey: join(folder, "server.key"),
    clientCertificate: join(folder, "client.pem"),
    clientKey: join(folder, "client.key"),
    ticketKeys: join(folder, "ticket.keys"),
    rootKey: join(folder, "root.key"),
  };
}

/**
 * Makes what is missing, expires within 30 days or does not name a host, and leaves the rest alone. Every file can be
 * read by this user only.
 */
export async function ensurePki(folder: string, hosts: readonly string[]): Promise<PkiFiles> {
  const files = pkiFiles(folder);
  const nowMs = Date.now();
  makePrivate(folder);
  const server = [files.ca, files.caKey, files.serverCertificate, files.serverKey];
  if (!server.every(existsSync) || !serves(files.serverCertificate, hosts, nowMs)) {
    await makeServer(files, hosts, nowMs);
  }
  if (!existsSync(files.clientKey) || !serves(files.clientCertificate, [], nowMs)) {
    // Loaded only where something is issued: it takes as long as the rest of a start.
    const { selfSigned } = await import("../pki.ts");
    const issued = await selfSigned({
      commonName: "Holdfast demo client",
      keyType: "RSA-2048",
      notBeforeMs: nowMs - backdateMs,
      days,
    });
    writePrivate(files.clientCertificate, issued.certificate);
    writePrivate(files.clientKey, issued.key);
  }
  readOrMake(files.ticketKeys, () => randomBytes(48));
  if (!existsSync(files.rootKey)) {
    await createLocalRoot(files.rootKey, { clock: systemClock, ids: systemIds });
  }
  return files;
}

async function makeServer(files: PkiFiles, hosts: readonly string[], nowMs: number) {
  const { createAuthority } = await import("../pki.ts");
  const validity = { notBeforeMs: nowMs - backdateMs, days };
  const authority = await createAuthority({ commonName: "Holdfast development CA", ...validity });
  const issued = await authority.issue({
    commonName: "Holdfast development server",
    hosts,
    purposes: [purposes.serverAuth],
    ...validity,
  });
  writePrivate(files.ca, authority.certificate);
  writePrivate(files.caKey, authority.key);
  writePrivate(files.serverCertificate, issued.certificate);
  writePrivate(files.serverKey, issued.key);
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
