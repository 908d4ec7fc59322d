import { createHash } from "node:crypto";
import type { Clock } from "@holdfast/engine";
import { Pkcs11Host } from "./host.ts";
import type { Pkcs11Settings } from "./pkcs11.ts";

/** The use of a host by one root of trust, with one PIN. */
export interface HostLease {
  readonly host: Pkcs11Host;
  readonly pin: string;
  release(): Promise<void>;
}

interface Shared {
  readonly host: Pkcs11Host;
  users: number;
}

/**
 * The processes for tokens: one for each token and PIN, however many instances have their root key there. A login is
 * valid for a whole process, so a root of trust with another PIN must not share it: the token would not check that PIN.
 */
export class Pkcs11Hosts {
  readonly #shared = new Map<string, Shared>();
  /** Digests of PINs that tokens refused; they outlive every host. */
  readonly #refusedPins = new Set<string>();

  /** The token's host. Its first user starts it; it ends when its last user releases it. */
  lease(settings: Pkcs11Settings, clock: Clock, pin: string): HostLease {
    const { module, token, environment, deadlineMs, inFlightMax } = settings;
    const digest = digestOf([module, token, pin]);
    const name = digestOf([digest, environment, deadlineMs, inFlightMax]);
    const shared = this.#shared.get(name) ?? {
      host: new Pkcs11Host(settings, clock, { text: pin, digest }, this.#refusedPins),
      users: 0,
    };
    this.#shared.set(name, shared);
    shared.users += 1;
    return {
      host: shared.host,
      pin,
      release: async () => {
        shared.users -= 1;
        if (shared.users > 0) return;
        this.#shared.delete(name);
        await shared.host.close();
      },
    };
  }
}

function digestOf(values: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(values)).digest("hex");
}
