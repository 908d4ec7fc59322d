import { readFileSync } from "node:fs";

/**
 * @typedef {{ status: string, assertionResults: { status: string }[] }} TestFile
 * @typedef {{ passed: number, failed: number, skipped: number }} Tally
 */

/**
 * Sums vitest's JSON report and the failed checks. A file that could not be loaded, a run that ended
 * badly with no test to blame, and a missing report are one failure each: nothing red may add up to
 * zero.
 * @param {string} report
 * @param {number} exitCode
 * @param {number} failedChecks
 * @returns {Tally}
 */
export function tally(report, exitCode, failedChecks) {
  const files = readReport(report);
  const statuses = files.flatMap((file) => file.assertionResults.map(({ status }) => status));
  /** @param {string} status */
  const count = (status) => statuses.filter((candidate) => candidate === status).length;
  const brokenFiles = files.filter(
    (file) =>
      file.status === "failed" && !file.assertionResults.some(({ status }) => status === "failed"),
  ).length;
  const blamed = count("failed") + brokenFiles;
  const unblamed = exitCode !== 0 && blamed === 0 ? 1 : 0;
  const passed = count("passed");
  return {
    passed,
    failed: blamed + unblamed + failedChecks,
    skipped: statuses.length - passed - count("failed"),
  };
}

/**
 * @param {string} report
 * @returns {TestFile[]}
 */
function readReport(report) {
  try {
    return JSON.parse(readFileSync(report, "utf8")).testResults;
  } catch {
    return [];
  }
}
