import { isDeepStrictEqual } from "node:util";
import {
  type ApprovalText,
  digestOf,
  parsePolicy,
  parseRequest,
  partsAsking,
  readSignatures,
} from "@holdfast/admin";
import {
  type InstanceKeyRing,
  isDestroyed,
  isMarked,
  kindOf,
  type ManagedObject,
  type OwnStore,
  readAnyRecord,
  registersMax,
  StoreUnavailable,
  type SystemRecord,
  systemInstance,
} from "@holdfast/engine";
import { firstSight, type Instead, joinAll, type MayJoin, type OwnBefore } from "@holdfast/regions";
import type { Instance } from "../access/instances.ts";
import { instanceRecordId } from "../records/records.ts";
import type { SystemView } from "../records/system-view.ts";
import { type KekChecks, KekRule } from "./kek-rule.ts";
import { madeId, madeIn } from "./made-id.ts";
import {
  type Around,
  type Needed,
  type NeededChecks,
  neededFor,
  type ShownCall,
} from "./needed.ts";
import {
  cancellers,
  isPolicyText,
  isSigned,
  type PolicyVersion,
  type Standing,
  standingOf,
  unreadFault,
} from "./policies.ts";
import { continueMs, isApproved, lifeMs, type RequestRecord, skewMs } from "./requests.ts";

export interface JoinRulesOptions {
  readonly region: string;
  readonly view: Pick<
    SystemView,
    "all" | "believed" | "get" | "hasReadOwn" | "of" | "onChange" | "refresh" | "unreadPolicies"
  >;
  /** The time by the clock that is behind all that this node knows. */
  readonly policyMs: () => number;
  /** This node's clock; delays of destructions begin by it. */
  readonly wallMs: () => number;
  /** Whether the own store was ever level with the other region's: an empty one is filled with all that it has. */
  readonly isFilled: () => Promise<boolean>;
  /** An instance that the configuration declares; undefined for any other. */
  readonly declared: (
    instance: string,
  ) => Pick<Instance, "keepsKeys" | "destroyDelaySeconds"> | undefined;
  readonly checks: NeededChecks & KekChecks;
}

/** A system record of any type; undefined for any other object. */
type AnyRecord = ReturnType<typeof readAnyRecord>;

const hourMs = 3_600_000;
/** What was done just before an action needed approvals is still on its way. */
const graceMs = hourMs;
/** For so long, what an earlier version of the policy approved may still arrive. */
const earlierMs = 8 * 24 * hourMs;
/** The policy is looked at again after this time: a change that waited may have taken effect. */
const standingMs = 1_000;
/** How often the answers of roots of trust make wraps be looked at again, which asks the roots of trust. */
const answersEveryMs = 5_000;

/**
 * What this region takes from another one while an approval policy is in force: a change that needs approvals only with
 * a request whose signatures this node has verified itself, and only if the change is what the request says. What it takes
 * of KEKs, with or without a policy: see `KekRule`.
 */
export class JoinRules {
  readonly #options: JoinRulesOptions;
  readonly #around: Around;
  readonly #keks: KekRule;
  #standing: { readonly is: Standing; readonly atMs: number } | undefined;
  #proofs = 0;
  /** Whether a root of trust has started to answer since `#answersMs`. */
  #hasAnswer = false;
  #answersMs = Number.NEGATIVE_INFINITY;

  constructor(options: JoinRulesOptions) {
    this.#options = options;
    const { region, view, policyMs, declared, wallMs, isFilled, checks } = options;
    const isDeleted = (id: string) => this.#isDeleted(id);
    this.#keks = new KekRule({ region, view, wallMs, isFilled, isDeleted, checks });
    const instance = (id: string) => [...view.of("Instance", id).values()][0];
    this.#around = {
      region,
      nowMs: policyMs,
      instance,
      keepsKeys: (id) => declared(id)?.keepsKeys ?? instance(id)?.destroyOverKmip === "refused",
      isDeclared: (id) => declared(id) !== undefined,
    };
    view.onChange((changed) => this.#note(changed));
  }

