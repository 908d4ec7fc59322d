import {
  type ApprovalText,
  type Approver,
  callMax,
  canonicalJson,
  digestOf,
  ManagementError,
  type PolicyPart,
  parseRequest,
  partsOf,
  printSignature,
  readSignatures,
  requestText,
  type SignatureLine,
  signersOf,
} from "@holdfast/admin";
import type { ApprovalUse, AuditEvent, SystemRecord } from "@holdfast/engine";
import { type Actor, managementEvent, managementEvents } from "../audit/management-event.ts";
import type { NodeObserver } from "../observe/events.ts";
import type { Records, WrittenRecord } from "../records/records.ts";
import type { SystemView } from "../records/system-view.ts";
import { madeIn } from "./made-id.ts";
import { nameOf, partsFor, partsOfRequest, signaturesOf } from "./parts.ts";
import {
  breakGlassSigned,
  isSigned,
  type PolicyVersion,
  type Standing,
  standingOf,
  unreadFault,
} from "./policies.ts";

export type RequestRecord = SystemRecord<"ApprovalRequest">;

export interface ApprovalsOptions {
  readonly view: Pick<SystemView, "all" | "get" | "record" | "refresh" | "unreadPolicies">;
  readonly records: Pick<Records, "create" | "change" | "leaveEvidence">;
  readonly region: string;
  readonly node: string;
  /** The other regions that take part now; one that cannot be reached does not. */
  readonly reachable: () => readonly string[];
  readonly wallMs: () => number;
  /** The time by the clock that is behind all that this node knows: no single clock ends the wait of a change. */
  readonly policyMs: () => number;
  readonly newId: () => string;
  readonly observe: NodeObserver;
  /** How often the mark of a use is renewed while its work runs; 30,000 unless given. */
  readonly renewMs?: number;
}

/** What somebody wants to do. */
export interface Asked {
  /** The operation of the API, or the command at a node. */
  readonly operation: string;
  /** What it is about: see `ApprovalText`. */
  readonly target: string;
  /** The call without its secrets. */
  readonly call: unknown;
  /** The identifier of the token, or `node NODE`. */
  readonly by: string;
  /** Requests of each are counted apart, so that nobody fills the others' place. */
  readonly asker: RequestRecord["asker"];
  readonly actor: Actor;
}

/** How a request stands. */
export type RequestState = "open" | "approved" | "in-use" | "used" | "ended" | "cancelled" | "void";

const hourMs = 3_600_000;
/** How long a request may be used. */
export const lifeMs: number = 24 * hourMs;
/** After its time, a use that did not end may be continued. */
export const continueMs = hourMs;
/** A use that is not renewed in this time is that of a node that was killed. */
const useMs = 120_000;
const renewDefaultMs = 30_000;
/** How far two nodes' clocks may be apart. */
export const skewMs = 60_000;
/** Requests that wait, of askers of one kind. */
const openMax = 100;
const openOfOneMax = 10;
const askers = {
  node: "commands at nodes",
  lead: "managers and security officers",
  other: "operators",
} as const satisfies Readonly<Record<RequestRecord["asker"], string>>;

/** Requests for approvals: made, checked and used, at a node or by a command. */
export class Approvals {
  readonly #options: ApprovalsOptions;

  constructor(options: ApprovalsOptions) {
    this.#options = options;
  }

  /** The policy as this node knows it. */
  standing(): Standing {
    const { view, policyMs, region } = this.#options;
    return standingOf(view.all("ApprovalPolicy"), { nowMs: policyMs(), region });
  }

  /**
   * The policy, if it asks for approvals of an operation about a target now. Rejects where no store can be read: it may
   * hold a policy.
   */
  async needed({
    operation,
    target,
  }: Pick<Asked, "operation" | "target">): Promise<PolicyVersion | undefined> {
    const { view, node } = this.#options;
    await view.refresh();
    const unread = unreadFault(view, `node ${node}`);
    if (unread !== undefined) throw new ManagementError("storeUnavailable", unread);
    const { inForce } = this.standing();
    return partsFor(inForce?.policy, operation, target).length > 0 ? inForce : undefined;
  }

