import type { Clock } from "@holdfast/engine";
import type { Pkcs11Settings } from "../settings.ts";
import { Pkcs11Host } from "./host.ts";

/** The use of a host by one root of trust. */
export interface HostLease {
  readonly host: Pkcs11Host;
  release(): Promise<void>;
}

interface Shared {
  readonly host: Pkcs11Host;
  users: number;
}

/** The processes that hold tokens: one for each token, whatever number of instances have their root key there. */
export class Pkcs11Hosts {
  readonly #shared = new Map<string, Shared>();
  readonly #refusedPins = new Set<string>();

  /** The token's host, begun by its first user and ended with its last. */
  lease(settings: Pkcs11Settings, clock: Clock): HostLease {
    const { module, token, environment, deadlineMs, inFlightMax } = settings;
    const name = JSON.stringify([module, token, environment, deadlineMs, inFlightMax]);
    const shared = this.#shared.get(name) ?? { host: this.#open(settings, clock), users: 0 };
    this.#shared.set(name, shared);
    shared.users += 1;
    return {
      host: shared.host,
      release: async () => {
        shared.users -= 1;
        if (shared.users > 0) return;
        this.#shared.delete(name);
        await shared.host.close();
      },
    };
  }

  #open(settings: Pkcs11Settings, clock: Clock): Pkcs11Host {
    return new Pkcs11Host(settings, clock, this.#refusedPins);
  }
}
