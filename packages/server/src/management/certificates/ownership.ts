import { X509Certificate } from "node:crypto";
import type { SystemRecord } from "@holdfast/engine";
import type { Instance } from "../../access/instances.ts";
import { fingerprintOf, isIssuedBy, signerOf, subjectOf } from "../../base/certificates.ts";
import type { SystemView } from "../../records/system-view.ts";

/** What a certificate is compared with. */
export interface OwnershipOptions {
  readonly view: Pick<SystemView, "all" | "find">;
  /** Instances of the configuration. */
  readonly declared: () => readonly Instance[];
}

/** An instance that a certificate belongs to already, and how. */
export interface Owner {
  readonly instance: string;
  /**
   * `same`: it has the certificate; `signer`: it has an authority of this name and key; `issued`: its authority has
   * issued it; `issues`: it has one that this authority issued.
   */
  readonly how: "same" | "signer" | "issued" | "issues";
  /** The entry's name, where there is one. */
  readonly name: string;
}

/** Finds the one instance that a certificate gives access to, by itself or through its issuer. */
export class Ownership {
  readonly #options: OwnershipOptions;

  constructor(options: OwnershipOptions) {
    this.#options = options;
  }

  /** What prevents `instance` from having the certificate; `except` is its own entry. */
  ownerOf(
    certificate: X509Certificate,
    kind: SystemRecord<"Certificate">["kind"],
    instance: string,
    except?: string,
  ): Owner | undefined {
    return (
      this.#same(certificate, except) ??
      (kind === "client"
        ? this.#issuedElsewhere(certificate, instance)
        : this.#issuesElsewhere(certificate, instance, except))
    );
  }

  #same(certificate: X509Certificate, except: string | undefined): Owner | undefined {
    const fingerprint = fingerprintOf(certificate);
    const entry = this.#options.view
      .find("Certificate", fingerprint)
      .find(({ id, destroyed }) => id !== except && destroyed === undefined);
    if (entry !== undefined) return { instance: entry.instance, how: "same", name: entry.name };
    for (const { id, certificates, authorities } of this.#options.declared()) {
      const has = [...certificates, ...authorities].some(
        (other) => fingerprintOf(other) === fingerprint,
      );
      if (has) return { instance: id, how: "same", name: "" };
    }
    return undefined;
  }

  #issuedElsewhere(certificate: X509Certificate, instance: string): Owner | undefined {
    for (const { owner, authority } of this.#authorities(certificate.issuer ?? "")) {
      if (owner !== instance && isIssuedBy(certificate, authority)) {
        return { instance: owner, how: "issued", name: "" };
      }
    }
    return undefined;
  }

  #issuesElsewhere(
    authority: X509Certificate,
    instance: string,
    except: string | undefined,
  ): Owner | undefined {
    const signer = signerOf(authority);
    for (const { owner, id, authority: other } of this.#authorities(authority.subject)) {
      if (id !== except && signerOf(other) === signer) {
        return { instance: owner, how: "signer", name: "" };
      }
    }
    for (const { owner, certificate } of this.#clients(authority)) {
      if (owner !== instance && isIssuedBy(certificate, authority)) {
        return { instance: owner, how: "issues", name: "" };
      }
    }
    return undefined;
  }

  /** Every authority of this name: those of the configuration, those that were added, and the instances' own. */
  *#authorities(
    subject: string,
  ): Generator<{ owner: string; id: string; authority: X509Certificate }> {
    for (const { id, authorities } of this.#options.declared()) {
      for (const authority of authorities) {
        if (authority.subject === subject) yield { owner: id, id: "", authority };
      }
    }
    const { view } = this.#options;
    const added = view.all("Certificate").filter(({ kind }) => kind === "authority");
    for (const { instance: owner, id, pem, destroyed } of [...added, ...view.all("Authority")]) {
      const authority = destroyed === undefined ? parsed(pem) : undefined;
      if (authority?.subject === subject) yield { owner, id, authority };
    }
  }

  /** Every client's certificate that names this issuer. */
  *#clients(
    authority: X509Certificate,
  ): Generator<{ owner: string; certificate: X509Certificate }> {
    for (const { id, certificates } of this.#options.declared()) {
      for (const certificate of certificates) yield { owner: id, certificate };
    }
    const issuer = subjectOf(authority);
    for (const one of this.#options.view.all("Certificate")) {
      if (one.kind !== "client" || one.issuer !== issuer || one.destroyed !== undefined) continue;
      const certificate = parsed(one.pem);
      if (certificate !== undefined) yield { owner: one.instance, certificate };
    }
  }
}

function parsed(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