  /** The identifier of a request for these approvals: of one that this region made and that is open, or of a new one. */
  async ask(asked: Asked, version: PolicyVersion): Promise<string> {
    const { view, records, region, reachable, wallMs, newId } = this.#options;
    const { operation, target, by, asker, actor } = asked;
    const call = canonicalJson(asked.call);
    if (call.length > callMax) {
      throw new ManagementError(
        "invalid",
        `the call is too large to be approved: ${callMax} bytes`,
      );
    }
    const nowMs = wallMs();
    // The other region makes as many as it likes, and they fill no place here.
    const open = view.all("ApprovalRequest").filter((record) => {
      const state = stateOf(record, version, nowMs);
      const isHere = madeIn(view.record(record.id)) === region;
      return isHere && (state === "open" || state === "approved");
    });
    const texts = open.map((record) => ({ record, text: parseRequest(record.text) }));
    const same = texts.find(
      ({ record, text }) =>
        text?.operation === operation &&
        text.target === target &&
        text.by === by &&
        record.call === call &&
        text.regions.includes(region),
    );
    if (same !== undefined) return same.record.id;
    const own = texts.filter(({ text }) => text?.by === by).length;
    const alike = open.filter((record) => record.asker === asker).length;
    if (alike >= openMax || own >= openOfOneMax) {
      const limit =
        own >= openOfOneMax
          ? `${openOfOneMax} requests of this token`
          : `${openMax} requests of ${askers[asker]}`;
      throw new ManagementError(
        "wrongState",
        `${limit} wait for approvals: cancel some (holdfast approval cancel), or use them`,
      );
    }
    const id = newId();
    const request: ApprovalText = {
      policy: { version: version.policy.version, digest: version.digest },
      request: id,
      operation,
      target,
      call: digestOf(call),
      by,
      regions: [region, ...reachable()].toSorted(),
      until: Math.floor((nowMs + lifeMs) / 1000),
    };
    const values = {
      text: requestText(request),
      call,
      createdMs: nowMs,
      createdBy: actor.principal.name,
      asker,
    };
    const detail = { operation, target };
    const events = managementEvents(actor, "approval.request", { id }, { timeMs: nowMs, detail });
    await records.create("ApprovalRequest", values, events, { id });
    this.#options.observe({
      type: "approval",
      step: "request",
      breakGlass: false,
      request: id,
      detail: operation,
    });
    return id;
  }

  /** Keeps signatures of a request: all of them, or none. It does not matter who hands them in: they prove themselves. */
  async handIn(
    id: string,
    signatures: string,
    actor: Actor,
    version: PolicyVersion | undefined,
  ): Promise<WrittenRecord<"ApprovalRequest">> {
    const { view, records, wallMs, observe } = this.#options;
    const nowMs = wallMs();
    const record = view.get("ApprovalRequest", id);
    const state = record === undefined ? "unknown" : stateOf(record, version, nowMs);
    if (record === undefined || version === undefined || !["open", "approved"].includes(state)) {
      const why = state === "void" ? "was made under an earlier policy" : `is ${state}`;
      const mend = "repeat the command that asked for it";
      throw new ManagementError("approvalRefused", `the request ${why}: ${mend}`);
    }
    const lines = signaturesIn(signatures);
    const parts = partsOfRequest(record, version.policy);
    const signers = lines.map((line) => signerOf(record.text, line, parts));
    const names = signers.map(({ name }) => name).join(" ");
    const about = { timeMs: nowMs, detail: { signers: names, operation: operationOf(record) } };
    const events = managementEvents(actor, "approval.sign", { id }, about);
    const by = actor.principal.name;
    const given = Object.fromEntries(
      lines.map((line) => [line.key, { line: printSignature(line), atMs: nowMs, by }]),
    );
    const signed = await records.change(
      "ApprovalRequest",
      id,
      () => ({ signature: given }),
      events,
    );
    const keys = new Set(parts.flatMap(({ breakGlass }) => breakGlass.map(({ key }) => key)));
    const breakGlass = signers.some(({ key }) => keys.has(key));
    observe({ type: "approval", step: "signature", breakGlass, request: id, detail: names });
    return signed;
  }

  /**
   * Does what a request allows, once: marks it as begun, which only one node of both regions can do, does the work, and
   * marks how that ended. After a failure, or if the node was killed, the same call may continue with it.
   */
  async use<Answer>(id: string, asked: Asked, work: () => Promise<Answer>): Promise<Answer> {
    const begun = await this.#begin(id, asked).catch(async (error: unknown) => {
      await this.#refused(id, asked, error);
      throw error;
    });
    let state: ApprovalUse["state"] = "failed";
    const { renewMs = renewDefaultMs } = this.#options;
    const renewal = setInterval(() => void this.#mark(id, begun), renewMs);
    try {
      const answer = await work();
      state = "done";
      return answer;
    } finally {
      clearInterval(renewal);
      await this.#end(id, asked, { ...begun, state });
    }
  }

  async #begin(id: string, asked: Asked): Promise<ApprovalUse> {
    const { view, records, region, node, wallMs } = this.#options;
    const { actor } = asked;
    if (view.get("ApprovalRequest", id) === undefined) await view.refresh();
    const nowMs = wallMs();
    const use: ApprovalUse = {
      state: "begun",
      requestId: actor.requestId,
      region,
      node,
      atMs: nowMs,
    };
    const usableIn = parseRequest(view.get("ApprovalRequest", id)?.text ?? "")?.regions ?? [];
    const check = (record: RequestRecord | undefined): void => {
      const fault = useFault(record, asked, this.standing().inForce, region, nowMs);
      if (fault !== undefined)
        throw new ManagementError("approvalRefused", `approval ${id}: ${fault}`);
    };
    check(view.get("ApprovalRequest", id));
    const events = this.#events(id, asked);
    await records.change(
      "ApprovalRequest",
      id,
      (record) => {
        check(record);
        return { use };
      },
      events,
      // A request for one region only cannot be used in the other.
      { agreed: usableIn.length > 1 },
    );
    const record = view.get("ApprovalRequest", id);
    const breakGlass = record !== undefined && isBreakGlass(record, this.standing().inForce);
    this.#options.observe({
      type: "approval",
      step: "use",
      breakGlass,
      request: id,
      detail: asked.operation,
    });
    return use;
  }

  /** How a use ended. If it cannot be written that something was done, this is tried while the request could be used. */
  async #end(id: string, asked: Asked, use: ApprovalUse): Promise<void> {
    const { wallMs } = this.#options;
    const outcome = use.state === "done" ? "success" : "failure";
    const { operation, actor } = asked;
    const detail = { timeMs: wallMs(), detail: { operation, state: use.state } };
    const events = [managementEvent(actor, "approval.use", outcome, { id }, detail)];
    const endMs = wallMs();
    if ((await this.#mark(id, use, events, endMs)) || use.state !== "done") return;
    const { renewMs = renewDefaultMs } = this.#options;
    const repeat = async () => {
      const isLate = wallMs() > endMs + lifeMs + continueMs;
      if (isLate || (await this.#mark(id, use, events, endMs))) clearInterval(again);
    };
    const again = setInterval(() => void repeat(), renewMs).unref();
  }

  /** Marks how far a use has got, unless another node has begun one since; false if that cannot be written. */
  async #mark(
    id: string,
    use: ApprovalUse,
    events: readonly AuditEvent[] = [],
    atMs = this.#options.wallMs(),
  ): Promise<boolean> {
    const { records, observe } = this.#options;
    const edit = (record: RequestRecord) =>
      record.use?.requestId === use.requestId && record.use?.state === "begun"
        ? { use: { ...use, atMs } }
        : undefined;
    try {
      await records.change("ApprovalRequest", id, edit, events);
      return true;
    } catch (cause) {
      const message = `how far the use of approval ${id} has got was not kept`;
      observe({ type: "warning", message, cause });
      return false;
    }
  }

  async #refused(id: string, asked: Asked, error: unknown): Promise<void> {
    const { records, wallMs, observe } = this.#options;
    const reason = error instanceof ManagementError ? error.code : "internal";
    const target = { id: id.slice(0, 64) };
    const detail = { timeMs: wallMs(), reason, detail: { operation: asked.operation } };
    const { actor } = asked;
    observe({
      type: "approval",
      step: "refusal",
      breakGlass: false,
      request: id,
      detail: asked.operation,
    });
    const event = managementEvent(actor, "approval.use", "failure", target, detail);
    await records.leaveEvidence([event]).catch((cause: unknown) => {
      observe({ type: "warning", message: "no audit event of refused approvals", cause });
    });
  }

  #events(id: string, { operation, target, actor }: Asked) {
    const detail = { timeMs: this.#options.wallMs(), detail: { operation, target } };
    return [managementEvent(actor, "approval.use", "pending", { id }, detail)];
  }
}

