import {
  type Approver,
  type Call,
  type Contract,
  documentOf,
  type Handlers,
  ManagementError,
  parseRequest,
  signersOf,
} from "@holdfast/admin";
import { partsOfRequest, signaturesOf } from "../../approvals/parts.ts";
import { type PolicyVersion, type Standing, standingOf } from "../../approvals/policies.ts";
import { type Approvals, type RequestRecord, stateOf } from "../../approvals/requests.ts";
import { managementEvents } from "../../audit/management-event.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { Presence } from "../../records/presence.ts";
import type { Applied, Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import { pageBy } from "../paging.ts";

export interface ApprovalHandlersDeps {
  readonly view: Pick<SystemView, "all" | "get" | "refresh" | "unreadPolicies">;
  readonly records: Pick<Records, "create" | "change" | "destroy">;
  readonly presence: Pick<Presence, "of">;
  readonly approvals: Pick<Approvals, "handIn">;
  readonly node: string;
  readonly wallMs: () => number;
  /** See `ApprovalsOptions`. */
  readonly policyMs: () => number;
  readonly newId: () => string;
  readonly observe: NodeObserver;
}

type Names = "listApprovals" | "readApproval" | "signApproval" | "cancelApproval";
type CallOf<Name extends Names> = Call<Contract[Name]>;

/** Requests for approvals, and their signatures. */
export function requestHandlers(deps: ApprovalHandlersDeps): Pick<Handlers, Names> {
  return {
    listApprovals: (call) => list(deps, call),
    readApproval: (call) => read(deps, call),
    signApproval: (call) => sign(deps, call),
    cancelApproval: (call) => cancel(deps, call),
  };
}

/** The policy as this node knows it. */
export function standing({ view, policyMs }: ApprovalHandlersDeps): Standing {
  return standingOf(view.all("ApprovalPolicy"), policyMs());
}

async function list(deps: ApprovalHandlersDeps, { query }: CallOf<"listApprovals">) {
  const all = deps.view.all("ApprovalRequest").filter(({ destroyed }) => destroyed === undefined);
  const sorted = all.toSorted((one, other) => (placeOf(one) < placeOf(other) ? -1 : 1));
  const { items, next } = pageBy(sorted, placeOf, query);
  const regions = await deps.presence.of(items.map(({ id }) => id));
  const { inForce } = standing(deps);
  return {
    items: items.map((record) => answer(deps, record, inForce, regions.get(record.id) ?? {})),
    ...next,
  };
}

async function read(deps: ApprovalHandlersDeps, { params }: CallOf<"readApproval">) {
  const record = await found(deps, params.approval);
  const regions = (await deps.presence.of([record.id])).get(record.id) ?? {};
  const { inForce } = standing(deps);
  const document = documentOf(record.text, record.call);
  return { ...answer(deps, record, inForce, regions), document };
}

async function found({ view }: ApprovalHandlersDeps, id: string): Promise<RequestRecord> {
  if (view.get("ApprovalRequest", id) === undefined) await view.refresh().catch(() => undefined);
  const record = view.get("ApprovalRequest", id);
  if (record === undefined || record.destroyed !== undefined) {
    throw new ManagementError("notFound", "request not found, or cancelled");
  }
  return record;
}

async function sign(deps: ApprovalHandlersDeps, call: CallOf<"signApproval">) {
  const record = await found(deps, call.params.approval);
  const { inForce } = standing(deps);
  const signed = await deps.approvals.handIn(record.id, call.body.signatures, call, inForce);
  return answer(deps, signed.record, inForce, signed.regions);
}

async function cancel(deps: ApprovalHandlersDeps, call: CallOf<"cancelApproval">) {
  const { records, wallMs } = deps;
  const { id, text } = await found(deps, call.params.approval);
  const { roles, id: caller } = call.principal;
  const mayAll = roles.includes("manager") || roles.includes("security-officer");
  if (!mayAll && parseRequest(text)?.by !== caller) {
    throw new ManagementError("forbidden", "an operator cancels only requests of the same token");
  }
  const events = managementEvents(call, call.audit, { id }, { timeMs: wallMs() });
  const { regions } = await records.destroy("ApprovalRequest", id, events, {
    leaving: { call: "" },
    check: ({ use }) => {
      if (use?.state === "done") throw new ManagementError("conflict", "it was used already");
    },
  });
  return { id, regions };
}

function answer(
  { wallMs }: ApprovalHandlersDeps,
  record: RequestRecord,
  inForce: PolicyVersion | undefined,
  regions: Applied,
) {
  const request = parseRequest(record.text);
  const { use, id, createdMs, createdBy } = record;
  const time = (ms: number) => new Date(ms).toISOString();
  const parts = inForce === undefined ? [] : partsOfRequest(record, inForce.policy);
  const [ofInstance] = parts.filter((part) => "instance" in part);
  const signedBy = signaturesOf(record).flatMap((line) => {
    const isOf = (keys: readonly Approver[]) => signersOf(record.text, keys, [line])[0];
    const breakGlass = isOf(parts.flatMap((part) => part.breakGlass));
    const signer = isOf(parts.flatMap((part) => part.approvers)) ?? breakGlass;
    if (signer === undefined) return [];
    return [
      {
        name: signer.name,
        at: time(line.atMs),
        breakGlass: breakGlass !== undefined,
        ...(line.reason === undefined ? {} : { reason: line.reason }),
      },
    ];
  });
  return {
    id,
    state: stateOf(record, inForce, wallMs()),
    operation: request?.operation ?? "",
    target: request?.target ?? "",
    askedBy: createdBy,
    askedAt: time(createdMs),
    until: time((request?.until ?? 0) * 1000),
    usableIn: [...(request?.regions ?? [])],
    needed: parts.find((part) => part === inForce?.policy)?.approvals ?? 0,
    ...(ofInstance && { neededOfInstance: ofInstance.approvals }),
    signedBy,
    regions,
    ...(use?.state === "done" ? { usedAt: time(use.atMs) } : {}),
  };
}

/** Newest first. */
function placeOf({ createdMs, id }: RequestRecord): string {
  return `${String(8.64e15 - createdMs).padStart(17, "0")} ${id}`;
}
