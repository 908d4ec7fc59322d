import { hash, type X509Certificate } from "node:crypto";
import { commonLimit } from "@holdfast/engine";
import { fingerprintOf, isIssuedBy, purposes, subjectOf } from "../base/certificates.ts";
import { readableHash, type Users } from "../base/password-hash.ts";
import type { Listed, Revocation } from "./crl/revocation-lists.ts";
import { denialNames } from "./denials.ts";
import type { Instance } from "./instances.ts";

/** Why a client is refused; these are also values of a metric label. */
export const refusals = [
  "noCertificate",
  "denied",
  "denyListUnreadable",
  "revoked",
  "revocationUnknown",
  "unknownCertificate",
  "notYetValid",
  "expired",
  "wrongPurpose",
  "weakSignature",
] as const;

/** One of `refusals`. */
export type Refusal = (typeof refusals)[number];

/** An instance as its clients see it: all but `id` is always current. */
export interface Tenant {
  readonly id: string;
  name: string;
  users: Users;
  /** See the engine's `Client.keepsKeys`. */
  keepsKeys?: boolean | undefined;
  /** See the engine's `Client.destroyDelaySeconds`. */
  destroyDelaySeconds?: number | undefined;
}

/** A certificate that opens an instance, with its period of validity. */
export interface Admission {
  readonly instance: Tenant;
  /** SHA-256 of the certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The operations that it is limited to, see `allowedOperations`; undefined = all. */
  readonly operations?: readonly string[] | undefined;
  /** SHA-256 of the authority that admits it; undefined if the certificate itself does. */
  readonly authority?: string;
}

/** What is known of a pinned certificate: one that is accepted as it is. */
export type Pinned = Omit<Admission, "instance">;

/** A certificate or an authority that opens an instance. */
interface Opener {
  readonly id: string;
  /** Of two that open different instances, the lower rank counts, the same at every node. */
  readonly rank: string;
  readonly tenant: Tenant;
  readonly digest: bigint;
}

interface Pin extends Opener {
  readonly admission: Admission;
  /** Its `denialNames`, once a client has shown the certificate. */
  names?: readonly string[];
  /** The authorities with revocation lists that issued it, once a client has shown it. */
  listed?: readonly Listed[];
}

interface Bound extends Opener {
  readonly authority: X509Certificate;
  /** See `Admission.operations`. */
  readonly operations: readonly string[] | undefined;
  readonly names: readonly string[];
}

/** A certificate that an authority issued. */
interface Verified {
  readonly admission: Admission;
  /** The identifiers of all authorities that issued it: one may have several certificates. */
  readonly by: readonly string[];
  /** Its `denialNames`, and those of these authorities. */
  readonly names: readonly string[];
  readonly listed: readonly Listed[];
}

/** Finds the authorities with revocation lists that issued a certificate. */
interface Revocations {
  readonly of: (certificate: X509Certificate) => readonly Listed[];
}

/** What the deny list says of a denial: the certificates that it names; undefined if that cannot be read. */
type Match = string | undefined;

/** How many verified certificates that authorities issued are remembered. */
const rememberedMax = 10_000;
const anyPurpose = "2.5.29.37.0";
/** Entries of the configuration come before those added later. */
const declaredRank = "0";

/**
 * Decides which instance a client certificate opens. It never uses OpenSSL's verdict
 * (`authorized`): that skips resumed sessions and, without `ca`, trusts public authorities. It is
 * changed in place, so that adding a certificate costs the same however many there are.
 */
export class Trust {
  readonly #tenants = new Map<string, Tenant>();
  readonly #openers = new Map<string, Pin | Bound>();
  readonly #pinned = new Map<string, readonly Pin[]>();
  /** By subject, so that an unknown certificate costs a look-up and no signature check. */
  readonly #authorities = new Map<string, readonly Bound[]>();
  /** Results of signature checks, in order of insertion, so that the oldest is dropped first. */
  readonly #verified = new Map<string, Verified>();
  /** By the identifier of the denial. */
  readonly #denials = new Map<string, Match>();
  /** How many denials have this match. */
  readonly #denied = new Map<Match, number>();
  #denialsKnown: () => boolean = () => true;
  readonly #revocations: Revocations;
  #digest = 0n;

  constructor(instances: readonly Instance[] = [], revocations: Revocations = { of: () => [] }) {
    this.#revocations = revocations;
    for (const instance of instances) this.declare(instance);
  }

  /** Changes with every certificate, authority or denial added or removed; binds session tickets. */
  get digest(): string {
    return this.#digest.toString(16);
  }

