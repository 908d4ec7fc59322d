import { setImmediate as turn } from "node:timers/promises";
import type { Call, Contract, ProblemCode, Reply } from "@holdfast/admin";
import {
  type AuditEvent,
  type Change,
  type ClockDoubt,
  type CommitOutcome,
  holdsSame,
  type ImportedObject,
  importedObject,
  indexTerms,
  isDestroyed,
  type KeyRing,
  type ManagedObject,
  type ObjectStore,
  SealBroken,
  type StoredObject,
  type StoreFailure,
  StoreUnavailable,
  sealImported,
  shownDigest,
  UnknownKek,
  writeUuid,
} from "@holdfast/engine";
import { KmipError } from "@holdfast/kmip";
import { TtlvError } from "@holdfast/ttlv";
import { managementEvent, managementEvents } from "../../audit/management-event.ts";
import { refusalOf } from "../../records/refusals.ts";

/** What an import needs. */
export interface ImportDeps {
  readonly region: string;
  readonly store: Pick<ObjectStore, "read" | "find" | "commit" | "appendAudit">;
  readonly keyRing: KeyRing;
  readonly wallMs: () => number;
  /** Why this node's clock may not decide that a date has come. */
  readonly doubt: () => ClockDoubt | undefined;
  /** See the engine's `EngineSettings.approvedOnly`. */
  readonly approvedOnly: boolean;
}

type ImportCall = Call<Contract["importKeys"]>;
type Given = ImportCall["body"]["keys"][number];
type Result = Reply<Contract["importKeys"]>["results"][number];
type Ended = Omit<Result, "identifier">;

/** A key that can be imported, and what is known of it so far. */
interface Pending {
  readonly key: Given;
  readonly imported: ImportedObject;
  /** With its seals, once it is known that the instance has no such object. */
  sealed?: ManagedObject;
  /** How often a store had such an identifier already, although the instance has no object with it. */
  conflicts: number;
}

/** What is to be committed for a key, and what it then is. */
interface Planned {
  readonly pending: Pending;
  readonly change: Change;
  readonly outcome: "Imported" | "AlreadyThere";
}

/** Another writer may be faster once; the second time, an object of another instance has the identifier. */
const conflictsMax = 2;
const identifierRule =
  "Holdfast keeps identifiers that are UUIDs in lower case, and this one is not: register the key, and re-key what uses it";
const destroyedHere =
  "an object with this identifier was destroyed here, and no identifier is used twice";
/** The reason in the event of a key that was not imported. */
const reasonIn: Readonly<Partial<Record<Ended["outcome"], ProblemCode>>> = {
  Clash: "conflict",
  Refused: "invalid",
  TryAgain: "storeUnavailable",
};
const identifierTwice = "the request has this identifier twice";
/** Failures that one record among others may cause. */
const ofOneRecord: ReadonlySet<StoreFailure> = new Set(["corrupt", "reserved", "unknownFormat"]);
const nameTaken = "another object has a Name of it";
const identifierTaken = "another object has this identifier";

/**
 * Takes over objects of another key manager: all that can be in one commit, to which all regions agree, so that of two
 * imports of one identifier the first wins everywhere. What is already there is read and agreed on in both regions again.
 * Rejects with a `ManagementError` for an instance that takes no changes, with `KeyRingUnavailable`, and with
 * `StoreUnavailable` if not even the evidence can be written.
 */
export async function importKeys(
  deps: ImportDeps,
  instance: string,
  call: ImportCall,
): Promise<Result[]> {
  const run = new Import(deps, instance, call);
  try {
    return await run.run();
  } finally {
    run.clear();
  }
}

class Import {
  readonly #deps: ImportDeps;
  readonly #instance: string;
  readonly #call: ImportCall;
  readonly #ended = new Map<Given, Ended>();
  readonly #pending = new Map<string, Pending>();
  readonly #values: Uint8Array[] = [];

  constructor(deps: ImportDeps, instance: string, call: ImportCall) {
    this.#deps = deps;
    this.#instance = instance;
    this.#call = call;
  }

