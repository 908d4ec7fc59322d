import { createHash, type X509Certificate } from "node:crypto";
import { isIssuedBy, subjectOf } from "./certificates.ts";
import type { Instance } from "./instances.ts";
import { purposes } from "./purposes.ts";

/** Why a client is not let in; the words are also a metric's label. */
export type Refusal =
  | "noCertificate"
  | "unknownCertificate"
  | "notYetValid"
  | "expired"
  | "wrongPurpose"
  | "weakSignature";

/** A certificate that opens an instance, and from when until when. */
export interface Admission {
  readonly instance: Instance;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** How many verified certificates of authorities are remembered. */
const rememberedMax = 10_000;
const anyPurpose = "2.5.29.37.0";

/**
 * Tells which instance a client certificate opens. It never asks OpenSSL's verdict (`authorized`): that one skips
 * resumed sessions and, without `ca`, trusts public authorities.
 */
export class Trust {
  readonly #pinned = new Map<string, Admission>();
  /** By subject, so that a stranger's certificate costs a look-up and no signature check. */
  readonly #authorities = new Map<string, [X509Certificate, Instance][]>();
  /** What a signature check once proved; in order of insertion, so that the oldest goes first. */
  readonly #verified = new Map<string, Admission>();
  readonly instances: readonly Instance[];

  constructor(instances: readonly Instance[]) {
    this.instances = instances;
    for (const instance of instances) {
      for (const certificate of instance.certificates) {
        this.#pinned.set(certificate.fingerprint256, admit(certificate, instance));
      }
      for (const authority of instance.authorities) {
        const same = this.#authorities.get(authority.subject) ?? [];
        this.#authorities.set(authority.subject, [...same, [authority, instance]]);
      }
    }
  }

  /** Changes whenever a certificate or authority is added or removed: what session tickets are bound to. */
  get digest(): string {
    const lines = this.instances.flatMap(({ id, certificates, authorities }) =>
      [...certificates, ...authorities].map(({ fingerprint256 }) => `${id} ${fingerprint256}`),
    );
    return createHash("sha256").update(lines.sort().join("\n")).digest("hex");
  }

  /** Decides about a client by its certificate. Called for every connection, resumed ones too. */
  check(certificate: X509Certificate | undefined, nowMs: number): Admission | Refusal {
    if (certificate === undefined) return "noCertificate";
    const known =
      this.#pinned.get(certificate.fingerprint256) ??
      this.#verified.get(certificate.fingerprint256) ??
      this.#verify(certificate, nowMs);
    return typeof known === "string" ? known : checkDates(known, nowMs);
  }

  /** Whether an admission given earlier (perhaps by an older trust) still stands. */
  recheck(admission: Admission, certificate: X509Certificate, nowMs: number): boolean {
    const now = this.check(certificate, nowMs);
    return typeof now !== "string" && now.instance.id === admission.instance.id;
  }

  #verify(certificate: X509Certificate, nowMs: number): Admission | Refusal {
    let refusal: Refusal = "unknownCertificate";
    for (const [authority, instance] of this.#authorities.get(certificate.issuer) ?? []) {
      if (!isIssuedBy(certificate, authority)) continue;
      const admission = within(admit(certificate, instance), authority);
      const wrong = checkLeaf(certificate) ?? checkDates(admission, nowMs);
      if (typeof wrong !== "string") {
        this.#remember(certificate.fingerprint256, admission);
        return admission;
      }
      refusal = wrong;
    }
    return refusal;
  }

  #remember(fingerprint: string, admission: Admission): void {
    if (this.#verified.size >= rememberedMax) {
      const oldest = this.#verified.keys().next();
      if (!oldest.done) this.#verified.delete(oldest.value);
    }
    this.#verified.set(fingerprint, admission);
  }
}

function admit(certificate: X509Certificate, instance: Instance): Admission {
  return {
    instance,
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    subject: subjectOf(certificate),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}

/** An admission holds no longer than the authority that it comes from. */
function within(admission: Admission, authority: X509Certificate): Admission {
  return {
    ...admission,
    notBeforeMs: Math.max(admission.notBeforeMs, authority.validFromDate.getTime()),
    notAfterMs: Math.min(admission.notAfterMs, authority.validToDate.getTime()),
  };
}

function checkDates(admission: Admission, nowMs: number): Admission | Refusal {
  if (nowMs < admission.notBeforeMs) return "notYetValid";
  return nowMs > admission.notAfterMs ? "expired" : admission;
}

/** Certificates without Extended Key Usage are common among clients (KMS vendors' field reports) and accepted. */
function checkLeaf(certificate: X509Certificate): Refusal | undefined {
  const named = certificate.keyUsage as readonly string[] | undefined;
  if (certificate.ca) return "wrongPurpose";
  if (named !== undefined && !named.includes(purposes.clientAuth) && !named.includes(anyPurpose)) {
    return "wrongPurpose";
  }
  return /md5|sha-?1\b|sha1/i.test(certificate.signatureAlgorithm ?? "")
    ? "weakSignature"
    : undefined;
}