  /** Trusts an instance of the configuration; returns the identifiers of its entries. */
  declare({ id, certificates, authorities, operations, ...tenant }: Instance): readonly string[] {
    this.setTenant(id, tenant);
    const clients = certificates.map((certificate, at) => {
      const entry = `${id} certificate ${at}`;
      this.pin(entry, id, { ...pinnedOf(certificate), operations }, declaredRank);
      return entry;
    });
    const bound = authorities.map((authority, at) => {
      const entry = `${id} authority ${at}`;
      this.bind(entry, id, authority, declaredRank, operations);
      return entry;
    });
    return [...clients, ...bound];
  }

  /** Sets what an instance's clients see of it, for open connections too. */
  setTenant(id: string, { name, users, keepsKeys, destroyDelaySeconds }: Omit<Tenant, "id">): void {
    const known = this.#tenants.get(id);
    const seen = { name, users, keepsKeys, destroyDelaySeconds };
    if (known === undefined) this.#tenants.set(id, { id, ...seen });
    else Object.assign(known, seen);
  }

  /** The users whose password is kept as a scrypt hash, as `INSTANCE/USER`; without those whose hash cannot be unsealed. */
  async scryptUsers(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const { name, users } of this.#tenants.values()) {
      for (const user of users.keys()) {
        const hash = await readableHash(users, user);
        if (hash?.algorithm === "scrypt") found.push(`${name}/${user}`);
      }
    }
    return found;
  }

  /** Accepts a client's certificate as it is. */
  pin(id: string, instance: string, facts: Pinned, rank: string): void {
    this.remove(id);
    const tenant = this.#tenant(instance);
    const digest = digestOf(`${instance} certificate ${facts.fingerprint}`);
    const { fingerprint, subject, notBeforeMs, notAfterMs, operations } = facts;
    const dates = { notBeforeMs, notAfterMs };
    const admission = { instance: tenant, fingerprint, subject, ...dates, operations };
    const pin = { id, rank, tenant, digest, admission };
    this.#openers.set(id, pin);
    this.#digest += digest;
    add(this.#pinned, fingerprint, pin);
  }

  /**
   * Accepts the client certificates that an authority issues, all with one limit to `Admission.operations`. If an
   * instance has several certificates of one authority, all their limits count.
   */
  bind(
    id: string,
    instance: string,
    authority: X509Certificate,
    rank: string,
    operations?: readonly string[],
  ): void {
    this.remove(id);
    const digest = digestOf(`${instance} authority ${fingerprintOf(authority)}`);
    const names = denialNames(authority);
    const tenant = this.#tenant(instance);
    const bound = { id, rank, tenant, digest, authority, names, operations };
    this.#openers.set(id, bound);
    this.#digest += digest;
    add(this.#authorities, authority.subject, bound);
    // The new authority may rank before another of this name: everything is checked again.
    this.#verified.clear();
  }

  /** Removes the pin or the authority under an identifier. */
  remove(id: string): void {
    const opener = this.#openers.get(id);
    if (opener === undefined) return;
    this.#openers.delete(id);
    this.#digest -= opener.digest;
    if ("admission" in opener) {
      drop(this.#pinned, opener.admission.fingerprint, opener);
      return;
    }
    drop(this.#authorities, opener.authority.subject, opener);
    for (const [fingerprint, { by }] of this.#verified) {
      if (by.includes(id)) this.#verified.delete(fingerprint);
    }
  }

  /** Admits nobody while `known` says that the deny list was not read yet. */
  awaitDenials(known: () => boolean): void {
    this.#denialsKnown = known;
  }

  /**
   * Refuses the certificates that have this name among their `denialNames`, and those that such an authority admits; a
   * pinned certificate only by its own names. Refuses everybody if the denial cannot be read: it may name anyone.
   */
  deny(id: string, match: Match): void {
    this.allow(id);
    this.#denials.set(id, match);
    this.#denied.set(match, (this.#denied.get(match) ?? 0) + 1);
    this.#digest += digestOf(`denial ${id} ${match ?? ""}`);
  }

  /** Lifts a denial. */
  allow(id: string): void {
    if (!this.#denials.has(id)) return;
    const match = this.#denials.get(id);
    this.#denials.delete(id);
    const left = (this.#denied.get(match) ?? 0) - 1;
    if (left > 0) this.#denied.set(match, left);
    else this.#denied.delete(match);
    this.#digest -= digestOf(`denial ${id} ${match ?? ""}`);
  }

  /** Whether a denial names a certificate's SHA-256, lower-case hex: also of a node of the other region. */
  denies(fingerprint: string): boolean {
    return this.#denied.has(`fingerprint ${fingerprint}`);
  }

  /** Decides about a client by its certificate. Called for every connection, resumed ones too. */
  check(certificate: X509Certificate | undefined, nowMs: number): Admission | Refusal {
    if (certificate === undefined) return "noCertificate";
    if (!this.#denyListReadable()) return "denyListUnreadable";
    const known = this.#known(fingerprintOf(certificate));
    const names = known?.names ?? denialNames(certificate);
    if (this.#isDenied(names)) return "denied";
    if (known === undefined) return this.#verify(certificate, names, nowMs);
    if (!("by" in known)) {
      known.names = names;
      known.listed ??= this.#revocations.of(certificate);
    }
    return revocationOf(known.listed ?? []) ?? checkDates(known.admission, nowMs);
  }

  /** Whether nothing has changed for the holder of this admission; if not, `recheck` decides. */
  isCurrent(admission: Admission): boolean {
    const known = this.#known(admission.fingerprint);
    if (known?.admission !== admission || known.names === undefined) return false;
    if (this.#isDenied(known.names) || !this.#denyListReadable()) return false;
    return revocationOf(known.listed ?? []) === undefined;
  }

  /** Whether an admission given earlier (perhaps by an older trust) is still valid, and to the same operations. */
  recheck(admission: Admission, certificate: X509Certificate, nowMs: number): boolean {
    const now = this.check(certificate, nowMs);
    if (typeof now === "string" || now.instance.id !== admission.instance.id) return false;
    return now.operations?.join(" ") === admission.operations?.join(" ");
  }

  #known(fingerprint: string): Pin | Verified | undefined {
    const [pin] = this.#pinned.get(fingerprint) ?? [];
    return pin ?? this.#verified.get(fingerprint);
  }

  #isDenied(names: readonly string[]): boolean {
    return names.some((name) => this.#denied.has(name));
  }

  #denyListReadable(): boolean {
    return this.#denialsKnown() && !this.#denied.has(undefined);
  }

  #tenant(id: string): Tenant {
    const tenant = this.#tenants.get(id);
    if (tenant === undefined) throw new RangeError("the certificate's instance is unknown");
    return tenant;
  }

  #verify(
    certificate: X509Certificate,
    own: readonly string[],
    nowMs: number,
  ): Admission | Refusal {
    let refusal: Refusal = "unknownCertificate";
    const issuers = (this.#authorities.get(certificate.issuer) ?? []).filter(({ authority }) =>
      isIssuedBy(certificate, authority),
    );
    const names = [...own, ...issuers.flatMap((issuer) => issuer.names)];
    if (this.#isDenied(names)) return "denied";
    // Only now: a stranger's certificate costs no further signature check.
    const listed = issuers.length === 0 ? [] : this.#revocations.of(certificate);
    const revocation = revocationOf(listed);
    if (revocation !== undefined) return revocation;
    const by = issuers.map(({ id }) => id);
    for (const { tenant: instance, authority } of issuers) {
      const ofInstance = issuers.filter(({ tenant }) => tenant === instance);
      const operations = commonLimit(ofInstance.map((issuer) => issuer.operations));
      const admission = within({ ...pinnedOf(certificate), instance, operations }, authority);
      const wrong = checkLeaf(certificate) ?? checkDates(admission, nowMs);
      if (typeof wrong !== "string") {
        this.#remember({ admission, by, names, listed });
        return admission;
      }
      refusal = wrong;
    }
    return refusal;
  }

  #remember(verified: Verified): void {
    if (this.#verified.size >= rememberedMax) {
      const oldest = this.#verified.keys().next();
      if (!oldest.done) this.#verified.delete(oldest.value);
    }
    this.#verified.set(verified.admission.fingerprint, verified);
  }
}

/** What is kept of a pinned certificate. */
export function pinnedOf(certificate: X509Certificate): Pinned {
  return {
    fingerprint: fingerprintOf(certificate),
    subject: subjectOf(certificate),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}

function revocationOf(listed: readonly Listed[]): Revocation | undefined {
  const all = listed.map(({ by, serial }) => by.verdict(serial));
  return all.find((one) => one === "revoked") ?? all.find((one) => one !== undefined);
}

function add<One extends Opener>(all: Map<string, readonly One[]>, key: string, one: One): void {
  const others = all.get(key) ?? [];
  const sorted = [...others, one].toSorted(
    (a, b) => compare(a.rank, b.rank) || compare(a.id, b.id),
  );
  all.set(key, sorted);
}

function drop(all: Map<string, readonly Opener[]>, key: string, one: Opener): void {
  const others = (all.get(key) ?? []).filter((other) => other !== one);
  if (others.length === 0) all.delete(key);
  else all.set(key, others);
}

function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** The sum of the digests of a set of lines identifies the set, whatever the order of the lines. */
function digestOf(line: string): bigint {
  return BigInt(`0x${hash("sha256", line)}`);
}

/** An admission is valid no longer than the authority that it comes from. */
function within(admission: Admission, authority: X509Certificate): Admission {
  return {
    ...admission,
    authority: fingerprintOf(authority),
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