  async run(): Promise<Result[]> {
    const { keys } = this.#call.body;
    for (const key of keys) {
      this.#begin(key);
      // One key at a time: KMIP clients wait for the same loop.
      await turn();
    }
    await this.#commitTogether([...this.#pending.keys()]);
    await this.#leaveEvidence();
    return keys.map((key) => ({
      identifier: key.identifier,
      ...(this.#ended.get(key) ?? { outcome: "TryAgain" as const }),
    }));
  }

  /** Overwrites the material that this call has read. */
  clear(): void {
    for (const value of this.#values) value.fill(0);
  }

  #begin(key: Given): void {
    const { identifier } = key;
    if (!writeUuid(identifier, new Uint8Array(16), 0)) this.#end(key, "Refused", identifierRule);
    else if (this.#pending.has(identifier)) this.#end(key, "Refused", identifierTwice);
    else this.#read(key);
  }

  /** Reads and checks a key. */
  #read(key: Given): void {
    const { wallMs, doubt, region, approvedOnly } = this.#deps;
    const { identifier, objectType, state } = key;
    const ms = wallMs();
    const value = Buffer.from(key.value, "base64");
    this.#values.push(value);
    const given = Buffer.from(key.attributes, "base64");
    const foreign = { uniqueIdentifier: identifier, objectType, state, attributes: given, value };
    const now = { nowSeconds: Math.floor(ms / 1_000), nowUs: Math.floor(ms * 1_000) };
    const at = { instance: this.#instance, region, approvedOnly, doubt: doubt(), ...now };
    try {
      const imported = importedObject(foreign, at);
      this.#pending.set(identifier, { key, imported, conflicts: 0 });
    } catch (error) {
      if (error instanceof KmipError) this.#end(key, "Refused", error.message);
      // Its message may quote what it read.
      else if (error instanceof TtlvError) this.#end(key, "Refused", "attributes, value: not TTLV");
      else if (error instanceof StoreUnavailable) this.#end(key, "TryAgain", error.message);
      else throw error;
    }
  }

  /** Ends all these keys. Where one record may be what fails, each has its own commit. */
  async #commitTogether(ids: readonly string[]): Promise<void> {
    let reason = "other imports of the same identifiers were faster";
    try {
      await this.#commitAll(ids);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      if (ids.length > 1 && ofOneRecord.has(error.failure)) {
        for (const id of ids) await this.#commitTogether([id]);
        return;
      }
      reason = reasonOf(error);
    }
    this.#endAll(ids, "TryAgain", reason);
  }