  /** Another number whenever something that was refused may be taken now. */
  readonly proofs = (): number => {
    const nowMs = this.#options.wallMs();
    if (this.#hasAnswer && Math.abs(nowMs - this.#answersMs) >= answersEveryMs) {
      [this.#hasAnswer, this.#answersMs] = [false, nowMs];
      this.#proofs += 1;
    }
    return this.#proofs;
  };

  /** Call this when a root of trust starts to answer: it may open a wrap that nobody could look at before. */
  rootAnswers(): void {
    this.#hasAnswer = true;
  }

  /** See `MayJoin`. */
  readonly mayJoin: MayJoin = (before, after) => {
    // Such a record would count as a damaged policy, with which nothing guarded can be done, for ever.
    if (before === undefined && isNoPolicy(after)) return Promise.resolve("it is not a policy");
    if (isCrammed(after)) return Promise.resolve("it has too many fields");
    if (kindOf(after) === "Kek") return this.#keks.mayJoin(before, after);
    return isEnd(before, after) ? this.#inTime(before, after) : this.#approved(before, after);
  };

  #approved(before: OwnBefore, after: ManagedObject): Promise<string | undefined> | undefined {
    if (this.#isFree()) return undefined;
    const known = this.#known(before, after);
    return this.#mayNeed(known, after) ? this.#decide(known, after) : undefined;
  }

  /** A destruction of another region is not taken before its delay is over here. */
  async #inTime(before: OwnBefore, after: ManagedObject): Promise<string | Instead | undefined> {
    const { view } = this.#options;
    await this.#requireRead();
    let early = this.#early(before, after);
    if (early !== undefined) {
      // The instance may have been deleted, or got a shorter delay, since this node's last look.
      await view.refresh();
      early = this.#early(before, after);
    }
    return (await this.#approved(before, early?.instead ?? after)) ?? early;
  }

  #early(before: OwnBefore, after: ManagedObject): Instead | undefined {
    const { region, wallMs, policyMs, declared } = this.#options;
    const { instance } = after;
    if (this.#isDeleted(instance)) return undefined;
    const record = this.#around.instance(instance);
    return firstSight(before, after, {
      region,
      delaySeconds: declared(instance)?.destroyDelaySeconds ?? record?.destroyDelay ?? 0,
      nowSeconds: Math.floor(wallMs() / 1000),
      earliestSeconds: Math.floor(policyMs() / 1000),
    });
  }

  /** Whether an instance is deleted, or its deletion is decided. */
  #isDeleted(instance: string): boolean {
    const record = this.#options.view.get("Instance", instanceRecordId(instance));
    return record?.destroyed !== undefined || record?.removal?.phase === "decided";
  }