/** Why a request does not allow a call; undefined if it does. */
function useFault(
  record: RequestRecord | undefined,
  { operation, target, call, by }: Asked,
  version: PolicyVersion | undefined,
  region: string,
  nowMs: number,
): string | undefined {
  const request = record && record.destroyed === undefined && parseRequest(record.text);
  if (record === undefined || !request || request.request !== record.id) {
    return "the request is not known, or was cancelled: repeat the command without --approval";
  }
  if (version === undefined) return "no approval policy is in force, so none is needed";
  if (request.policy.digest !== version.digest) {
    return "it was made under an earlier policy: repeat the command without --approval";
  }
  if (request.operation !== operation) return `it allows ${request.operation}, not ${operation}`;
  if (request.target !== target) return `it is about ${request.target}, not ${target}`;
  if (request.call !== digestOf(canonicalJson(call))) {
    return "it allows another call: give the same options as in the document that was signed";
  }
  if (request.by !== by) return "another token asked for it: only that one may use it";
  if (!request.regions.includes(region)) {
    return `it may be used only in region ${request.regions.join(" or ")}: ask a node there`;
  }
  return timeFault(record, request.until * 1000, nowMs) ?? signaturesFault(record, version);
}

function timeFault({ use, createdMs }: RequestRecord, untilMs: number, nowMs: number) {
  if (use?.state === "done") {
    return `it was used at ${new Date(use.atMs).toISOString()}, and works once`;
  }
  if (use?.state === "begun" && nowMs - use.atMs < useMs) {
    return `node ${use.node} of region ${use.region} uses it now: look at what came of it, and try again in two minutes if nothing did`;
  }
  if (createdMs > nowMs + skewMs || untilMs > nowMs + lifeMs + skewMs) {
    return "it was made later than this node's clock shows: correct the clock of this node, or of the one that made it";
  }
  if (untilMs + (use === undefined ? 0 : continueMs) <= nowMs) {
    return `it ended at ${new Date(untilMs).toISOString()}: repeat the command without --approval`;
  }
  return undefined;
}

