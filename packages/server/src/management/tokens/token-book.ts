import { timingSafeEqual } from "node:crypto";
import type { Clock, SystemRecord } from "@holdfast/engine";
import type { SystemView } from "../../records/system-view.ts";
import type { Bearer, TokenRefusal, TokenVerifier } from "./bearer.ts";
import { hashOf, isToken } from "./token-text.ts";

export interface TokenBookOptions {
  readonly view: Pick<SystemView, "all" | "find" | "freshAtMs">;
  readonly clock: Clock;
}

/** A view older than this may lack a revocation: then tokens are valid for reading only. */
const staleMs = 10_000;

/** All tokens of the view; every request is checked here, in memory. */
export class TokenBook implements TokenVerifier {
  readonly #options: TokenBookOptions;

  constructor(options: TokenBookOptions) {
    this.#options = options;
  }

  /** Every token, revoked and expired ones too; newest first. */
  list(): readonly SystemRecord<"Token">[] {
    return this.#options.view
      .all("Token")
      .toSorted((one, other) => other.createdMs - one.createdMs || (one.id < other.id ? -1 : 1));
  }

  /** See `TokenVerifier.verify`. */
  verify(token: string): Bearer | TokenRefusal {
    if (!isToken(token)) return "unknown";
    const fresh = this.isFresh();
    const hash = hashOf(token);
    const record = this.#options.view.find("Token", hash).at(-1);
    // It may have been made since.
    if (record === undefined || !same(record.hash, hash)) return fresh ? "unknown" : "unavailable";
    if (record.destroyed !== undefined) return "revoked";
    if (record.expiresMs <= this.#options.clock.wallMs()) return "expired";
    const { id, name, role, instances, expiresMs } = record;
    return { id, name, role, instances, expiresMs, ...(fresh ? {} : { stale: true }) };
  }

  /** Whether a valid token exists that may manage everything. */
  hasManager(): boolean {
    const nowMs = this.#options.clock.wallMs();
    return this.#options.view
      .all("Token")
      .some(
        ({ role, instances, destroyed, expiresMs }) =>
          role === "manager" &&
          instances === undefined &&
          destroyed === undefined &&
          expiresMs > nowMs,
      );
  }

  /** Whether the view is at most as old as a revocation may take. */
  isFresh(): boolean {
    const { view, clock } = this.#options;
    return view.freshAtMs !== undefined && clock.monotonicMs() - view.freshAtMs <= staleMs;
  }
}

function same(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, "hex"), Buffer.from(other, "hex"));
}