  async #requireRead(): Promise<void> {
    const { view } = this.#options;
    if (!view.hasReadOwn) await view.refresh();
    if (view.hasReadOwn) return;
    throw new StoreUnavailable("noLease", "this node has not read its own region's records yet");
  }

  /** The same as far as it is known at once: what cannot be told is not believed. */
  readonly believes = (after: ManagedObject): boolean => {
    const { view } = this.#options;
    // Before the own store was read, nobody can tell what it has.
    const before =
      view.believed(after.uniqueIdentifier) ?? (view.hasReadOwn ? undefined : "damaged");
    if (this.#isFree() || !this.#mayNeed(before, after)) return true;
    if (!view.hasReadOwn) return false;
    return this.#faultOf(before, after, () => "it is not known yet") === undefined;
  };

  #note(changed: readonly ManagedObject[]): void {
    const kinds = new Set(changed.map(kindOf));
    if (kinds.has("ApprovalPolicy")) this.#standing = undefined;
    if (
      ["ApprovalPolicy", "ApprovalRequest", "Instance", "Kek"].some((kind) =>
        kinds.has(kind as never),
      )
    ) {
      this.#proofs += 1;
    }
  }

  /** What this region has of a record: the own store may have lost what this node still knows. */
  #known(before: OwnBefore, { uniqueIdentifier }: ManagedObject): OwnBefore {
    const seen = this.#options.view.believed(uniqueIdentifier);
    if (seen === undefined) return before;
    if (before === undefined || before === "damaged") return seen;
    const both = joinAll([before, seen]);
    return both?.kind === "joined" ? both.object : before;
  }

  /** Without a policy, nothing is looked at. */
  #isFree(): boolean {
    const { view } = this.#options;
    if (!view.hasReadOwn) return false;
    return view.unreadPolicies.size === 0 && view.all("ApprovalPolicy").length === 0;
  }

  #mayNeed(before: OwnBefore, after: ManagedObject): boolean {
    const kind = kindOf(after);
    if (kind === "ApprovalPolicy" || kind === "ApprovalRequest") return before !== after;
    return neededFor(before, after, this.#around).length > 0;
  }

  async #decide(before: OwnBefore, after: ManagedObject): Promise<string | undefined> {
    const { view, isFilled } = this.#options;
    if (!(await isFilled())) return undefined;
    await this.#requireRead();
    const fault = await this.#fault(before, after);
    if (fault === undefined) return undefined;
    // The request may have come after this node's last look.
    await view.refresh();
    return await this.#fault(this.#known(before, after), after);
  }

  async #fault(before: OwnBefore, after: ManagedObject): Promise<string | undefined> {
    const waiting: Promise<string | undefined>[] = [];
    const fault = this.#faultOf(before, after, (check) => {
      waiting.push(check());
      return undefined;
    });
    const found = await Promise.all(waiting);
    return fault ?? found.find((one) => one !== undefined);
  }

  /** Why a change is not taken. `later` answers for a check that takes time. */
  #faultOf(
    before: OwnBefore,
    after: ManagedObject,
    later: (check: () => Promise<string | undefined>) => string | undefined,
  ): string | undefined {
    const { view, region } = this.#options;
    const needed = neededFor(before, after, this.#around);
    const unread = needed.length > 0 ? unreadFault(view, `a node of region ${region}`) : undefined;
    if (unread !== undefined) return unread;
    const { is } = this.#now();
    const record = readAnyRecord(after);
    const strange = this.#unreadableFault(before, record, is);
    if (strange !== undefined || is.inForce === undefined) return strange;
    const fault = this.#recordFault(before, after, is);
    if (fault !== undefined) return fault;
    for (const need of needed) {
      if (!this.#isAsked(need, is)) continue;
      const found = this.#needFault(need, is, later);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #needFault(
    need: Needed,
    standing: Standing,
    later: (check: () => Promise<string | undefined>) => string | undefined,
  ): string | undefined {
    const { checks } = this.#options;
    const { action, unless, also } = need;
    const missing = `no approved request of the action ${action} allows it (docs/approvals.md, The other region)`;
    if (!this.#isProven(need, standing)) {
      if (unless === undefined) return missing;
      return later(async () => ((await unless(checks)) ? undefined : missing));
    }
    if (also === undefined) return undefined;
    const not = `its request is approved, but does not allow it as things are here (${action})`;
    return later(async () => ((await also(checks)) ? undefined : not));
  }

  #now(): { readonly is: Standing } {
    const { view, policyMs, region } = this.#options;
    const nowMs = policyMs();
    if (this.#standing === undefined || Math.abs(nowMs - this.#standing.atMs) > standingMs) {
      const is = standingOf(view.all("ApprovalPolicy"), { nowMs, region });
      this.#standing = { is, atMs: nowMs };
    }
    return this.#standing;
  }

  /** Whether an action has needed approvals for so long that nothing from before is on its way. */
  #isAsked({ action, target }: Needed, { versions }: Standing): boolean {
    const asks = versions.map(({ policy }) => partsAsking(policy, action, target).length > 0);
    if (asks.at(-1) !== true) return false;
    const first = versions[asks.lastIndexOf(false) + 1];
    return first !== undefined && first.effectiveMs + graceMs <= this.#options.policyMs();
  }

  #isProven(need: Needed, standing: Standing): boolean {
    return this.#options.view
      .all("ApprovalRequest")
      .some((record) => allows(record, need, standing, this.#options.policyMs()));
  }

  /** What no request allows, in records of the approvals themselves. */
  #recordFault(before: OwnBefore, object: ManagedObject, standing: Standing): string | undefined {
    const after = readAnyRecord(object);
    const known = before === undefined || before === "damaged" ? undefined : readAnyRecord(before);
    if (after?.type === "ApprovalRequest") {
      const { use } = known?.type === "ApprovalRequest" ? known : { use: undefined };
      if (use?.state === "done" && !isDeepStrictEqual(use, after.use)) {
        return "its request was used already";
      }
      return this.#requestFault(before, object, after, standing);
    }
    if (after?.type !== "ApprovalPolicy") return undefined;
    return this.#policyFault(known?.type === "ApprovalPolicy" ? known : undefined, after, standing);
  }

  /** Requests that nobody here has made, or that never end, would leave no room for this region's own. */
  #requestFault(
    before: OwnBefore,
    object: ManagedObject,
    after: RequestRecord,
    standing: Standing,
  ): string | undefined {
    const { region, policyMs } = this.#options;
    const request = parseRequest(after.text);
    const nowMs = policyMs();
    const untilMs = (request?.until ?? 0) * 1000;
    if (untilMs > nowMs + lifeMs + graceMs) return "it ends too late";
    if (before === "damaged" || madeIn(object) !== region || madeIn(before) === region) {
      return undefined;
    }
    const takesPlace = after.destroyed === undefined && untilMs > nowMs;
    if (request === undefined || !takesPlace) return undefined;
    const version = countingVersion(request, standing, nowMs);
    if (version !== undefined && isApproved(after, version)) return undefined;
    return "it says that this region made it, which does not know it, and it is not approved";
  }

  /** A version that no node here can read closes all that may need approvals: only the approvers may have that. */
  #unreadableFault(before: OwnBefore, after: AnyRecord, { last }: Standing): string | undefined {
    const isNew = before === undefined || before === "damaged";
    if (!isNew || after?.type !== "ApprovalPolicy") return undefined;
    const { text, signatures } = after;
    if (typeof parsePolicy(text) !== "string") return undefined;
    // Approvers sign other texts too.
    if (!isPolicyText(text)) return "it is not an approval policy";
    const lines = readSignatures(signatures);
    const isTheirs =
      last !== undefined && typeof lines !== "string" && isSigned(text, last.policy, lines);
    if (isTheirs) return undefined;
    const { region } = this.#options;
    return `a node of region ${region} cannot read this version of the policy, and not enough approvers of the one in force signed it: upgrade the nodes of region ${region}`;
  }

  #policyFault(
    before: SystemRecord<"ApprovalPolicy"> | undefined,
    after: SystemRecord<"ApprovalPolicy">,
    { versions, last }: Standing,
  ): string | undefined {
    const { region, policyMs } = this.#options;
    const { id, text, seen } = after;
    const policy = parsePolicy(text);
    if (before === undefined && typeof policy !== "string" && policy.version === 1) {
      const isKnown = versions.some((one) => one.id === id);
      if (!isKnown) return "there is a first approval policy already";
    }
    const [ownMs, theirMs] = [before?.seen[region], seen[region]];
    if (theirMs !== undefined && theirMs !== ownMs && theirMs < policyMs() - hourMs) {
      return "another region cannot say how long this one has waited";
    }
    const signers = (of: typeof after | undefined) => (of ? cancellers(of, last).length : 0);
    if (signers(before) > signers(after)) return "it was cancelled";
    return undefined;
  }
}

