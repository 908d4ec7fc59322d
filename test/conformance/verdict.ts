/** The verdict on a file. */
type Verdict = "passed" | "failed" | "skipped";

export interface FileReport {
  readonly file: string;
  readonly version: string;
  readonly profile: string;
  readonly verdict: Verdict;
  /** The first difference as a path, or what the file lacks; empty when it passed. */
  readonly detail: string;
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** The machine-readable result of a run. */
export interface Report extends Readonly<Totals> {
  readonly byVersion: Readonly<Record<string, Readonly<Totals>>>;
  readonly byProfile: Readonly<Record<string, Readonly<Totals>>>;
  readonly files: readonly FileReport[];
}

function totalsBy(
  files: readonly FileReport[],
  key: (file: FileReport) => string,
): Record<string, Totals> {
  const totals: Record<string, Totals> = {};
  for (const file of files) {
    const row = totals[key(file)] ?? { passed: 0, failed: 0, skipped: 0 };
    row[file.verdict] += 1;
    totals[key(file)] = row;
  }
  return totals;
}

/** Sums the files' verdicts. */
export function reportOf(files: readonly FileReport[]): Report {
  const all = totalsBy(files, () => "all")["all"] ?? { passed: 0, failed: 0, skipped: 0 };
  return {
    ...all,
    byVersion: totalsBy(files, (file) => file.version),
    byProfile: totalsBy(files, (file) => file.profile),
    files,
  };
}

function table(title: string, rows: Readonly<Record<string, Readonly<Totals>>>): string[] {
  const lines = Object.entries(rows).map(
    ([name, row]) =>
      `  ${name.padEnd(12)} ${String(row.passed).padStart(4)} passed ${String(row.failed).padStart(4)} failed ${String(row.skipped).padStart(4)} skipped`,
  );
  return [title, ...lines];
}

/** The report as text. */
export function printReport(report: Report): string {
  const files = report.files.map(
    (file) =>
      `${file.verdict.padEnd(8)}${file.file}${file.detail === "" ? "" : `: ${file.detail}`}`,
  );
  return [
    ...files,
    "",
    ...table("By version", report.byVersion),
    ...table("By profile", report.byProfile),
    "",
    `${report.passed} passed, ${report.failed} failed, ${report.skipped} skipped`,
  ].join("\n");
}
