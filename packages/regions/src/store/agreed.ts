import {
  type AuditEvent,
  type Change,
  type CommitOutcome,
  type Ids,
  type StoredObject,
  StoreUnavailable,
  type Timers,
} from "@holdfast/engine";
import { joinAll, storedOf, withSealsOf } from "../join/join.ts";
import { type Judging, provenCopies } from "../join/may-join.ts";
import { failureIn, jittered } from "../ports/waiting.ts";
import type { AgreementSite } from "./agreement-site.ts";

/** What is to be agreed on. */
export interface AgreedChanges {
  readonly instance: string;
  readonly changes: readonly Change[];
  readonly audit: readonly AuditEvent[];
}

export interface AgreementOptions extends Judging {
  /** The region that asks: its own copies need no proof; needed with `mayJoin`. */
  readonly region?: string;
  readonly timers: Timers;
  readonly ids: Ids;
  /** How long to wait for records that another agreed operation holds. */
  readonly reservedMs: number;
}

type Copies = readonly (StoredObject | undefined)[];

/** The pause between two tries to reserve what another operation holds. */
const heldPauseMs = 100;

/**
 * An agreed operation: every region's own store reserves the records, all copies are compared with
 * what was decided on, and then each writes, in the order of the sites; the first write is the
 * decision. `conflict` where a copy was another one: by then every region has the join of all, and
 * the decision must be made again.
 */
export async function agreedCommit(
  sites: readonly AgreementSite[],
  wanted: AgreedChanges,
  options: AgreementOptions,
): Promise<CommitOutcome> {
  const { timers, observe } = options;
  const started = timers.monotonicMs();
  const report = (result: "agreed" | "refused" | "unknown") =>
    observe({ type: "agreement", result, durationMs: timers.monotonicMs() - started });
  const agreement = new Agreement(sites, wanted, options);
  try {
    const outcome = await agreement.run();
    report(outcome.kind === "committed" ? "agreed" : "refused");
    return outcome;
  } catch (error) {
    report(agreement.begun ? "unknown" : "refused");
    throw error;
  }
}

class Agreement {
  readonly #sites: readonly AgreementSite[];
  readonly #wanted: AgreedChanges;
  readonly #options: AgreementOptions;
  readonly #updated: readonly string[];
  #operation = "";
  #begun = false;