/** The rules of a node as its stores use them, which are opened before the rules. Nothing is joined before these are set. */
export class LateJoinRules {
  rules: JoinRules | undefined;
  /** Opens what a record seals, and wraps of KEKs; needed by some rules, and to compare copies that are sealed differently. */
  keyRing: InstanceKeyRing | undefined;
  readonly mayJoin: MayJoin = (...given) => this.rules?.mayJoin(...given);
  readonly proofs = (): number => this.rules?.proofs() ?? 0;
}

/** Whether a change destroys an object that this region has, or has with a later end. */
function isEnd(before: OwnBefore, { instance, facts }: ManagedObject): boolean {
  if (before === undefined || before === "damaged" || instance === systemInstance) return false;
  return before.facts.destroyed === undefined && isDestroyed(facts);
}

/** Whether a store was ever level with another region's. */
export function filledOnce(own: Pick<OwnStore, "levels" | "storeId">): () => Promise<boolean> {
  let filled: string | undefined;
  return async () => {
    const { storeId } = own;
    if (storeId !== undefined && storeId === filled) return true;
    const { reached } = await own.levels();
    if (reached > 0) filled = storeId;
    return reached > 0;
  };
}

/** Whether enough people have signed exactly this change. That the request has ended since does not matter. */
function allows(record: RequestRecord, need: Needed, standing: Standing, nowMs: number): boolean {
  const request = parseRequest(record.text);
  if (request === undefined || request.request !== record.id || !isFor(request, need)) return false;
  // One that was cancelled before it was used allows nothing.
  if (record.destroyed !== undefined && record.use === undefined) return false;
  if (isUseOver(record, need)) return false;
  if (request.call !== digestOf(record.call)) return false;
  const call = shownIn(record.call);
  if (call === undefined || need.fits?.(call, request.operation) === false) return false;
  const version = countingVersion(request, standing, nowMs);
  return version !== undefined && isApproved(record, version);
}

