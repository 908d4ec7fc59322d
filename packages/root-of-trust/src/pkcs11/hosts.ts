import { createHash } from "node:crypto";
import type { Clock } from "@holdfast/engine";
import { type HostPin, Pkcs11Host } from "./host.ts";
import { PinTries } from "./pin-tries.ts";
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

/** A token, and how many hosts it has. */
interface KnownToken {
  readonly tries: PinTries;
  hosts: number;
}

/**
 * The processes for tokens: one for each token and PIN, however many instances have their root key there. A login is
 * valid for a whole process, so a root of trust with another PIN must not share it: the token would not check that PIN.
 */
export class Pkcs11Hosts {
  readonly #shared = new Map<string, Shared>();
  /** By module and label. What is known of PINs outlives every host. */
  readonly #tokens = new Map<string, KnownToken>();

  /** The token's host. Its first user starts it; it ends when its last user releases it. */
  lease(settings: Pkcs11Settings, clock: Clock, pin: string): HostLease {
    const { module, token, environment, deadlineMs, inFlightMax } = settings;
    const digest = digestOf([module, token, pin]);
    const name = digestOf([digest, environment, deadlineMs, inFlightMax]);
    const shared = this.#shared.get(name) ?? this.#open(settings, clock, { text: pin, digest });
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
        this.#closed(settings);
      },
    };
  }

  #open(settings: Pkcs11Settings, clock: Clock, pin: HostPin): Shared {
    const { module, token } = settings;
    const place = digestOf([module, token]);
    const known = this.#tokens.get(place) ?? { tries: new PinTries(token), hosts: 0 };
    this.#tokens.set(place, known);
    known.hosts += 1;
    return { host: new Pkcs11Host(settings, clock, pin, known.tries), users: 0 };
  }

  /** Callers name tokens freely, so one of which nothing is known is forgotten. */
  #closed({ module, token }: Pkcs11Settings): void {
    const place = digestOf([module, token]);
    const known = this.#tokens.get(place);
    if (known === undefined) return;
    known.hosts -= 1;
    if (known.hosts === 0 && known.tries.isEmpty) this.#tokens.delete(place);
  }
}

function digestOf(values: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(values)).digest("hex");
}
