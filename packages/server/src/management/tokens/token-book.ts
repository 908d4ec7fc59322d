import { timingSafeEqual } from "node:crypto";
import { type Clock, type ManagedObject, readDocument } from "@holdfast/engine";
import type { SystemView } from "../../records/system-view.ts";
import type { Bearer, TokenRefusal, TokenVerifier } from "./bearer.ts";
import { hashOf, isToken, readTokenEntry, type TokenEntry } from "./token-entry.ts";

export interface TokenBookOptions {
  readonly view: Pick<SystemView, "records" | "onChange" | "freshAtMs">;
  readonly clock: Clock;
}

/** A view older than this may lack a revocation: then tokens are believed for reading only. */
const staleMs = 10_000;

/** All tokens as the view tells them, by what is kept of them; every request is checked here, in memory. */
export class TokenBook implements TokenVerifier, Disposable {
  readonly #options: TokenBookOptions;
  readonly #byHash = new Map<string, TokenEntry>();
  readonly #stop: () => void;

  constructor(options: TokenBookOptions) {
    this.#options = options;
    this.#take([...options.view.records()]);
    this.#stop = options.view.onChange((changed) => this.#take(changed));
  }

  /** Every token, revoked and expired ones too; newest first. */
  list(): readonly TokenEntry[] {
    return [...this.#byHash.values()].toSorted(
      (one, other) => other.createdMs - one.createdMs || (one.id < other.id ? -1 : 1),
    );
  }

  /** See `TokenVerifier.verify`. */
  verify(token: string): Bearer | TokenRefusal {
    if (!isToken(token)) return "unknown";
    const fresh = this.isFresh();
    const hash = hashOf(token);
    const entry = this.#byHash.get(hash);
    // It may have been made since.
    if (entry === undefined || !same(entry.hash, hash)) return fresh ? "unknown" : "unavailable";
    if (entry.revoked) return "revoked";
    if (entry.expiresMs <= this.#options.clock.wallMs()) return "expired";
    const { id, name, role, instances, expiresMs } = entry;
    return { id, name, role, instances, expiresMs, ...(fresh ? {} : { stale: true }) };
  }

  /** Whether a token lets somebody manage everything now. */
  hasManager(): boolean {
    const nowMs = this.#options.clock.wallMs();
    for (const { role, instances, revoked, expiresMs } of this.#byHash.values()) {
      if (role === "manager" && instances === undefined && !revoked && expiresMs > nowMs)
        return true;
    }
    return false;
  }

  /** Whether what is known is not older than a revocation may take. */
  isFresh(): boolean {
    const { view, clock } = this.#options;
    return view.freshAtMs !== undefined && clock.monotonicMs() - view.freshAtMs <= staleMs;
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #take(objects: readonly ManagedObject[]): void {
    for (const object of objects) {
      const document = readDocument(object);
      const entry = document && readTokenEntry(document);
      if (entry !== undefined) this.#byHash.set(entry.hash, entry);
    }
  }
}

function same(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, "hex"), Buffer.from(other, "hex"));
}
