import type { X509Certificate } from "node:crypto";
import { hashUuid } from "@holdfast/engine";
import { isIssuedBy, readCertificates, signerOf, subjectOf } from "../base/certificates.ts";
import { OperatorError } from "../base/operator-error.ts";
import { type PasswordHash, parsePasswordHash } from "../base/password-hash.ts";
import { limitOf } from "./operation-limit.ts";

/** A tenant and its credentials, read from the configuration; certificates are parsed. */
export interface Instance {
  readonly id: string;
  readonly name: string;
  /** Client certificates accepted as they are. */
  readonly certificates: readonly X509Certificate[];
  /** Authorities whose client certificates belong to this instance. */
  readonly authorities: readonly X509Certificate[];
  readonly users: ReadonlyMap<string, PasswordHash>;
  /** See the engine's `Client.keepsKeys`. */
  readonly keepsKeys?: boolean;
  /** See the engine's `Client.destroyDelaySeconds`. */
  readonly destroyDelaySeconds?: number | undefined;
  /** The operations that all its clients are limited to, see `allowedOperations`; undefined = all. */
  readonly operations?: readonly string[] | undefined;
}

/** An instance as the configuration declares it; certificates are PEM, or paths of files. */
interface DeclaredInstance {
  readonly id: string | undefined;
  readonly name: string;
  readonly certificates: readonly string[];
  readonly authorities: readonly string[];
  readonly users: readonly { readonly name: string; readonly passwordHash: string }[];
  readonly destroyOverKmip?: "refused" | "allowed";
  readonly destroyDelay?: number;
  readonly operations?: readonly string[];
}

/** Reads the certificates of all instances; throws an `OperatorError` if two of them share one. */
export function loadInstances(declared: readonly DeclaredInstance[]): readonly Instance[] {
  const instances = declared.map((entry, at) => ({
    id: entry.id ?? instanceIdOf(entry.name),
    name: entry.name,
    certificates: entry.certificates.flatMap((source, item) =>
      readCertificates(source, `instances[${at}].certificates[${item}]`),
    ),
    authorities: entry.authorities.flatMap((source, item) =>
      readAuthorities(source, `instances[${at}].authorities[${item}]`),
    ),
    users: new Map(
      entry.users.flatMap(({ name, passwordHash }) => {
        const hash = parsePasswordHash(passwordHash);
        return hash === undefined ? [] : [[name, hash] as const];
      }),
    ),
    keepsKeys: entry.destroyOverKmip === "refused",
    destroyDelaySeconds: entry.destroyDelay,
    operations: limitOf(entry.operations),
  }));
  refuseShared(instances);
  return instances;
}

/** The default identifier of an instance: a UUID (RFC 9562, version 8) made from its name. */
export function instanceIdOf(name: string): string {
  return hashUuid(`holdfast instance\0${name}`);
}

function readAuthorities(source: string, setting: string): X509Certificate[] {
  const certificates = readCertificates(source, setting);
  const leaf = certificates.find((certificate) => !certificate.ca);
  if (leaf !== undefined) {
    throw new OperatorError(
      `${setting}: ${subjectOf(leaf)} is not a certificate authority; list a client's own certificate under certificates`,
    );
  }
  return certificates;
}

function refuseShared(instances: readonly Instance[]): void {
  const owners = new Map<string, Instance>();
  const claim = (key: string, instance: Instance, certificate: X509Certificate) => {
    const owner = owners.get(key);
    if (owner !== undefined && owner !== instance) throw shared(certificate, owner, instance);
    owners.set(key, instance);
  };
  for (const instance of instances) {
    for (const certificate of instance.certificates) {
      claim(`leaf ${certificate.fingerprint256}`, instance, certificate);
    }
    for (const authority of instance.authorities) {
      claim(`authority ${signerOf(authority)}`, instance, authority);
    }
  }
  for (const issuing of instances) {
    for (const other of instances) {
      if (other !== issuing) refuseIssued(issuing, other);
    }
  }
}

function refuseIssued(issuing: Instance, other: Instance): void {
  for (const certificate of other.certificates) {
    if (issuing.authorities.some((authority) => isIssuedBy(certificate, authority))) {
      throw shared(certificate, other, issuing);
    }
  }
}

function shared(certificate: X509Certificate, one: Instance, other: Instance): OperatorError {
  return new OperatorError(
    `instances: the certificate ${subjectOf(certificate)} (SHA-256 ${certificate.fingerprint256}) gives access to both ${one.name} and ${other.name}; a certificate belongs to one instance only`,
  );
}
