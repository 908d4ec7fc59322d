import type { RedisStore } from "@holdfast/redis";
import { verifyFiles } from "../audit/verify/verify-files.ts";
import { verifyStore } from "../audit/verify/verify-store.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { openStoreOf } from "../store/open-store.ts";
import { storeFault } from "../store/store-faults.ts";
import { cadfSettings } from "../wiring/management/node-audit.ts";

/** What to check: the store of a configuration, files of the file sink, or the files against the store. */
export interface VerifyWish {
  readonly config?: string | undefined;
  readonly files: readonly string[];
}

/** What `holdfast audit verify` prints, and whether everything is whole. */
export interface VerifyResult {
  readonly lines: readonly string[];
  readonly whole: boolean;
}

/** Checks the audit trail in the store, in files, or in both. */
export async function verifyAudit(
  { config, files }: VerifyWish,
  machine: Machine,
): Promise<VerifyResult> {
  if (config === undefined && files.length === 0) {
    throw new OperatorError("audit verify: give --config for the store, --file for files, or both");
  }
  if (config === undefined) return filesResult(await verifyFiles(files));
  return atStore(config, machine, async (store, against) => {
    const inStore = await verifyStore(store.audit);
    const { entries, unchained, findings, notes } = inStore;
    const lines = [
      ...notes.map((note) => `note: ${note}`),
      ...findings.map((finding) => `FAULT ${finding}`),
      `store ${store.storeId}: ${entries} entries, ${unchained} of them not chained yet, ${faults(findings)}`,
    ];
    const result = { lines, whole: findings.length === 0 };
    if (files.length === 0) return result;
    const ofFiles = filesResult(await verifyFiles(files, against));
    return { lines: [...lines, ...ofFiles.lines], whole: result.whole && ofFiles.whole };
  });
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
    store: RedisStore,
    against: NonNullable<Parameters<typeof verifyFiles>[1]>,
  ) => Promise<Result>,
): Promise<Result> {
  const config = loadConfig(configFile);
  await using opened = new AsyncDisposableStack();
  try {
    const store = await openStoreOf(configFile, machine, opened);
    const { region, account } = cadfSettings(config);
    return await work(store, { log: store.audit, region, account });
  } catch (error) {
    throw storeFault(error, config.store, configFile);
  }
}