  constructor(sites: readonly AgreementSite[], wanted: AgreedChanges, options: AgreementOptions) {
    this.#sites = sites;
    this.#wanted = wanted;
    this.#options = options;
    this.#updated = wanted.changes.flatMap((change) =>
      change.kind === "update" ? [change.after.uniqueIdentifier] : [],
    );
  }

  /** Whether the first write was sent: from then on the changes may be made in any case. */
  get begun(): boolean {
    return this.#begun;
  }

  async run(): Promise<CommitOutcome> {
    await this.#reserveAll();
    const copies = await this.#readAll();
    const other = this.#otherCopy(copies);
    if (other !== undefined) {
      await this.#level(copies);
      return { kind: "conflict", uniqueIdentifier: other };
    }
    return await this.#write(copies);
  }

  async #reserveAll(): Promise<void> {
    const { timers, ids, reservedMs } = this.#options;
    const until = timers.monotonicMs() + reservedMs;
    for (;;) {
      // A new identifier for each try: a late request of an earlier try must not apply to this one.
      this.#operation = ids.uuid();
      if (await this.#tryReserve()) return;
      if (timers.monotonicMs() >= until) {
        throw new StoreUnavailable("reserved", "another agreed operation holds a record");
      }
      await jittered(timers, ids, heldPauseMs);
    }
  }

  async #tryReserve(): Promise<boolean> {
    const { instance, changes } = this.#wanted;
    for (const [at, site] of this.#sites.entries()) {
      try {
        const outcome = await site.reserve(instance, this.#updated, this.#operation, changes);
        if (outcome.kind === "reserved") continue;
        await this.#release(this.#sites.slice(0, at));
        return false;
      } catch (error) {
        // The one that failed may have reserved nevertheless.
        await this.#release(this.#sites.slice(0, at + 1));
        const isOwn = site.region === this.#options.region;
        // Another node of this region may do it.
        if (isOwn && failureIn(error).failure === "formatNotAgreed") throw error;
        throw refusal(site.region, error);
      }
    }
    return true;
  }

  /** Releases the reservations; where a region cannot be reached, that is left to its leader. */
  async #release(sites: readonly AgreementSite[]): Promise<void> {
    const operation = this.#operation;
    await Promise.all(
      sites.map(async (site) => {
        try {
          await site.release(this.#wanted.instance, operation);
        } catch (error) {
          failureIn(error);
        }
      }),
    );
  }

  async #readAll(): Promise<readonly Copies[]> {
    try {
      return await Promise.all(
        this.#sites.map((site) =>
          site.read(this.#wanted.instance, this.#updated).catch((error: unknown) => {
            throw refusal(site.region, error);
          }),
        ),
      );
    } catch (error) {
      await this.#release(this.#sites);
      throw error;
    }
  }

  /**
   * A record of which a region has another copy than the one that was decided on. Other seals of the same record, as
   * during a rekey, make no other copy.
   */
  #otherCopy(copies: readonly Copies[]): string | undefined {
    const decidedOn = this.#wanted.changes.filter((change) => change.kind === "update");
    const isOther = ({ before }: (typeof decidedOn)[number], copy: StoredObject | undefined) =>
      copy === undefined ||
      (copy.tag !== before.tag &&
        storedOf(withSealsOf(before.object, copy.object)).tag !== before.tag);
    return decidedOn.find((change, at) => copies.some((site) => isOther(change, site[at])))?.after
      .uniqueIdentifier;
  }

  /** Refuses another region's copy that this one does not take: nothing can be agreed on such a record. */
  async #requireProven(copies: readonly Copies[]): Promise<void> {
    const mine = this.#sites.findIndex(({ region }) => region === this.#options.region);
    for (const [at, id] of this.#updated.entries()) {
      const others = this.#sites.flatMap(({ region }, site) => {
        const object = copies[site]?.[at]?.object;
        return site === mine || object === undefined ? [] : [{ object, from: region }];
      });
      const own = copies[mine]?.[at]?.object;
      const proven = await provenCopies(own, others, (copy) => copy, this.#options, true);
      const bad = others.find((copy) => !proven.includes(copy));
      if (bad === undefined) continue;
      const message = `region ${bad.from} has a change of record ${id} that this region does not take: nothing proves that it was approved (undo it there, or have it approved by the same command here), or it ends a key's delay too early (docs/runbook.md, HoldfastUnproven)`;
      throw new StoreUnavailable("noAgreement", message);
    }
  }

  /** Writes the join of all copies everywhere, which ends the reservations; nothing is decided by that. */
  async #level(copies: readonly Copies[]): Promise<void> {
    try {
      await this.#requireProven(copies);
    } catch (error) {
      await this.#release(this.#sites);
      throw error;
    }
    const joined = this.#updated.map((_, at) =>
      joinAll(copies.flatMap((site) => site[at]?.object ?? [])),
    );
    const conflict = joined.find((outcome) => outcome?.kind === "conflict");
    if (conflict !== undefined) {
      await this.#release(this.#sites);
      // They may only be sealed in another way: a merge opens both, and every region keeps the same one.
      if (await this.#mergedEverywhere(copies)) return;
      const message =
        "copies of the record differ in their immutable parts, or are sealed differently and cannot be opened now: give the command again; if this stays, an operator must look at them";
      throw new StoreUnavailable("corrupt", message);
    }
    const objects = joined.flatMap((outcome) =>
      outcome?.kind === "joined" ? [storedOf(outcome.object)] : [],
    );
    const { instance } = this.#wanted;
    for (const [at, site] of this.#sites.entries()) {
      const changes = objects.flatMap((stored) => changeTo(stored, copies[at] ?? []));
      try {
        if (changes.length === 0) await site.release(instance, this.#operation);
        else await site.write(instance, changes, [], this.#operation);
      } catch (error) {
        await this.#release(this.#sites.slice(at));
        throw refusal(site.region, error);
      }
    }
  }

  /** Has every region join the copies of the others; false where one does not take them. */
  async #mergedEverywhere(copies: readonly Copies[]): Promise<boolean> {
    const merged = this.#sites.map(async (site, at) => {
      const others = copies.flatMap((found, from) => (from === at ? [] : found));
      const objects = others.flatMap((copy) => copy?.object ?? []);
      return await site.merge(objects).catch((error: unknown) => {
        throw refusal(site.region, error);
      });
    });
    return (await Promise.all(merged)).every(Boolean);
  }

  async #write(copies: readonly Copies[]): Promise<CommitOutcome> {
    const { instance, audit } = this.#wanted;
    const [first, ...others] = this.#sites;
    if (first === undefined) throw new RangeError("an agreement needs a region");
    this.#begun = true;
    const outcome = await this.#decide(first, this.#changesAt(copies[0] ?? []));
    if (outcome.kind !== "committed") {
      this.#begun = false;
      await this.#release(this.#sites);
      if (outcome.kind !== "reservationLost" && outcome.kind !== "reserved") return outcome;
      throw new StoreUnavailable("reserved", "the reservation ended before all regions had agreed");
    }
    const behind: string[] = [];
    for (const [at, site] of others.entries()) {
      const changes = this.#changesAt(copies[at + 1] ?? []);
      const made = await this.#follow(site, changes, () =>
        site.write(instance, changes, audit, this.#operation),
      );
      if (!made) behind.push(site.region);
    }
    if (behind.length === 0)
      return { ...outcome, regions: this.#sites.map(({ region }) => region) };
    const message = `agreed and made, but not known to be durable in region ${behind.join(", ")}`;
    throw new StoreUnavailable("barrierShort", message);
  }

  /** The changes as a region makes them, which has its own seals. */
  #changesAt(copies: Copies): readonly Change[] {
    return this.#wanted.changes.map((change) => {
      const own = copies.find(
        (copy) => copy?.object.uniqueIdentifier === change.after.uniqueIdentifier,
      );
      if (change.kind === "create" || own === undefined || own.tag === change.before.tag) {
        return change;
      }
      return { kind: "update", before: own, after: withSealsOf(own.object, change.after) };
    });
  }

  /** An unknown decision is left to the leaders, reservations included. */
  async #decide(site: AgreementSite, changes: readonly Change[]): Promise<CommitOutcome> {
    const { instance, audit } = this.#wanted;
    try {
      return await site.write(instance, changes, audit, this.#operation);
    } catch (error) {
      const { message } = failureIn(error);
      const unknown = `not known whether region ${site.region} made the change: ${message}`;
      throw new StoreUnavailable("barrierShort", unknown, { cause: error });
    }
  }

  /**
   * Makes the decided change in a later region; where the reservation there has ended, by a join.
   */
  async #follow(
    site: AgreementSite,
    changes: readonly Change[],
    write: () => Promise<CommitOutcome>,
  ): Promise<boolean> {
    try {
      const outcome = await write();
      if (outcome.kind === "committed") return true;
    } catch (error) {
      failureIn(error);
    }
    try {
      return await site.merge(changes.map(({ after }) => after));
    } catch (error) {
      failureIn(error);
      return false;
    }
  }
}

/** The change that turns a region's copy into a record; none where it is that already. */
function changeTo(stored: StoredObject, copies: Copies): readonly Change[] {
  const { uniqueIdentifier } = stored.object;
  const before = copies.find((copy) => copy?.object.uniqueIdentifier === uniqueIdentifier);
  if (before === undefined) return [{ kind: "create", after: stored.object }];
  const after = withSealsOf(before.object, stored.object);
  if (before.tag === storedOf(after).tag) return [];
  return [{ kind: "update", before, after }];
}

/** Nothing was decided: the error names the region that could not take part. */
function refusal(region: string, error: unknown): StoreUnavailable {
  const { failure, message } = failureIn(error);
  if (failure === "corrupt") return new StoreUnavailable("corrupt", message, { cause: error });
  return new StoreUnavailable("noAgreement", `region ${region} cannot agree now: ${message}`, {
    cause: error,
  });
}
