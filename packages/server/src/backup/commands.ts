import { resolve } from "node:path";
import { ClockCheck, type Ids, type Timers } from "@holdfast/engine";
import { type GivenApprovals, withLocalApprovals } from "../approvals/local-approvals.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { version } from "../base/version.ts";
import { loadConfig } from "../config/config.ts";
import {
  ActEvidence,
  appendTo,
  withEvidence,
  withEvidenceIfReached,
} from "../store/operator-evidence.ts";
import {
  atRegions,
  type OpenedRegions,
  othersNow,
  presentRegions,
} from "../store/region-commands.ts";
import { whyIncomplete } from "./archive/archive-entries.ts";
import { ArchiveReader } from "./archive/archive-reader.ts";
import { initBackupKey, readBackupKeys, rotateBackupKey } from "./archive/backup-keys.ts";
import { type Scanned, scanArchive } from "./archive/scan.ts";
import { type Created, createBackup } from "./create.ts";
import { Progress, type Show } from "./progress.ts";
import { drill, drillLines, isReliable } from "./restore/drill.ts";
import { type KeyRingPlace, keyRingOver } from "./restore/key-rings.ts";
import {
  findNewInstance,
  type NewInstanceReport,
  type NewInstanceWish,
  newInstanceLines,
  restoreIntoNew,
} from "./restore/new-instance.ts";
import {
  type RestoreReport,
  type RestoreTarget,
  refuseDamaged,
  reportLines,
  restoreArchive,
} from "./restore/restore.ts";

/** What a command prints, and whether it succeeded. */
export interface Said {
  readonly lines: readonly string[];
  readonly ok: boolean;
}

/** The options of `backup restore`. */
export interface RestoreWish extends GivenApprovals {
  /** Without it, only a report is made. */
  readonly apply?: boolean;
  readonly althoughDamaged?: boolean;
  /** Both together, or neither. */
  readonly intoNewInstance?: string;
  readonly deletedInstance?: string;
}

/** Makes the backup key's file. */
export async function initKey(configFile: string, machine: Machine): Promise<string> {
  return await initBackupKey(settingsOf(loadConfig(configFile)).keyFile, machine);
}

/** Adds a version to the backup key's file. */
export async function rotateKey(configFile: string, machine: Machine): Promise<string> {
  return await rotateBackupKey(settingsOf(loadConfig(configFile)).keyFile, machine);
}

/** Writes a backup of the region's store into a new file. */
export async function createCommand(
  configFile: string,
  machine: Machine,
  file: string,
): Promise<Said> {
  const config = loadConfig(configFile);
  const { clock, ids } = machine;
  const { keyFile } = settingsOf(config);
  return await withKeys(keyFile, (keys) =>
    withProgress(clock, (show) =>
      atRegions(configFile, machine, async (opened) => {
        const { own, region } = opened;
        const key = keys.at(-1);
        if (key === undefined) throw new OperatorError(`backup.keyFile: ${keyFile} has no version`);
        const startedMs = clock.monotonicMs();
        const others = () => othersNow(opened);
        const source = { own, others, statuses: own, region, holdfast: version };
        const made = await withEvidence(
          appendTo(own),
          machine,
          { action: "backup.create", target: resolve(file) },
          () =>
            createBackup(resolve(file), source, {
              key,
              ids,
              clock,
              progress: (done, of) => show("backup", done, of),
            }),
          ({ trailer, bytes }) => ({
            reason: whyIncomplete(trailer),
            detail: { records: trailer.records, bytes },
          }),
        );
        const { records } = made.trailer;
        const seconds = ((clock.monotonicMs() - startedMs) / 1000).toFixed(1);
        const lines = [
          `${made.file}: ${records} records, ${made.bytes} bytes, in ${seconds} s, under version ${key.version} of the backup key`,
          ...createdLines(made),
        ];
        return { lines, ok: whyIncomplete(made.trailer) === undefined };
      }),
    ),
  );
}

/** What a backup lacks or may lack, as lines of text. */
export function createdLines({
  trailer: { damaged, lacks },
  note,
}: Pick<Created, "trailer" | "note">): readonly string[] {
  const lines: string[] = [];
  if (damaged > 0) {
    lines.push(
      `${damaged} records of the store are damaged and are not in it: see docs/runbook.md`,
    );
  }
  if (lacks !== undefined) {
    lines.push(
      `it is not complete: ${lacks}: make it in the other region, or again when \`holdfast region status\` says that the store is level`,
    );
  } else if (note !== undefined) lines.push(note);
  return lines;
}