function signaturesFault(record: RequestRecord, version: PolicyVersion): string | undefined {
  const parts = partsOfRequest(record, version.policy);
  if (parts.length === 0) return "the approval policy does not ask for it";
  const missing = parts.find((part) => !isApprovedBy(record, part));
  if (missing === undefined) return undefined;
  const signed = signersOf(record.text, missing.approvers, signaturesOf(record)).length;
  return `${signed} of ${nameOf(missing)} have signed it: wait for the others (holdfast approval show)`;
}

/** Lines of signatures that were handed in; a refusal says what is wrong. */
export function signaturesIn(text: string): readonly SignatureLine[] {
  const lines = readSignatures(text);
  if (typeof lines === "string") throw new ManagementError("invalid", `signatures: ${lines}`);
  return lines;
}

/** Who signed a request; throws if no part that is asked knows the key, or the signature is of another text. */
function signerOf(text: string, line: SignatureLine, parts: readonly PolicyPart[]): Approver {
  const refuse = (why: string): never => {
    throw new ManagementError("approvalRefused", why);
  };
  const named = (keys: readonly Approver[]) => keys.find(({ key }) => key === line.key);
  const breakGlass = named(parts.flatMap((part) => part.breakGlass));
  const approver = named(parts.flatMap((part) => part.approvers)) ?? breakGlass;
  if (approver === undefined) {
    return refuse(
      `the key ${line.key} is not one of the policy that may approve this: holdfast approval policy --wide lists them`,
    );
  }
  if (signersOf(text, [approver], [line]).length === 0) {
    return refuse(`the signature of ${approver.name} is not of this request: sign its document`);
  }
  if (breakGlass !== undefined && line.reason === undefined) {
    return refuse(`${approver.name} is a break-glass key: sign with --reason`);
  }
  return approver;
}

