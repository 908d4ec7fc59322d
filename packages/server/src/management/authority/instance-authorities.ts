import { X509Certificate } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Call, ManagementError } from "@holdfast/admin";
import {
  type Clock,
  type Ids,
  type KeyRing,
  recordKinds,
  type SystemRecord,
} from "@holdfast/engine";
import { managementEvents } from "../../audit/management-event.ts";
import type { Records } from "../../records/records.ts";
import type { FoundInstance, InstanceLookup } from "../instance-lookup.ts";
import { openText, sealedOr, sealText } from "../sealed-text.ts";
import type { Signer } from "./issue.ts";

export interface InstanceAuthoritiesOptions {
  readonly instances: Pick<InstanceLookup, "find" | "refresh">;
  readonly records: Pick<Records, "create">;
  readonly keyRing: Pick<KeyRing, "seal" | "open">;
  readonly clock: Pick<Clock, "wallMs">;
  readonly ids: Pick<Ids, "uuid">;
}

type Caller = Pick<Call, "principal" | "requestId">;
type Authority = SystemRecord<"Authority">;

const seenTries = 20;
const seenPauseMs = 50;

/**
 * Each instance's own authority, made when it first signs: its key is sealed under the instance's KEK, so that every
 * node of both regions signs with it. It admits no client by itself: each certificate that it signs is added, and can
 * be deleted, by itself.
 */
export class InstanceAuthorities {
  readonly #options: InstanceAuthoritiesOptions;

  constructor(options: InstanceAuthoritiesOptions) {
    this.#options = options;
  }

  /** Throws `notFound` without one. */
  certificateOf({ authority, name }: FoundInstance): X509Certificate {
    if (authority !== undefined) return new X509Certificate(authority.pem);
    throw new ManagementError(
      "notFound",
      `${name} has no authority yet: it is made when it first signs a request or issues a pair`,
    );
  }

  /** Opens an instance's authority for a signature; makes it where it does not exist. */
  async signerOf(call: Caller, found: FoundInstance): Promise<Signer> {
    const known = (await this.#options.instances.find(found.id)).authority;
    return await this.#open(found, known ?? (await this.#make(call, found)));
  }

  async #open(found: FoundInstance, { id, pem, key: sealed = "" }: Authority): Promise<Signer> {
    // Loaded when it is first needed: it takes 3 MB.
    const { signerOf } = await import("./issue.ts");
    const key = await sealedOr(() =>
      openText(this.#options.keyRing, authorityBinding(found.id, id), sealed),
    );
    const copy = new Uint8Array(key);
    key.fill(0);
    try {
      return await signerOf(pem, copy);
    } finally {
      copy.fill(0);
    }
  }

  /** By the regions' agreement: if two nodes make one at the same time, only one succeeds. */
  async #make(call: Caller, found: FoundInstance): Promise<Authority> {
    const { records, keyRing, clock, ids } = this.#options;
    const nowMs = clock.wallMs();
    const id = ids.uuid();
    const { makeAuthority } = await import("./issue.ts");
    const { pem, key } = await makeAuthority(`KMIP clients of ${found.name}`, nowMs);
    const sealed = await sealedOr(() => sealText(keyRing, authorityBinding(found.id, id), key));
    key.fill(0);
    const { principal } = call;
    const fixed = { instance: found.id, pem, createdMs: nowMs, createdBy: principal.name };
    const target = { id, name: found.name, instance: found.id };
    const events = managementEvents(call, "authority.create", target, { timeMs: nowMs });
    try {
      const made = await records.create(
        "Authority",
        { ...fixed, key: sealed, claims: [["instance", found.id]] },
        events,
        { id, agreed: true },
      );
      return made.record;
    } catch (error) {
      if (error instanceof ManagementError && error.code === "nameTaken") {
        return await this.#other(found);
      }
      throw error;
    }
  }

  /** Waits until this node sees the authority that another node made first. */
  async #other(found: FoundInstance): Promise<Authority> {
    for (let tries = 0; tries < seenTries; tries += 1) {
      await this.#options.instances.refresh();
      const { authority } = await this.#options.instances.find(found.id);
      if (authority !== undefined) return authority;
      await delay(seenPauseMs);
    }
    throw new ManagementError("conflict", "the authority is being made elsewhere: try again");
  }
}

/** What an authority's key is sealed to. */
export function authorityBinding(instance: string, uniqueIdentifier: string) {
  return { instance, uniqueIdentifier, objectType: recordKinds.Authority.type };
}
