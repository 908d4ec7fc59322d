import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { documentOf, ManagementError } from "@holdfast/admin";
import { ClockCheck, type ObjectStore, type OwnStore } from "@holdfast/engine";
import type { RedisStore } from "@holdfast/redis";
import { agreedCommit, type Peer, sitesInOrder } from "@holdfast/regions";
import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { Records } from "../records/records.ts";
import { SystemView } from "../records/system-view.ts";
import { type LocalOperation, nameOf, partsFor } from "./parts.ts";
import { type Standing, standingOf } from "./policies.ts";
import { Approvals, type Asked } from "./requests.ts";

/** What a command at a node does. */
export interface LocalAct {
  /** The command's words. */
  readonly operation: LocalOperation;
  readonly target: string;
  /** Its options. */
  readonly call: Readonly<Record<string, unknown>>;
}

/** The approvals that the operator gives. */
export interface GivenApprovals {
  /** The identifier of the request. */
  readonly approval?: string | undefined;
  /** Lines of signatures that nobody has handed in yet. */
  readonly signatures?: string | undefined;
  /** Where to write the document of a new request: no node of the region may answer. */
  readonly documentOut?: string | undefined;
}

/** A region's store as a command has it, and who runs the command. */
export interface LocalPlace {
  /** The store; one that has a clock tells it. */
  readonly own: OwnStore & Partial<Pick<RedisStore, "clockReading">>;
  readonly region: string;
  readonly node: string;
  readonly machine: Pick<Machine, "clock" | "ids">;
  /** The other regions, for what they must agree to; none unless given. */
  readonly peers?: readonly Peer[];
}

const reservedMs = 10_000;

/** The policy in a region's store, by the clock of the machine or of the store, whichever is behind. */
export function localStanding(place: LocalPlace, view: SystemView): Standing {
  return standingOf(view.all("ApprovalPolicy"), {
    nowMs: storeClock(place).earliestMs(),
    region: place.region,
  });
}

/** Compares the clock of this machine with that of the store. */
export function storeClock({
  own,
  machine: { clock },
}: Pick<LocalPlace, "own" | "machine">): ClockCheck {
  return new ClockCheck(clock, () => [own.clockReading?.() ?? []].flat());
}

/** The records of a store, as a command reads and writes them: in this region only, unless they are agreed. */
export function localRecords({ own, region, machine: { clock, ids }, peers = [] }: LocalPlace) {
  const observe = () => undefined;
  const { monotonicMs } = clock;
  const view = new SystemView({ own, peers: [], monotonicMs, observe, everyMs: 3_600_000 });
  const store = {
    read: own.read.bind(own),
    commit: async (...given: Parameters<ObjectStore["commit"]>) => {
      const [instance, changes, audit, { agreed = false } = {}] = given;
      if (!agreed || peers.length === 0) return await own.commit(instance, changes, audit);
      const merging = { from: region, timers: clock, observe, reservedMs };
      const sites = sitesInOrder(region, own, peers, { given: [], merging });
      const around = { timers: clock, ids, observe, reservedMs };
      return await agreedCommit(sites, { instance, changes, audit }, around);
    },
    appendAudit: own.appendAudit.bind(own),
  };
  return { view, records: new Records({ region, others: () => [], store, view, clock, ids }) };
}

/**
 * Does what a command does, with approvals where the policy in this region's store asks for them. A request that a
 * command makes may be used only in this region, so it needs no agreement: the other region may be lost.
 */
export async function withLocalApprovals<Result>(
  place: LocalPlace,
  act: LocalAct,
  given: GivenApprovals,
  work: () => Promise<Result>,
): Promise<Result> {
  const { region, node, machine } = place;
  const { view, records } = localRecords(place);
  await using _ = view;
  const { wallMs } = machine.clock;
  const newId = machine.ids.uuid;
  const observe = () => undefined;
  const clocks = storeClock(place);
  const policyMs = () => clocks.earliestMs();
  const around = { wallMs, policyMs, newId, observe };
  const options = { view, records, region, node, reachable: () => [], ...around };
  const approvals = new Approvals(options);
  try {
    const version = await approvals.needed(act);
    if (version === undefined) return await work();
    const by = `node ${node}`;
    const principal = { name: `operator ${userInfo().username}`, id: by };
    const asked: Asked = { ...act, by, asker: "node", actor: { principal, requestId: newId() } };
    if (given.approval === undefined) {
      const id = await approvals.ask(asked, version);
      const record = view.get("ApprovalRequest", id);
      const { documentOut: file } = given;
      if (file !== undefined && record !== undefined) {
        writeFileSync(file, documentOf(record.text, record.call), { flag: "wx" });
      }
      const document =
        file ??
        `its document (holdfast approval show ${id}, or repeat this with --document-out FILE)`;
      const parts = partsFor(version.policy, act.operation, act.target);
      const who = parts.map(nameOf).join(" and ");
      throw new OperatorError(
        `${who} must sign this first: give them ${document}, then repeat this with --approval ${id} --signatures FILE`,
        "conflicting",
      );
    }
    const id = given.approval;
    if (given.signatures !== undefined) {
      await approvals.handIn(id, given.signatures, asked.actor, version);
    }
    return await approvals.use(id, asked, work);
  } catch (error) {
    throw error instanceof ManagementError
      ? new OperatorError(error.message, exitOf(error))
      : error;
  }
}

function exitOf({ code }: ManagementError): "conflicting" | "wrong" | "again" {
  if (code === "storeUnavailable") return "again";
  return code === "invalid" ? "wrong" : "conflicting";
}
