import type { RedisTrail } from "@holdfast/redis";
import {
  describeLogKey,
  initLogKey,
  type LogSettings,
  readLogKey,
  rotateLogKey,
} from "../audit/log/log-key.ts";
import { proveEvent, writeProof } from "../audit/log/prove.ts";
import { HttpWitness } from "../audit/log/witness-client.ts";
import { verifyFiles } from "../audit/verify/verify-files.ts";
import type { LogTrust } from "../audit/verify/verify-log.ts";
import { verifyStore } from "../audit/verify/verify-store.ts";
import { readText } from "../base/certificates.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import type { Config } from "../config/config-table.ts";
import { openTrailOf } from "../store/open-store.ts";
import { withEvidenceIfReached } from "../store/operator-evidence.ts";
import { storeFault } from "../store/store-faults.ts";
import { cadfSettings } from "../wiring/management/node-audit.ts";

/** What to check: the store of a configuration, files of the file sink, or the files against the store. */
export interface VerifyWish {
  readonly config?: string | undefined;
  readonly files: readonly string[];
  /** A file with a checkpoint of the log that somebody kept elsewhere. */
  readonly checkpoint?: string | undefined;
}

/** What `holdfast audit verify` prints, and whether everything is whole. */
export interface VerifyResult {
  readonly lines: readonly string[];
  readonly whole: boolean;
}

/** Checks the audit trail in the store, in files, or in both. */
export async function verifyAudit(
  { config, files, checkpoint }: VerifyWish,
  machine: Machine,
): Promise<VerifyResult> {
  if (config === undefined && files.length === 0) {
    throw new OperatorError("audit verify: give --config for the store, --file for files, or both");
  }
  if (config === undefined && checkpoint !== undefined) {
    throw new OperatorError(
      "audit verify: --checkpoint needs --config: it is compared with the log in the store",
    );
  }
  if (config === undefined) return filesResult(await verifyFiles(files));
  const trust = trustOf(loadConfig(config), machine, checkpoint);
  if (checkpoint !== undefined && trust === undefined) {
    throw new OperatorError("audit verify: --checkpoint needs audit.log in the configuration");
  }
  return atStore(config, machine, async (store, against) => {
    const inStore = await verifyStore(store.audit, trust);
    const { entries, unchained, unwitnessed, findings, notes } = inStore;
    const unsure = [
      `${unchained} of them not chained yet`,
      ...(unwitnessed === undefined ? [] : [`${unwitnessed} not witnessed yet`]),
    ];
    const lines = [
      ...notes.map((note) => `note: ${note}`),
      ...findings.map((finding) => `FAULT ${finding}`),
      `store ${store.storeId}: ${entries} entries, ${unsure.join(", ")}, ${faults(findings)}`,
    ];
    const result = { lines, whole: findings.length === 0 };
    if (files.length === 0) return result;
    const ofFiles = filesResult(await verifyFiles(files, against));
    return { lines: [...lines, ...ofFiles.lines], whole: result.whole && ofFiles.whole };
  });
}

/** Whom a configuration believes; undefined without a log. */
function trustOf(
  { audit: { log } }: Config,
  { clock }: Machine,
  checkpoint?: string,
): LogTrust | undefined {
  if (log === undefined) return undefined;
  const kept = checkpoint === undefined ? undefined : readText(checkpoint, "--checkpoint");
  const witnesses = log.witnesses.map((settings) => new HttpWitness(settings));
  return { key: readLogKey(log).key, witnesses, kept, clock };
}

/** Writes the proof that an event is in the log, and the leaf that it is about; returns what it says. */
export async function proveAudit(
  { config, event, out }: { readonly config: string; readonly event: string; readonly out: string },
  machine: Machine,
): Promise<readonly string[]> {
  const trust = trustOf(loadConfig(config), machine);
  if (trust === undefined) throw new OperatorError("audit.log: is missing in the configuration");
  const proven = await atStore(config, machine, (store) => proveEvent(store.audit, trust, event));
  const proofFile = writeProof(proven, out);
  return [...proven.lines, `${out}: the leaf; ${proofFile}: its proof`];
}

const giveAll = "give this file to every node of the region now, and keep a copy";

/** Makes the key of the audit log. */
export function initAuditKey(configFile: string): readonly string[] {
  const settings = logSettings(configFile);
  initLogKey(settings);
  return [`${settings.keyFile}: made; ${giveAll}`, ...describeLogKey(readLogKey(settings))];
}

/** Adds a key, with which the leader begins a new log; with evidence in the region's store if that can be reached. */
export async function rotateAuditKey(
  configFile: string,
  machine: Machine,
): Promise<readonly string[]> {
  const settings = logSettings(configFile);
  const act = { action: "audit-key.rotate", target: settings.keyFile } as const;
  await withEvidenceIfReached(configFile, machine, act, async () => rotateLogKey(settings));
  const next = "each node uses it after a restart, and the leader then begins a new log";
  return [
    `${settings.keyFile}: has a new key; ${giveAll}; ${next}`,
    ...describeLogKey(readLogKey(settings)),
  ];
}

/** What witnesses and auditors need to know of the log. */
export function showAuditKey(configFile: string): readonly string[] {
  return describeLogKey(readLogKey(logSettings(configFile)));
}

function logSettings(configFile: string): LogSettings {
  const { log } = loadConfig(configFile).audit;
  if (log === undefined) throw new OperatorError("audit.log: is missing in the configuration");
  return log;
}

function filesResult({
  findings,
  notes,
  files,
  events,
}: Awaited<ReturnType<typeof verifyFiles>>): VerifyResult {
  const lines = [
    ...notes.map((note) => `note: ${note}`),
    ...findings.map((finding) => `FAULT ${finding}`),
    `${files} files: ${events} events, ${faults(findings)}`,
  ];
  return { lines, whole: findings.length === 0 };
}

function faults(findings: readonly string[]): string {
  return findings.length === 0 ? "whole" : `${findings.length} faults`;
}

async function atStore<Result>(
  configFile: string,
  machine: Machine,
  work: (
    store: RedisTrail,
    against: NonNullable<Parameters<typeof verifyFiles>[1]>,
  ) => Promise<Result>,
): Promise<Result> {
  const config = loadConfig(configFile);
  await using opened = new AsyncDisposableStack();
  try {
    const store = await openTrailOf(configFile, machine, opened);
    const { region, account } = cadfSettings(config);
    return await work(store, { log: store.audit, region, account });
  } catch (error) {
    throw storeFault(error, config.store, configFile);
  }
}