function operationOf({ text }: RequestRecord): string {
  return parseRequest(text)?.operation ?? "";
}

/** Whether a break-glass key signed a request. */
function isBreakGlass(record: RequestRecord, version: PolicyVersion | undefined): boolean {
  const lines = signaturesOf(record);
  const parts = version === undefined ? [] : partsOfRequest(record, version.policy);
  return parts.some((part) => breakGlassSigned(record.text, part, lines));
}

function isApprovedBy(record: RequestRecord, part: PolicyPart): boolean {
  const lines = signaturesOf(record);
  return isSigned(record.text, part, lines) || breakGlassSigned(record.text, part, lines);
}

/** Whether enough people signed a request: for each part of the policy that asks for it, and one does. */
export function isApproved(record: RequestRecord, { policy }: PolicyVersion): boolean {
  const parts = partsOfRequest(record, policy);
  return parts.length > 0 && parts.every((part) => isApprovedBy(record, part));
}

/** How a request stands under the policy in force. */
export function stateOf(
  record: RequestRecord,
  version: PolicyVersion | undefined,
  nowMs: number,
): RequestState {
  const request = parseRequest(record.text);
  const { use } = record;
  if (use?.state === "done") return "used";
  if (record.destroyed !== undefined) return "cancelled";
  if (request === undefined || request.policy.digest !== version?.digest) return "void";
  if (use?.state === "begun" && nowMs - use.atMs < useMs) return "in-use";
  if (request.until * 1000 <= nowMs) return "ended";
  return isApproved(record, version) ? "approved" : "open";
}

const dayMs = 86_400_000;

/**
 * Ways around the approvers that were taken: requests that a break-glass key signed within a day, and changes of the
 * policy that wait, or took effect within a day.
 */
export function breakGlassCounts(
  view: Pick<SystemView, "all">,
  nowMs: number,
): readonly (readonly [kind: "signed" | "policy", count: number])[] {
  const { last, waiting } = standingOf(view.all("ApprovalPolicy"), nowMs);
  const signed = view.all("ApprovalRequest").filter((record) => {
    const lines = signaturesOf(record).filter(({ atMs }) => atMs > nowMs - dayMs);
    const parts = last === undefined ? [] : partsOf(last.policy);
    return parts.some((part) => breakGlassSigned(record.text, part, lines));
  });
  return [
    ["signed", signed.length],
    ["policy", waiting.length + (last?.delayed && last.effectiveMs > nowMs - dayMs ? 1 : 0)],
  ];
}
