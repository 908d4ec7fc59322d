import {
  type AuditEvent,
  type Change,
  type CommitOptions,
  type CommitOutcome,
  type FindPage,
  type FindQuery,
  type ManagedObject,
  type ObjectStore,
  type OwnStoredObject,
  type ReserveOutcome,
  recordTag,
  type StoredObject,
  StoreUnavailable,
} from "@holdfast/engine";
import type { ReplyOf } from "../codecs.ts";
import type { Answered } from "./attempt.ts";
import { type Calls, inPages } from "./calls.ts";

type Slots = readonly (OwnStoredObject | undefined)[];

/**
 * Checks that at least one of the first identifiers is answered, each with its own record; the
 * others are requested again.
 */
export function slotsOf(found: Slots, ids: readonly string[], region: string): Slots {
  if (found.length > ids.length || found.length === 0) {
    throw new StoreUnavailable("peerUnreachable", `region ${region} answered another request`);
  }
  if (found.some((stored, at) => stored && stored.object.uniqueIdentifier !== ids[at])) {
    throw new StoreUnavailable("peerUnreachable", `region ${region} answered another request`);
  }
  return found;
}

/**
 * The outcome of a change that several nodes may have been asked to make. Where one of them may
 * have made it before another refused it, the records decide: the change was made if they match its
 * result. Then it is known only that this region has it.
 */
export async function settled(
  { result: outcome, doubt }: Answered<ReplyOf<"commit">>,
  changes: readonly Change[],
  region: string,
  read: (ids: readonly string[]) => Promise<Slots>,
): Promise<CommitOutcome> {
  if (outcome?.kind === "committed" || (outcome !== undefined && !doubt)) return outcome;
  const copies = await read(changes.map(({ after }) => after.uniqueIdentifier));
  const made = changes.every(({ after }, at) => copies[at]?.tag === recordTag(after));
  if (made && changes.length > 0) return { kind: "committed", regions: [region] };
  throw new StoreUnavailable("timeout", `whether region ${region} made the change is not known`);
}

/**
 * The outcome of a reservation that several nodes may have been asked to make. Where another one may make it again later,
 * after the leaders have ended the operation, it would then seem to hold the records: it is given back.
 */
export async function keptUnlessInDoubt(
  { result, doubt }: Answered<ReserveOutcome>,
  { ids, operation }: { readonly ids: readonly string[]; readonly operation: string },
  release: () => Promise<unknown>,
): Promise<ReserveOutcome> {
  if (result.kind === "held" || !doubt) return result;
  await release();
  return { kind: "held", uniqueIdentifier: ids[0] ?? "", operation };
}

/** Another region's store for clients of this one: the same port, over the peer protocol. */
export class RemoteStore implements ObjectStore {
  readonly #region: string;
  readonly #calls: Calls;

  constructor(region: string, calls: Calls) {
    this.#region = region;
    this.#calls = calls;
  }

  async read(instance: string, ids: readonly string[]): Promise<Slots> {
    return inPages(ids, async (some) => {
      return slotsOf(await this.#calls.ask("read", { instance, ids: some }), some, this.#region);
    });
  }

  async commit(
    instance: string,
    changes: readonly Change[],
    audit: readonly AuditEvent[],
    options: CommitOptions = {},
  ): Promise<CommitOutcome> {
    const answered = await this.#calls.asked("commit", {
      instance,
      changes,
      audit,
      agreed: options.agreed === true,
    });
    return settled(answered, changes, this.#region, (ids) => this.read(instance, ids));
  }

  async markServed(instance: string, before: StoredObject, after: ManagedObject): Promise<boolean> {
    try {
      return await this.#calls.ask("markServed", { instance, before, after });
    } catch {
      return false;
    }
  }

  async find(instance: string, query: FindQuery): Promise<FindPage> {
    return await this.#calls.ask("find", { instance, query });
  }

  async appendAudit(
    instance: string,
    events: readonly AuditEvent[],
    strict: boolean,
  ): Promise<void> {
    await this.#calls.ask("appendAudit", { instance, events, strict });
  }
}