/** Whether a request's text names what was changed, and could be used when that was done. */
function isFor(
  { operation, target, request, until }: ApprovalText,
  need: Pick<Needed, "operations" | "target" | "made" | "atMs" | "sinceMs">,
): boolean {
  if (!need.operations.includes(operation)) return false;
  if (need.target !== undefined && need.target !== target) return false;
  if (need.made !== undefined && need.made !== madeId(operation, request)) return false;
  // That it was made then is signed; the text has whole seconds.
  if ((until + 1) * 1000 - lifeMs <= (need.sinceMs ?? 0)) return false;
  return need.atMs <= until * 1000 + continueMs + skewMs;
}

/** Whether a system record has so many fields that this region could soon write none of its own. */
function isCrammed({ instance, registers }: ManagedObject): boolean {
  return instance === systemInstance && registers.length > registersMax / 2;
}

/** Whether a request had been used, and its use had ended, before a change was written. */
function isUseOver({ use }: RequestRecord, { usedMs }: Needed): boolean {
  return use?.state === "done" && usedMs !== undefined && usedMs > use.atMs + skewMs;
}

/** The version of the policy that a request was made under: the one in force, or one that was not long ago. */
function countingVersion(
  { policy }: ApprovalText,
  { versions, inForce }: Standing,
  nowMs: number,
): PolicyVersion | undefined {
  const at = versions.findIndex(({ digest }) => digest === policy.digest);
  const [version, successor] = [versions[at], versions[at + 1]];
  const isRecent = successor !== undefined && successor.effectiveMs + earlierMs > nowMs;
  return version === inForce || isRecent ? version : undefined;
}

/** Whether a record has the identifier of a version of the policy, and is none. */
function isNoPolicy(object: ManagedObject): boolean {
  const { instance, uniqueIdentifier } = object;
  if (instance !== systemInstance || !isMarked("ApprovalPolicy", uniqueIdentifier)) return false;
  return readAnyRecord(object)?.type !== "ApprovalPolicy";
}

function shownIn(text: string): ShownCall | undefined {
  try {
    const { params = {}, query = {}, body = {}, shreds = [] } = JSON.parse(text) as ShownCall;
    return { params, query, body, shreds };
  } catch {
    return undefined;
  }
}
