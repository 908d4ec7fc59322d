import { type Document, type ManagedObject, readDocument, systemTypes } from "@holdfast/engine";
import type { SystemView } from "../records/system-view.ts";
import { type CertificateEntry, readCertificateEntry } from "./certificates/certificate-entry.ts";

/** What belongs to one instance, of what is not deleted. */
export interface InstanceHoldings {
  readonly id: string;
  /** Undefined while its own record has not been seen, and after its deletion. */
  readonly document: Document | undefined;
  readonly certificates: ReadonlyMap<string, CertificateEntry>;
  /** Records of users by their identifiers, deleted users too. */
  readonly users: ReadonlyMap<string, Document>;
  /** Its own authority. */
  readonly authority: Document | undefined;
}

interface Holdings extends InstanceHoldings {
  document: Document | undefined;
  readonly certificates: Map<string, CertificateEntry>;
  readonly users: Map<string, Document>;
  authority: Document | undefined;
}

/** What an instance's holdings changed in. */
export interface IndexChange {
  readonly instance: string;
  readonly type: number;
  /** The record's identifier. */
  readonly id: string;
}

type Viewed = Pick<SystemView, "records" | "onChange">;

/** The view's records by instance and certificates by fingerprint, kept as the view changes. */
export class InstanceIndex implements Disposable {
  readonly #instances = new Map<string, Holdings>();
  readonly #byFingerprint = new Map<string, ReadonlySet<CertificateEntry>>();
  readonly #listeners = new Set<(changes: readonly IndexChange[]) => void>();
  readonly #stop: () => void;

  constructor(view: Viewed) {
    this.#take([...view.records()]);
    this.#stop = view.onChange((changed) => this.#take(changed));
  }

  /** Undefined for an instance of which there is no record at all. */
  of(instance: string): InstanceHoldings | undefined {
    return this.#instances.get(instance);
  }

  /** Every instance of which there is a record. */
  all(): Iterable<InstanceHoldings> {
    return this.#instances.values();
  }

  /** The entries of a certificate: one, but for what regions did that were cut off from each other. */
  withFingerprint(fingerprint: string): readonly CertificateEntry[] {
    return [...(this.#byFingerprint.get(fingerprint) ?? [])];
  }

  /** Calls `listener` with what changed; answers how to stop that. */
  onChange(listener: (changes: readonly IndexChange[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#listeners.clear();
  }

  #take(objects: readonly ManagedObject[]): void {
    const changes = objects.flatMap((object) => this.#note(object) ?? []);
    if (changes.length === 0) return;
    for (const listener of this.#listeners) listener(changes);
  }

  #note(object: ManagedObject): IndexChange | undefined {
    const document = readDocument(object);
    const instance = document?.fixed["instance"];
    if (document === undefined || instance === undefined) return undefined;
    const { type, id } = document;
    const live = document.destroyed === undefined;
    const holdings = this.#holdings(instance);
    if (type === systemTypes.Instance) holdings.document = live ? document : undefined;
    else if (type === systemTypes.User) holdings.users.set(id, document);
    else if (type === systemTypes.Certificate) this.#noteCertificate(holdings, document, live);
    else if (type === systemTypes.Authority) noteAuthority(holdings, document, live);
    else return undefined;
    return { instance, type, id };
  }

  #noteCertificate({ certificates }: Holdings, document: Document, live: boolean): void {
    const known = certificates.get(document.id);
    if (known !== undefined) {
      const others = this.withFingerprint(known.fingerprint).filter((entry) => entry !== known);
      if (others.length === 0) this.#byFingerprint.delete(known.fingerprint);
      else this.#byFingerprint.set(known.fingerprint, new Set(others));
    }
    const entry = live ? readCertificateEntry(document) : undefined;
    if (entry === undefined) {
      certificates.delete(document.id);
      return;
    }
    certificates.set(document.id, entry);
    const same = this.withFingerprint(entry.fingerprint);
    this.#byFingerprint.set(entry.fingerprint, new Set([...same, entry]));
  }

  #holdings(id: string): Holdings {
    const known = this.#instances.get(id);
    if (known !== undefined) return known;
    const made: Holdings = {
      id,
      document: undefined,
      certificates: new Map(),
      users: new Map(),
      authority: undefined,
    };
    this.#instances.set(id, made);
    return made;
  }
}

function noteAuthority(holdings: Holdings, document: Document, live: boolean): void {
  if (live) holdings.authority = document;
  else if (holdings.authority?.id === document.id) holdings.authority = undefined;
}
