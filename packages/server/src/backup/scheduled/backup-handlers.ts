import { basename } from "node:path";
import { type Call, type Contract, type Handlers, ManagementError } from "@holdfast/admin";
import type { BackupOrder, SystemRecord } from "@holdfast/engine";
import { managementEvents } from "../../audit/management-event.ts";
import type { Records } from "../../records/records.ts";
import type { SystemView } from "../../records/system-view.ts";
import { backupRecordId, openOrder, readRuns } from "./runs.ts";

export interface BackupDeps {
  readonly region: string;
  /** `backup.directory` of this node. */
  readonly directory: string | undefined;
  /** Whether this region elects a leader. */
  readonly hasLeader: boolean;
  readonly view: Pick<SystemView, "all" | "get" | "refresh">;
  readonly records: Pick<Records, "create" | "change">;
  readonly wallMs: () => number;
}

type Names = "readBackups" | "runBackup" | "verifyBackup" | "planRestore";
type Answer = Awaited<ReturnType<Handlers["runBackup"]>>;
type BackupCall = Call<Contract["verifyBackup"]> | Call<Contract["planRestore"]>;
type OrderCall = Call<Contract["runBackup"]> | BackupCall;

/** The last backups of all regions, and what their leaders are asked to do with them. */
export function backupHandlers(deps: BackupDeps): Pick<Handlers, Names> {
  const { region, view } = deps;
  const ofBackup = async (call: BackupCall, what: "verify" | "plan") => {
    const { backup } = call.params;
    await view.refresh().catch(() => undefined);
    const record = view.all("Backup").find((one) => namesOf(one).includes(backup));
    if (record !== undefined)
      return await give(deps, call, { region: record.region, what, backup });
    const detail = "no backup of this name is in the list: `holdfast backups` shows them";
    throw new ManagementError("notFound", detail);
  };
  return {
    readBackups: async () => ({
      items: view
        .all("Backup")
        .flatMap((record) =>
          readRuns(record).runs.map((run) => ({ region: record.region, ...run })),
        )
        .toSorted((one, other) => other.startedMs - one.startedMs)
        .map(({ startedMs, endedMs, ...rest }) => ({
          name: basename(rest.file),
          ...rest,
          startedAt: timeOf(startedMs),
          endedAt: timeOf(endedMs),
        })),
      work: view.all("Backup").flatMap(workOf),
    }),
    runBackup: (call) =>
      give(deps, call, { region: call.body.region ?? region, what: "create", backup: "" }),
    verifyBackup: (call) => ofBackup(call, "verify"),
    planRestore: (call) => ofBackup(call, "plan"),
  };
}

/** Writes an order into a region's record. Its leader looks every two seconds, so nobody need reach that node. */
async function give(
  deps: BackupDeps,
  call: OrderCall,
  { region, ...wish }: Pick<BackupOrder, "what" | "backup"> & { readonly region: string },
): Promise<Answer> {
  const { view, records, wallMs } = deps;
  const id = backupRecordId(region);
  refuseUnready(deps, region, view.get("Backup", id) !== undefined);
  const order = { id: call.newId, ...wish, atMs: wallMs(), by: call.principal.name };
  const target = { id: wish.backup === "" ? region : wish.backup };
  const detail = { timeMs: wallMs(), detail: { what: wish.what, region } };
  const events = managementEvents(call, call.audit, target, detail);
  if (view.get("Backup", id) === undefined) {
    const { record } = await records.create("Backup", { region, order }, events, { id });
    return answered(record, order);
  }
  const { record } = await records.change(
    "Backup",
    id,
    (before) => {
      if (before.order?.id === order.id) return undefined;
      const open = openOrder(before);
      if (open !== undefined) throw new ManagementError("wrongState", underWay(region, open));
      return { order };
    },
    events,
  );
  return answered(record, order);
}

function refuseUnready(deps: BackupDeps, region: string, isKnown: boolean): void {
  if (region !== deps.region) {
    if (isKnown) return;
    const detail = `region ${region} has made no backup: ask a node of that region, if there is one`;
    throw new ManagementError("wrongState", detail);
  }
  if (deps.directory === undefined) {
    const detail =
      "backup.directory: the configuration of this node names no folder for backups: set the group backup, as docs/backup.md says";
    throw new ManagementError("wrongState", detail);
  }
  if (deps.hasLeader) return;
  const detail =
    "locks: this region has no leader, which does this: run `holdfast backup` at a node of it";
  throw new ManagementError("wrongState", detail);
}

function underWay(region: string, { what, backup, by }: BackupOrder): string {
  const words = {
    create: "a backup",
    verify: `the check of ${backup}`,
    plan: `the plan of ${backup}`,
  };
  return `region ${region}: ${words[what]}, which ${by} ordered, is under way: wait for it`;
}

function answered(record: SystemRecord<"Backup">, order: BackupOrder): Answer {
  const found = workOf(record).find(({ id }) => id === order.id);
  return found ?? waiting(record.region, order);
}

function namesOf(record: SystemRecord<"Backup">): readonly string[] {
  return readRuns(record).runs.map(({ file }) => basename(file));
}

/** The last order of each kind, the newest first. */
function workOf(record: SystemRecord<"Backup">): Answer[] {
  const { region, order, work } = record;
  const taken = Object.values(work).flatMap((one) => one ?? []);
  const isTaken = order === undefined || taken.some(({ id }) => id === order.id);
  return [
    ...(isTaken ? [] : [waiting(region, order)]),
    ...taken
      .toSorted((one, other) => other.atMs - one.atMs)
      .map(({ id, what, backup, atMs, by, startedMs, toldMs, ...rest }) => ({
        ...{ id, region, what, backup, ...rest },
        ...{ orderedAt: timeOf(atMs), orderedBy: by },
        ...{ startedAt: timeOf(startedMs), toldAt: timeOf(toldMs) },
      })),
  ];
}

function waiting(region: string, { id, what, backup, atMs, by }: BackupOrder): Answer {
  return {
    state: "waiting",
    ...{ id, region, what, backup, step: "", done: 0, of: 0, lines: [] },
    ...{ orderedAt: timeOf(atMs), orderedBy: by },
  };
}

function timeOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
