import { readFileSync } from "node:fs";

/**
 * @typedef {{ name: string, status: string, assertionResults: { status: string, fullName: string }[] }} TestFile
 * @typedef {{ passed: number, failed: number, skipped: [file: string, tests: string[]][] }} Tally
 */

/**
 * Sums up vitest's JSON report and the failed checks. A file that could not be loaded, a run that failed
 * without a failed test, and a missing report count as one failure each, so that no failed run counts as
 * zero failures.
 * @param {string} report
 * @param {number} exitCode
 * @param {number} failedChecks
 * @returns {Tally}
 */
export function tally(report, exitCode, failedChecks) {
  const files = readReport(report);
  /** @param {string} wanted @param {TestFile[]} among */
  const count = (wanted, among = files) =>
    among.flatMap((file) => file.assertionResults).filter(({ status }) => status === wanted).length;
  const brokenFiles = files.filter(
    (file) =>
      file.status === "failed" && !file.assertionResults.some(({ status }) => status === "failed"),
  ).length;
  const blamed = count("failed") + brokenFiles;
  const unblamed = exitCode !== 0 && blamed === 0 ? 1 : 0;
  const ran = new Set(["passed", "failed"]);
  /** @type {Tally["skipped"]} */
  const skipped = files.map(({ name, assertionResults }) => [
    name,
    assertionResults.filter(({ status }) => !ran.has(status)).map(({ fullName }) => fullName),
  ]);
  return {
    passed: count("passed"),
    failed: blamed + unblamed + failedChecks,
    skipped: skipped.filter(([, tests]) => tests.length > 0),
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