/** Proves that a backup can be restored. Writes only audit events, if the store can be reached. */
export async function verifyCommand(
  configFile: string,
  machine: Machine,
  file: string,
  keysToOpen: number,
): Promise<Said> {
  const config = loadConfig(configFile);
  const { keyFile } = settingsOf(config);
  const drilled = () =>
    withKeys(keyFile, (keys) =>
      withProgress(machine.clock, async (show) => {
        await using reader = await ArchiveReader.open(resolve(file), keys);
        return await drill(reader, {
          keys: keysToOpen,
          openKeyRing: (store) => keyRingOver(store, { config, machine }),
          machine,
          chance: () => uniform(machine.ids),
          progress: show,
        });
      }),
    );
  const report = await withEvidenceIfReached(
    configFile,
    machine,
    { action: "backup.verify", target: resolve(file) },
    drilled,
    (found) => ({
      reason: isReliable(found) ? undefined : "it cannot be relied on",
      detail: {
        records: found.restored.made,
        opened: found.opened,
        failed: found.failed.length,
      },
    }),
  );
  return { lines: drillLines(file, report, machine.clock.wallMs()), ok: isReliable(report) };
}

/** Joins a backup into the region's store, or reports what that would do. */
export async function restoreCommand(
  configFile: string,
  machine: Machine,
  file: string,
  wish: RestoreWish,
): Promise<Said> {
  const config = loadConfig(configFile);
  const apply = wish.apply === true;
  return await withKeys(settingsOf(config).keyFile, (keys) =>
    withProgress(machine.clock, async (show) => {
      await using reader = await ArchiveReader.open(resolve(file), keys);
      const scanned = await scanArchive(reader, (bytes) => show("reading", bytes, reader.size));
      if (wish.althoughDamaged !== true) refuseDamaged(scanned, file);
      const into = newInstanceWish(wish);
      return await atRegions(configFile, machine, async (opened) => {
        const target = await targetOf(opened);
        const restoring = { reader, scanned, target, show, machine };
        const { lines, ok } = await (into === undefined
          ? restorePlainly(restoring, apply)
          : restoreAnew(restoring, { ...wish, apply }, into, { config, machine }));
        const { lacks } = scanned.trailer;
        const warned = lacks === undefined ? [] : [`the backup is not complete: ${lacks}`];
        return { lines: [...warned, ...lines], ok };
      });
    }),
  );
}

/** An archive that was read whole, and where it is restored. */
export interface Restoring {
  readonly reader: ArchiveReader;
  readonly scanned: Scanned;
  readonly target: RestoreTarget;
  readonly show: Show;
  readonly machine: Pick<Machine, "clock" | "ids">;
}

/** Joins an archive into the store between the events of that, or reports what that would do. */
export async function restorePlainly(
  { reader, scanned, target, show, machine }: Restoring,
  apply: boolean,
): Promise<Said> {
  const { records } = scanned.trailer;
  const restore = () =>
    restoreArchive(reader, scanned, target, {
      apply,
      progress: (done) => show(apply ? "restoring" : "comparing", done, records),
    });
  const act = { action: "backup.restore", target: reader.file, detail: { records } } as const;
  const ending = (found: RestoreReport) => {
    const { made, added, contradicting, left } = found;
    return { reason: whyNotRestored(found), detail: { made, added, contradicting, left } };
  };
  const report = apply
    ? await withEvidence(appendTo(target.own), machine, act, restore, ending)
    : await restore();
  const lines = [...reportLines(report, apply), conclusion(report, apply)];
  return { lines, ok: whyNotRestored(report) === undefined };
}

