import { type Handlers, ManagementError } from "@holdfast/admin";
import { type Clock, type Ids, type RootOfTrust, StoreUnavailable } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import type { Duty, DutyContext, DutyResult } from "@holdfast/regions";
import { managementEvent } from "../audit/management-event.ts";
import type { Records } from "../records/records.ts";

const everyMs = 1_000;

/** Continues a rotation of the own store's storage key (docs/storage-key.md). */
export class RotateStorageKey implements Duty {
  readonly name = "rotate-storage-key";
  readonly everyMs = everyMs;
  readonly #own: Pick<RedisStore, "continueRotation">;
  #last: { readonly left: number | undefined; readonly signal: AbortSignal } | undefined;

  constructor(own: Pick<RedisStore, "continueRotation">) {
    this.#own = own;
  }

  /** Records that an older key has proven, as this node last counted them; undefined where it does not lead. */
  get left(): number | undefined {
    return this.#last?.signal.aborted === false ? this.#last.left : undefined;
  }

  /** Never says that something is left: between two runs, other nodes follow what this one did. */
  async run({ active, signal }: DutyContext): Promise<DutyResult> {
    const { done, left } = await this.#own.continueRotation(active);
    this.#last = { left, signal };
    return { done, left: 0 };
  }
}

/** The handlers of the routes for the storage key of this region's store. */
export function storageKeyHandlers({
  region,
  own,
  root,
  randomBytes,
  records,
  clock,
}: {
  readonly region: string;
  readonly own: Pick<RedisStore, "storageKeyState" | "rotateStorageKey">;
  readonly root: () => Promise<RootOfTrust>;
  readonly randomBytes: Ids["randomBytes"];
  readonly records: Pick<Records, "leaveEvidence">;
  readonly clock: Pick<Clock, "wallMs">;
}): Pick<Handlers, "readStorageKey" | "rotateStorageKey"> {
  const show = async () => {
    const { number, madeMs, rotation, left } = await own.storageKeyState();
    return {
      ...{ region, number },
      rotation: rotation ?? ("none" as const),
      ...(madeMs > 0 && { since: new Date(madeMs).toISOString() }),
      ...(left !== undefined && { left }),
    };
  };
  return {
    readStorageKey: show,
    rotateStorageKey: async (call) => {
      const leave = (outcome: "pending" | "success", detail: Readonly<Record<string, number>>) => {
        const about = { timeMs: clock.wallMs(), detail };
        const event = managementEvent(call, call.audit, outcome, { id: region }, about);
        return records.leaveEvidence([event]);
      };
      await leave("pending", {});
      const number = await own.rotateStorageKey(await root(), randomBytes).catch(refuse);
      if (number === undefined) {
        const detail = "a rotation is under way: `holdfast storage-key show` says how far it is";
        throw new ManagementError("wrongState", detail);
      }
      await leave("success", { number });
      return await show();
    },
  };
}

/** Says what must be done first, where asking again does not help. */
function refuse(error: unknown): never {
  if (!(error instanceof StoreUnavailable)) throw error;
  if (error.failure === "keyClosed") throw new ManagementError("rootUnavailable", error.message);
  throw error.failure === "unsafe" ? new ManagementError("wrongState", error.message) : error;
}
