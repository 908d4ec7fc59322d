import type { KeyRingStatus, RootKey } from "@holdfast/engine";
import type { RootReference } from "../records/root-reference.ts";
import {
  checkRoot,
  type GivenLookup,
  type GivenRoot,
  listRoots,
  type OpenForLook,
  type Sealer,
  storedReference,
} from "./given-root.ts";
import type { Roots } from "./open/roots.ts";
import type { MoveRoots } from "./rewrap.ts";
import { rootProblem } from "./root-problem.ts";
import { type RootStatus, rootStatusOf } from "./root-status.ts";
import type { ValidateRoots } from "./validate.ts";

export interface RegionRootsOptions {
  readonly region: string;
  /** The kind of the configuration's root of trust. */
  readonly kind: RootStatus["type"];
  readonly roots: Roots;
  readonly moves: MoveRoots;
  readonly validate: ValidateRoots;
  readonly keyRing: {
    readonly revalidate: (instance: string) => Promise<void>;
    readonly statusOf: (instance: string) => KeyRingStatus | undefined;
  };
  readonly refresh: () => Promise<void>;
  /** Opens a root of trust apart from those that serve. */
  readonly open: OpenForLook;
  readonly seal: Sealer;
}

/** What administrators may have done with the roots of trust of this region, whichever region they ask. */
export class RegionRoots {
  readonly #options: RegionRootsOptions;

  constructor(options: RegionRootsOptions) {
    this.#options = options;
  }

  /** A root of trust that could serve here now, as a record may hold it; else a `ManagementError` that names what is missing. */
  async check(given: GivenRoot): Promise<RootReference> {
    const { seal, open } = this.#options;
    const reference = await stored(given, seal);
    return { ...reference, name: await checkRoot(open, reference) };
  }

  async rootKeys(given: GivenLookup): Promise<RootKey[]> {
    const { seal, open } = this.#options;
    return [...(await listRoots(open, await stored(given, seal)))];
  }

  /** Brings an instance's KEKs under its root key's present version, and validates that. */
  async settle(
    instance: string,
    anySource: boolean,
  ): Promise<{ readonly rewrapped: number; readonly status: RootStatus }> {
    const { moves, validate, roots } = this.#options;
    await this.#refresh();
    try {
      const { current, next } = roots.named(instance);
      // Its present version is asked for now.
      await (await roots.of(next ?? current)).validate();
      const { rewrapped } = await moves.settle(instance, { anySource });
      await validate.one(instance);
      return { rewrapped, status: this.status(instance) };
    } catch (error) {
      throw rootProblem(error);
    }
  }

  /** Asks the key manager now, and for every open key of this node; the others see the order in the instance's record. */
  async revalidate(instance: string): Promise<RootStatus> {
    const { keyRing, validate } = this.#options;
    await this.#refresh();
    await keyRing.revalidate(instance);
    await validate.one(instance);
    return this.status(instance);
  }

  status(instance: string): RootStatus {
    const { roots, region, kind, keyRing } = this.#options;
    const record = roots.record(instance) ?? {
      root: {},
      rootNext: {},
      rootLeft: {},
      state: {},
      keys: {},
    };
    return rootStatusOf(record, region, kind, keyRing.statusOf(instance));
  }

  /** Another region's order may not have been seen yet. */
  async #refresh(): Promise<void> {
    await this.#options.refresh().catch(() => undefined);
  }
}

async function stored(given: GivenRoot | GivenLookup, seal: Sealer): Promise<RootReference> {
  try {
    return await storedReference(given, seal);
  } catch (error) {
    throw rootProblem(error);
  }
}