async function restoreAnew(
  { reader, scanned, target, show }: Restoring,
  { apply, ...approvals }: RestoreWish & { readonly apply: boolean },
  wish: NewInstanceWish,
  place: KeyRingPlace,
): Promise<Said> {
  const { region, node } = place.config;
  const regions = [region, ...target.peers.map((peer) => peer.region)];
  const { deleted } = wish;
  const { id: into, name } = await findNewInstance(target, wish);
  const detail = { file: reader.file, instance: deleted, into };
  const evidence = new ActEvidence(
    { action: "backup.restore", target: into, detail },
    place.machine,
  );
  const restore = () =>
    restoreIntoNew(
      reader,
      scanned,
      target,
      { deleted, into },
      {
        apply,
        region,
        openKeyRing: (store) =>
          keyRingOver(store, store === target.own ? { ...place, regions } : place),
        audit: [evidence.pending()],
        progress: (done) => show(apply ? "restoring" : "opening", done, scanned.trailer.records),
      },
    );
  const here = { own: target.own, region, node, machine: place.machine };
  const call = { deleted, into, name, archive: reader.header.salt };
  const act = {
    operation: "backup restore",
    // What the deleted instance asks for counts still: its keys come back.
    target: `${deleted}/${into}`,
    call,
  } as const;
  const ending = ({ restored, destroyed, already, failures }: NewInstanceReport) => ({
    reason: failures === 0 ? undefined : `${failures} objects could not be restored`,
    detail: { restored, destroyed, already, failures },
  });
  const evident = () => evidence.concluding(appendTo(target.own), restore, ending);
  // Without --apply nothing is written.
  const report = apply ? await withLocalApprovals(here, act, approvals, evident) : await restore();
  return { lines: newInstanceLines(report, apply), ok: report.failures === 0 };
}

function newInstanceWish(wish: RestoreWish): NewInstanceWish | undefined {
  const { intoNewInstance: into, deletedInstance: deleted } = wish;
  if (into === undefined && deleted === undefined) return undefined;
  if (into !== undefined && deleted !== undefined) return { into, deleted };
  throw new OperatorError("--into-new-instance NAME and --deleted-instance ID belong together");
}

/** Why a restore is not complete; undefined if it is. */
function whyNotRestored({ contradicting, left }: RestoreReport): string | undefined {
  const reasons = [
    ...(contradicting > 0 ? [`${contradicting} records contradict those of the store`] : []),
    ...(left > 0 ? [`${left} records were held or refused`] : []),
  ];
  return reasons.length === 0 ? undefined : reasons.join("; ");
}

function conclusion(report: RestoreReport, apply: boolean): string {
  if (!apply) return "nothing was written: give --apply to restore it";
  const why = whyNotRestored(report);
  if (why === undefined) return "the restore is complete; it may be run again";
  const mend =
    report.contradicting > 0
      ? "keep the backup and the store that it is of, and see HoldfastRecordsInQuarantine in docs/runbook.md"
      : "run it again";
  return `the restore is not complete: ${why}: ${mend}`;
}

/**
 * The store of this region, and the clock of this machine compared with the others; any other region that is not retired
 * must answer, since it may know more.
 */
async function targetOf(opened: OpenedRegions): Promise<RestoreTarget> {
  const { own, timers, observe } = opened;
  const peers = await presentRegions(opened, "may know of objects that were destroyed since");
  const clocks = new ClockCheck(timers, () => [
    ...[own.clockReading() ?? []].flat(),
    ...peers.flatMap((peer) => peer.clockReadings()),
  ]);
  return { own, peers, timers: { ...timers, doubt: () => clocks.doubt() }, observe };
}

/** Runs `work` with all versions of the backup key, and overwrites these afterwards. */
async function withKeys<Result>(
  keyFile: string,
  work: (keys: Awaited<ReturnType<typeof readBackupKeys>>) => Promise<Result>,
): Promise<Result> {
  const keys = await readBackupKeys(keyFile);
  try {
    return await work(keys);
  } finally {
    for (const { key } of keys) key.fill(0);
  }
}

/** Runs `work` with a line of progress. */
async function withProgress<Result>(
  { monotonicMs }: Timers,
  work: (show: Show) => Promise<Result>,
): Promise<Result> {
  using progress = new Progress(process.stderr, monotonicMs);
  return await work(progress.show);
}

/** The group of settings; throws an `OperatorError` without one. */
function settingsOf<Settings>({ backup }: { readonly backup: Settings | undefined }): Settings {
  if (backup !== undefined) return backup;
  throw new OperatorError("backup: the configuration has no such group: set backup.keyFile");
}

function uniform(ids: Ids): number {
  const [a = 0, b = 0, c = 0, d = 0] = ids.randomBytes(4);
  return ((a << 24) >>> 0) / 2 ** 32 + ((b << 16) + (c << 8) + d) / 2 ** 32;
}
