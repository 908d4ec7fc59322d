import { X509Certificate } from "node:crypto";
import { type KeyRing, systemTypes } from "@holdfast/engine";
import type { Trust } from "../../access/trust.ts";
import { reasonOf } from "../../base/start-error.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { IndexChange, InstanceHoldings, InstanceIndex } from "../instance-index.ts";
import { RecordedUsers } from "../users/recorded-users.ts";
import type { CertificateEntry } from "./certificate-entry.ts";

export interface RecordedTrustOptions {
  readonly trust: Trust;
  readonly index: InstanceIndex;
  readonly keyRing: Pick<KeyRing, "open">;
  /** Whether the configuration declares the instance: then its records open nothing. */
  readonly isDeclared: (instance: string) => boolean;
  readonly observe: NodeObserver;
  /** Called after each change of the trust. */
  readonly changed: () => void;
}

/**
 * Keeps the trust as the system records say: the certificates and users of every instance that is Installed. What one
 * change costs does not depend on how many certificates there are.
 */
export class RecordedTrust implements Disposable {
  readonly #options: RecordedTrustOptions;
  /** Identifiers of what is trusted, by instance. */
  readonly #trusted = new Map<string, Set<string>>();
  readonly #users = new Map<string, RecordedUsers>();
  readonly #stop: () => void;

  constructor(options: RecordedTrustOptions) {
    this.#options = options;
    for (const { id } of options.index.all()) this.#lookAt(id);
    this.#stop = options.index.onChange((changes) => this.#take(changes));
  }

  /** Looks at every instance again: the configuration may declare others now. */
  lookAtAll(): void {
    for (const { id } of this.#options.index.all()) this.#lookAt(id);
    this.#options.changed();
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #take(changes: readonly IndexChange[]): void {
    for (const change of changes) this.#apply(change);
    this.#options.changed();
  }

  #apply({ instance, type, id }: IndexChange): void {
    const trusted = this.#trusted.get(instance);
    if (type === systemTypes.Instance) this.#lookAt(instance);
    if (trusted === undefined) return;
    if (type === systemTypes.User) {
      this.#users.delete(instance);
      this.#setTenant(instance);
    }
    if (type === systemTypes.Certificate) this.#setCertificate(instance, id, trusted);
  }

  /** Opens or closes an instance, by its status. */
  #lookAt(instance: string): void {
    const holdings = this.#options.index.of(instance);
    const open = this.#isOpen(holdings);
    const trusted = this.#trusted.get(instance);
    if (!open) {
      for (const id of trusted ?? []) this.#options.trust.remove(id);
      this.#trusted.delete(instance);
      this.#users.delete(instance);
      return;
    }
    this.#setTenant(instance);
    if (trusted !== undefined) return;
    const opened = new Set<string>();
    this.#trusted.set(instance, opened);
    for (const id of holdings?.certificates.keys() ?? []) {
      this.#setCertificate(instance, id, opened);
    }
  }

  #isOpen(holdings: InstanceHoldings | undefined): boolean {
    if (holdings?.document?.fields["status"] !== "Installed") return false;
    return !this.#options.isDeclared(holdings.id);
  }

  #setTenant(instance: string): void {
    const { index, trust, keyRing } = this.#options;
    const holdings = index.of(instance);
    // Others only where a user has changed: connections then forget the passwords that they showed.
    const users =
      this.#users.get(instance) ??
      new RecordedUsers(instance, holdings?.users.values() ?? [], keyRing);
    this.#users.set(instance, users);
    trust.setTenant(instance, holdings?.document?.fields["name"] ?? "", users);
  }

  #setCertificate(instance: string, id: string, trusted: Set<string>): void {
    const { index, trust, observe } = this.#options;
    const entry = index.of(instance)?.certificates.get(id);
    if (entry === undefined) {
      trust.remove(id);
      trusted.delete(id);
      return;
    }
    // What it opens never changes; its name does, which trust does not know.
    if (trusted.has(id)) return;
    try {
      if (entry.kind === "client") trust.pin(id, instance, entry, rankOf(entry));
      else trust.bind(id, instance, new X509Certificate(entry.pem), rankOf(entry));
      trusted.add(id);
    } catch (error) {
      const message = `certificate ${id} of instance ${instance} does not read and is not trusted: ${reasonOf(error)}`;
      observe({ type: "warning", message });
    }
  }
}

/** Older first: the same at every node. */
function rankOf({ createdMs, id }: CertificateEntry): string {
  return `1 ${String(createdMs).padStart(16, "0")} ${id}`;
}
