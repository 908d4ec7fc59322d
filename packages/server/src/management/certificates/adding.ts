import type { X509Certificate } from "node:crypto";
import { type Call, type Contract, ManagementError } from "@holdfast/admin";
import type { Clock, SystemRecord } from "@holdfast/engine";
import { denialNames } from "../../access/denials.ts";
import { limitText } from "../../access/operation-limit.ts";
import { managementEvents } from "../../audit/management-event.ts";
import { fingerprintOf, subjectOf } from "../../base/certificates.ts";
import type { Applied, Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import type { FoundInstance, InstanceLookup } from "../instance-lookup.ts";
import { type Listed, listedOf } from "./catalogue.ts";
import { certificateClaims, certificateFixed } from "./certificate-values.ts";
import type { Owner, Ownership } from "./ownership.ts";

/** A certificate that was added, and which regions have it. */
export interface Added {
  readonly entry: Listed;
  readonly regions: Applied;
}

/** What is added, and how. */
export type Addition = Pick<
  SystemRecord<"Certificate">,
  "name" | "kind" | "origin" | "operations"
> & { readonly pemGiven?: string | undefined };

export interface AddingOptions {
  readonly instances: Pick<InstanceLookup, "refresh" | "find">;
  readonly records: Pick<Records, "create" | "destroy">;
  readonly ownership: Ownership;
  readonly view: Pick<SystemView, "find">;
  readonly clock: Pick<Clock, "wallMs">;
}

type Caller = Pick<
  Call<Contract["addCertificate" | "adoptCertificate" | "signRequest" | "issuePair"]>,
  "audit" | "principal" | "requestId" | "newId"
>;

/**
 * Adds certificates by the regions' agreement, so that a certificate and a name have one owner, even if they are added
 * in several places at the same time.
 */
export class Adding {
  readonly #options: AddingOptions;

  constructor(options: AddingOptions) {
    this.#options = options;
  }

  /** Refuses a name or a certificate that is known to be taken, before anything is made. */
  async check(
    call: Caller,
    found: FoundInstance,
    { name, kind }: Pick<Addition, "name" | "kind">,
    certificate?: X509Certificate,
  ): Promise<void> {
    await this.#options.instances.refresh();
    const now = await this.#options.instances.find(found.id);
    const named = listedOf(now).find((listed) => listed.name === name);
    if (named !== undefined) throw nameTaken(found, name);
    const owner = certificate && this.#options.ownership.ownerOf(certificate, kind, found.id);
    if (owner !== undefined) throw await this.#taken(call, found, owner);
    if (certificate !== undefined) this.#refuseDenied(certificate);
  }

  /** It would give no access, which nobody would expect of a certificate that was just added. */
  #refuseDenied(certificate: X509Certificate): void {
    const [denial] = denialNames(certificate)
      .flatMap((name) => this.#options.view.find("Deny", name))
      .filter(({ destroyed }) => destroyed === undefined);
    if (denial === undefined) return;
    throw new ManagementError(
      "certificateInvalid",
      `this certificate is on the deny list (denial ${denial.id}): have a new one made, or lift the denial with \`holdfast deny remove\` first`,
    );
  }

  /** Adds a certificate; it is in both regions' stores when this resolves. */
  async add(
    call: Caller,
    found: FoundInstance,
    certificate: X509Certificate,
    addition: Addition,
  ): Promise<Added> {
    await this.check(call, found, addition, certificate);
    const { records, clock } = this.#options;
    const { name, kind, origin, operations, pemGiven } = addition;
    const nowMs = clock.wallMs();
    const about = { instance: found.id, kind, origin, createdMs: nowMs };
    const fixed = certificateFixed(certificate, { ...about, createdBy: call.principal.name });
    const claims = certificateClaims(certificate, { ...about, name });
    const target = { id: call.newId, name, instance: found.id };
    const detail = {
      fingerprint: fingerprintOf(certificate),
      subject: subjectOf(certificate),
      kind,
      ...(operations === undefined ? {} : { operations: limitText(operations) }),
    };
    const events = managementEvents(call, call.audit, target, {
      timeMs: nowMs,
      detail,
    });
    try {
      const { record: entry, regions } = await records.create(
        "Certificate",
        {
          ...fixed,
          name,
          claims,
          ...(operations !== undefined && { operations }),
          ...(pemGiven !== undefined && { pemGiven }),
        },
        events,
        { id: call.newId, agreed: true, taken: (claim) => takenBy(found, name, claim) },
      );
      await this.#settle(call, found, certificate, entry);
      return { entry, regions };
    } catch (error) {
      throw explained(error);
    }
  }

  /**
   * No claim shows that an authority and a certificate that it issued were added to two instances at once: the second
   * addition sees the first by now, and takes its own entry back.
   */
  async #settle(
    call: Caller,
    found: FoundInstance,
    certificate: X509Certificate,
    entry: SystemRecord<"Certificate">,
  ): Promise<void> {
    const { instances, ownership, records, clock } = this.#options;
    await instances.refresh();
    const owner = ownership.ownerOf(certificate, entry.kind, found.id, entry.id);
    if (owner === undefined) return;
    const target = { id: entry.id, name: entry.name, instance: found.id };
    const events = managementEvents(call, "certificate.delete", target, {
      timeMs: clock.wallMs(),
      detail: { because: "certificateTaken" },
    });
    await records.destroy("Certificate", entry.id, events);
    throw await this.#taken(call, found, owner);
  }

  async #taken(call: Caller, found: FoundInstance, owner: Owner): Promise<ManagementError> {
    const whose = await this.#nameOf(call, found, owner);
    const elsewhere = `this certificate already gives access to ${whose}: a certificate belongs to one instance only; delete it there first`;
    const details: Readonly<Record<Owner["how"], string>> = {
      same:
        owner.instance === found.id
          ? `${found.name} has this certificate already${owner.name === "" ? "" : `, as ${owner.name}`}`
          : elsewhere,
      signer:
        owner.instance === found.id
          ? `${found.name} has an authority with this name and key already: only after \`holdfast certificate delete\` can a renewed one be added, and its clients have no access in between`
          : elsewhere,
      issued: `this certificate was issued by an authority of ${whose}, to which it already gives access: have another one made for ${found.name}`,
      issues: `${whose} has a certificate that this authority issued: one authority cannot admit clients to two instances`,
    };
    return new ManagementError("certificateTaken", details[owner.how]);
  }

  /** A token that is bound to instances must not learn about other instances. */
  async #nameOf({ principal }: Caller, found: FoundInstance, owner: Owner): Promise<string> {
    if (owner.instance === found.id) return found.name;
    const bound = principal.instances;
    if (bound !== undefined && !bound.includes(owner.instance)) return "another instance";
    const other = await this.#options.instances.find(owner.instance).catch(() => undefined);
    return other === undefined ? "another instance" : `instance ${other.name}`;
  }
}

function takenBy(found: FoundInstance, name: string, claim: string): ManagementError {
  if (claim.startsWith("name ")) return nameTaken(found, name);
  return new ManagementError(
    "certificateTaken",
    "this certificate was added to an instance a moment ago: a certificate belongs to one instance only",
  );
}

function nameTaken(found: FoundInstance, name: string): ManagementError {
  return new ManagementError(
    "nameTaken",
    `${found.name} already has a certificate with the name ${name}: choose another name`,
  );
}

function explained(error: unknown): unknown {
  if (!(error instanceof ManagementError) || error.code !== "peerUnreachable") return error;
  return new ManagementError(
    "peerUnreachable",
    `nothing was added, since both regions must agree to a certificate: ${error.message}; try again when it is back, or retire the region if it is lost`,
  );
}
