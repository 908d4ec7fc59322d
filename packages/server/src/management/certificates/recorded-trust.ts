import { X509Certificate } from "node:crypto";
import {
  type KeyRing,
  type KindName,
  type ManagedObject,
  readAnyRecord,
  type SystemRecord,
} from "@holdfast/engine";
import type { Trust } from "../../access/trust.ts";
import { reasonOf } from "../../base/operator-error.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { SystemView } from "../../records/system-view.ts";
import { RecordedUsers } from "../users/recorded-users.ts";

export interface RecordedTrustOptions {
  readonly trust: Trust;
  readonly view: Pick<SystemView, "all" | "of" | "onChange">;
  readonly keyRing: Pick<KeyRing, "open">;
  /** Whether the configuration declares the instance: then its records give no access. */
  readonly isDeclared: (instance: string) => boolean;
  readonly observe: NodeObserver;
  /** Called after each change of the trust. */
  readonly changed: () => void;
}

/** The kinds of records that decide who is trusted. */
const ownKinds: ReadonlySet<KindName> = new Set(["Instance", "User", "Certificate", "Authority"]);

/**
 * Keeps the trust as the system records say: the certificates and users of every instance that is Installed. What one
 * change costs does not depend on how many certificates there are.
 */
export class RecordedTrust implements Disposable {
  readonly #options: RecordedTrustOptions;
  /** By instance, what is trusted: the operations that each is limited to, by identifier. */
  readonly #trusted = new Map<string, Map<string, string | undefined>>();
  readonly #users = new Map<string, RecordedUsers>();
  readonly #stop: () => void;

  constructor(options: RecordedTrustOptions) {
    this.#options = options;
    for (const { instance } of options.view.all("Instance")) this.#lookAt(instance);
    this.#stop = options.view.onChange((changed) => this.#take(changed));
  }

  /** Looks at every instance again: the configuration may declare others now. */
  lookAtAll(): void {
    for (const { instance } of this.#options.view.all("Instance")) this.#lookAt(instance);
    this.#options.changed();
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #take(changed: readonly ManagedObject[]): void {
    const records = changed.flatMap((object) => {
      const record = readAnyRecord(object);
      return record !== undefined && ownKinds.has(record.type) && "instance" in record
        ? [record]
        : [];
    });
    for (const { instance, type, id } of records) this.#apply(instance, type, id);
    if (records.length > 0) this.#options.changed();
  }

  #apply(instance: string, type: KindName, id: string): void {
    const trusted = this.#trusted.get(instance);
    if (type === "Instance") this.#lookAt(instance);
    if (trusted === undefined) return;
    if (type === "User") {
      this.#users.delete(instance);
      this.#setTenant(instance);
    }
    if (type === "Certificate") this.#setCertificate(instance, id, trusted);
  }

  /** Opens or closes an instance, by its status. */
  #lookAt(instance: string): void {
    const { view } = this.#options;
    const trusted = this.#trusted.get(instance);
    if (!this.#isOpen(instance)) {
      for (const id of trusted?.keys() ?? []) this.#options.trust.remove(id);
      this.#trusted.delete(instance);
      this.#users.delete(instance);
      return;
    }
    this.#setTenant(instance);
    if (trusted !== undefined) return;
    const opened = new Map<string, string | undefined>();
    this.#trusted.set(instance, opened);
    for (const id of view.of("Certificate", instance).keys()) {
      this.#setCertificate(instance, id, opened);
    }
  }

  #isOpen(instance: string): boolean {
    if (this.#record(instance)?.status !== "Installed") return false;
    return !this.#options.isDeclared(instance);
  }

  #record(instance: string): SystemRecord<"Instance"> | undefined {
    return this.#options.view.of("Instance", instance).values().next().value;
  }

  #setTenant(instance: string): void {
    const { view, trust, keyRing } = this.#options;
    // New ones only where a user has changed: connections then forget the passwords that they checked.
    const users =
      this.#users.get(instance) ??
      new RecordedUsers(instance, view.of("User", instance).values(), keyRing);
    this.#users.set(instance, users);
    const { name = "", destroyOverKmip, destroyDelay } = this.#record(instance) ?? {};
    trust.setTenant(instance, {
      ...{ name, users, keepsKeys: destroyOverKmip === "refused" },
      destroyDelaySeconds: destroyDelay,
    });
  }

  #setCertificate(instance: string, id: string, trusted: Map<string, string | undefined>): void {
    const { view, trust, observe } = this.#options;
    const entry = view.of("Certificate", instance).get(id);
    if (entry === undefined) {
      trust.remove(id);
      trusted.delete(id);
      return;
    }
    // The instance that it gives access to never changes; its name may, which trust does not use.
    const { kind, pem, operations } = entry;
    const limit = operations?.join(" ");
    if (trusted.has(id) && trusted.get(id) === limit) return;
    try {
      const rank = rankOf(entry);
      if (kind === "client") trust.pin(id, instance, entry, rank);
      else trust.bind(id, instance, new X509Certificate(pem), rank, operations);
      trusted.set(id, limit);
    } catch (error) {
      const message = `certificate ${id} of instance ${instance} cannot be read and is not trusted: ${reasonOf(error)}`;
      observe({ type: "warning", message });
    }
  }
}

/** Older first: the same at every node. */
function rankOf({ createdMs, id }: SystemRecord<"Certificate">): string {
  return `1 ${String(createdMs).padStart(16, "0")} ${id}`;
}