  /** Commits keys until none is pending; each try that fails ends one key, or counts one conflict. */
  async #commitAll(ids: readonly string[]): Promise<void> {
    for (let left = (conflictsMax + 1) * ids.length; left > 0; left -= 1) {
      const planned = await this.#plan(ids);
      if (planned.length === 0) return;
      const outcome = await this.#commit(planned);
      if (outcome.kind === "committed") {
        for (const one of planned) this.#end(one.pending.key, one.outcome);
        return;
      }
      this.#refused(ids, outcome);
    }
  }

  /** What is to be committed now; ends the keys for which nothing is. */
  async #plan(ids: readonly string[]): Promise<readonly Planned[]> {
    const open = ids.flatMap((id) => this.#pending.get(id) ?? []);
    if (open.length === 0) return [];
    const asked = open.map(({ key }) => key.identifier);
    // "Not there" is an answer of both regions.
    const found = await this.#deps.store.read(this.#instance, asked);
    const planned: Planned[] = [];
    const names = new Set<string>();
    for (const [at, pending] of open.entries()) {
      const stored = found[at];
      const plan =
        stored === undefined
          ? await this.#fresh(pending, names)
          : await this.#known(pending, stored);
      if (plan !== undefined) planned.push(plan);
      await turn();
    }
    return planned;
  }

  /** `names` has the terms of the names that this commit claims. */
  async #fresh(pending: Pending, names: Set<string>): Promise<Planned | undefined> {
    const { key, imported } = pending;
    if (pending.conflicts >= conflictsMax) {
      this.#end(key, "Clash", identifierTaken);
      return undefined;
    }
    if (await this.#isNameTaken(imported, names)) {
      this.#end(key, "Clash", nameTaken);
      return undefined;
    }
    try {
      pending.sealed ??= await sealImported(this.#deps.keyRing, imported);
    } catch (error) {
      if (!(error instanceof KmipError)) throw error;
      this.#end(key, "Refused", error.message);
      return undefined;
    }
    return { pending, change: { kind: "create", after: pending.sealed }, outcome: "Imported" };
  }

  /** The commit finds a taken name only where this region is the first to write. */
  async #isNameTaken({ object }: ImportedObject, names: Set<string>): Promise<boolean> {
    for (const { term, unique } of indexTerms(object)) {
      if (!unique) continue;
      if (names.has(term)) return true;
      const query = { term, live: true, destroyed: false, limit: 1 };
      const { objects } = await this.#deps.store.find(this.#instance, query);
      if (objects.length > 0) return true;
      names.add(term);
    }
    return false;
  }

  async #known(pending: Pending, before: StoredObject): Promise<Planned | undefined> {
    const { key } = pending;
    const { object } = before;
    if (isDestroyed(object.facts)) this.#end(key, "Refused", destroyedHere);
    else if (await this.#holdsSame(object, pending)) {
      // A change to what it is: committed once every region has this record.
      const change = { kind: "update", before, after: object } as const;
      return { pending, change, outcome: "AlreadyThere" };
    } else if (this.#pending.has(key.identifier)) {
      this.#end(key, "Clash", identifierTaken);
    }
    return undefined;
  }

  async #holdsSame(object: ManagedObject, { key, imported }: Pending): Promise<boolean> {
    try {
      return await holdsSame(this.#deps.keyRing, object, imported);
    } catch (error) {
      if (!(error instanceof SealBroken || error instanceof UnknownKek)) throw error;
      this.#end(key, "TryAgain", "the object that is stored here does not open now");
      return false;
    }
  }

  async #commit(planned: readonly Planned[]): Promise<CommitOutcome> {
    const { store, wallMs } = this.#deps;
    const instance = this.#instance;
    const audit = planned.flatMap(({ pending, outcome }): readonly AuditEvent[] => {
      const target = { id: pending.key.identifier, instance };
      const detail = { timeMs: wallMs(), detail: { result: outcome } };
      return managementEvents(this.#call, this.#call.audit, target, detail);
    });
    const changes = planned.map(({ change }) => change);
    return await store.commit(instance, changes, audit, { agreed: true });
  }

  #refused(
    ids: readonly string[],
    outcome: Exclude<CommitOutcome, { readonly kind: "committed" }>,
  ): void {
    if (outcome.kind === "instanceClosed") throw refusalOf(outcome);
    const pending = this.#pending.get(outcome.uniqueIdentifier);
    if (outcome.kind === "conflict" && pending !== undefined) pending.conflicts += 1;
    else if (outcome.kind === "nameTaken" && pending !== undefined) {
      this.#end(pending.key, "Clash", nameTaken);
    } else this.#endAll(ids, "TryAgain", "an agreed operation holds a record");
  }

  #endAll(ids: readonly string[], outcome: Ended["outcome"], reason: string): void {
    for (const id of ids) {
      const pending = this.#pending.get(id);
      if (pending !== undefined) this.#end(pending.key, outcome, reason);
    }
  }

  #end(key: Given, outcome: Ended["outcome"], reason?: string): void {
    const pending = this.#pending.get(key.identifier);
    const imported = pending?.key === key ? pending.imported : undefined;
    if (imported !== undefined) this.#pending.delete(key.identifier);
    const isThere = outcome === "Imported" || outcome === "AlreadyThere";
    const digest = isThere && imported !== undefined ? shownDigest(imported) : undefined;
    // What does not come depends only on what was given, so a repetition says the same.
    const left = isThere ? (imported?.left ?? []) : [];
    this.#ended.set(key, {
      outcome,
      ...(reason !== undefined && { reason }),
      ...(digest !== undefined && { digest }),
      ...(left.length > 0 && { left: [...left] }),
    });
  }

  /** Audits what no commit has recorded. */
  async #leaveEvidence(): Promise<void> {
    const { store, wallMs } = this.#deps;
    const instance = this.#instance;
    const events = [...this.#ended].flatMap(([{ identifier }, { outcome }]) => {
      const reason = reasonIn[outcome];
      if (reason === undefined) return [];
      const target = { id: identifier, instance };
      const detail = { timeMs: wallMs(), detail: { result: outcome } };
      const ended = outcome === "TryAgain" ? "unknown" : "failure";
      const { audit } = this.#call;
      return [
        managementEvent(this.#call, audit, "pending", target, detail),
        managementEvent(this.#call, audit, ended, target, { ...detail, reason }),
      ];
    });
    if (events.length > 0) await store.appendAudit(instance, events, false);
  }
}

/** The store's words are written for people, and hold no secret. */
function reasonOf({ failure, message }: StoreUnavailable): string {
  const isOpen = failure === "barrierShort" || failure === "timeout";
  return isOpen ? `it may be imported, or not: ${message}` : message;
}
