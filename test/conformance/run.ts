import { createHash } from "node:crypto";
import type { KmipTarget } from "../support/kmip-socket.ts";
import { startRegion } from "../support/region.ts";
import { type CorpusFile, type Group, needsEmptyInstance } from "./corpus.ts";
import { lackOf } from "./lacking.ts";
import { replay } from "./replay.ts";
import { type FileReport, type Report, reportOf } from "./verdict.ts";

/** A running server, and the credentials for the connection. */
export type Place = KmipTarget;

/** How many groups run at the same time: they share nothing, and mostly wait for the disk. */
const parallelGroups = 8;

/** An instance name for a group, in the form that a configuration accepts. */
function instanceName(group: Group): string {
  return `g-${createHash("sha256").update(group.name).digest("hex").slice(0, 16)}`;
}

/** A file that fails for a known missing feature counts as skipped, with that reason. */
function verdictOf(file: CorpusFile, difference: string | undefined): FileReport {
  const base = { file: file.path, version: file.version, profile: file.family ?? "test case" };
  if (difference === undefined) return { ...base, verdict: "passed", detail: "" };
  const lack = lackOf(file);
  return lack === undefined
    ? { ...base, verdict: "failed", detail: difference }
    : { ...base, verdict: "skipped", detail: `${lack} (${difference})` };
}

async function runGroup(group: Group, target: KmipTarget): Promise<FileReport[]> {
  const reports: FileReport[] = [];
  const serverMade = new Set<string>();
  for (const file of group.files) {
    reports.push(verdictOf(file, await replay(file, target, serverMade)));
  }
  return reports;
}

/** Runs every group in its own instance, on our own server with a real Redis. */
export async function runOnOwnServer(groups: readonly Group[]): Promise<Report> {
  await using region = await startRegion({
    instances: groups.map(instanceName),
    nodes: 1,
    // Other work of the machine must not end the lease of the only node.
    settings: { kmip: { interop: true }, store: { leaseMs: 60_000 } },
  });
  const reports: FileReport[][] = groups.map(() => []);
  const left = groups.entries();
  const work = async (): Promise<void> => {
    for (const [at, group] of left) {
      reports[at] = await runGroup(group, region.target(instanceName(group)));
    }
  };
  await Promise.all(Array.from({ length: parallelGroups }, work));
  return reportOf(reports.flat());
}

/** Runs all files in one instance of a running server; marks those that need an empty instance. */
export async function runOnEndpoint(groups: readonly Group[], place: Place): Promise<Report> {
  const reports: FileReport[] = [];
  for (const group of groups) {
    const said = await runGroup(group, place);
    reports.push(
      ...said.map((report, at) => {
        const file = group.files[at];
        return report.verdict === "failed" && file !== undefined && needsEmptyInstance(file)
          ? { ...report, detail: `${report.detail} (needs an empty instance)` }
          : report;
      }),
    );
  }
  return reportOf(reports);
}
