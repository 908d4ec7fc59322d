import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { printable } from "@holdfast/admin/approval-text";
import { z } from "zod";
import { Failure, readGiven, reasonOf } from "../../terminal/failure.ts";
import { takeLock } from "../../terminal/file-lock.ts";

const head = z.object({ migrateReport: z.literal(1), of: z.string(), target: z.string() });

const line = z
  .object({
    id: z.string(),
    /** Its identifier at the target; absent before the target answered. */
    becomes: z.string().optional(),
    outcome: z.string(),
    reason: z.string().optional(),
    /** SHA-256 of the key's bytes at the source and at the target, of symmetric keys. */
    digests: z.object({ source: z.string(), target: z.string() }).strict().optional(),
    /** Both sides have the same, of objects whose digest would help to guess them. */
    compared: z.literal(true).optional(),
    /** Attributes that did not come. */
    left: z.array(z.string()).optional(),
    at: z.string(),
  })
  .strict();

/** What became of one object. */
export type ReportLine = Readonly<z.infer<typeof line>>;

/** What a report is about: the hash of its plan or another name, and the target. */
export interface Subject {
  readonly of: string;
  readonly target: string;
  /** Whether a report that begins with other words is about the same. */
  readonly includes?: (begun: Pick<Subject, "of" | "target">) => boolean;
  /** What to do if it is not. */
  readonly otherwise?: string;
}

/**
 * The report of a move, a line for each object, on disk before the next step begins. A command that was killed continues
 * behind its last whole line: what is done but not in it is found at the target again. Only one command at a time has it.
 */
export class ReportFile implements Disposable {
  readonly #path: string;
  readonly #lock: Disposable;
  /** The last line of each object. */
  readonly lines: ReadonlyMap<string, ReportLine>;

  private constructor(path: string, lines: ReadonlyMap<string, ReportLine>, lock: Disposable) {
    this.#path = path;
    this.#lock = lock;
    this.lines = lines;
  }

  /** Opens the report, or begins it; refuses one of another plan or target, and one that another process has. */
  static open(path: string, subject: Subject): ReportFile {
    let lock: Disposable | undefined;
    try {
      lock = takeReportLock(path);
      const text = existsSync(path) ? readFileSync(path, "utf8") : "";
      const first = firstLine(subject);
      if (isUnbegun(text, first)) {
        writeFileSync(path, first, { mode: 0o600, flush: true });
        return new ReportFile(path, new Map(), lock);
      }
      const lines = linesIn(path, text, subject);
      // A line that was cut short by a kill stays alone. Says at once, too, if the file cannot be written.
      appendFileSync(path, text.endsWith("\n") ? "" : "\n", { flush: true });
      return new ReportFile(path, lines, lock);
    } catch (error) {
      lock?.[Symbol.dispose]();
      if (error instanceof Failure) throw error;
      throw new Failure(`--report ${path}: ${reasonOf(error)}`);
    }
  }

  /** Reads a report and does not change it. One that does not exist has no lines. */
  static read(path: string, subject: Subject): ReadonlyMap<string, ReportLine> {
    const text = existsSync(path) ? readGiven("--report", path).toString("utf8") : "";
    return isUnbegun(text, firstLine(subject)) ? new Map() : linesIn(path, text, subject);
  }

  /** Adds lines; they are on disk when it returns. */
  add(lines: readonly ReportLine[]): void {
    const text = lines.map((one) => `${JSON.stringify(one)}\n`).join("");
    try {
      appendFileSync(this.#path, text, { flush: true });
    } catch (error) {
      throw new Failure(`--report ${this.#path}: ${reasonOf(error)}`);
    }
  }

  /** Lets others have the report. */
  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }
}

/** Keeps other commands from a report: two exports with one report would give each object twice. */
function takeReportLock(path: string): Disposable {
  const lock = `${path}.lock`;
  const taken = (owner: number | undefined) => {
    const who = owner === undefined ? "another process" : `process ${owner}`;
    return new Failure(
      `--report ${path}: ${who} works with it: wait for its end; if no such command runs, remove ${lock}`,
    );
  };
  return takeLock(lock, { taken });
}

function firstLine({ of, target }: Subject): string {
  return `${JSON.stringify({ migrateReport: 1, of, target })}\n`;
}

/** Whether a kill came before the first line was whole. */
function isUnbegun(text: string, first: string): boolean {
  return text.length < first.length && first.startsWith(text);
}

function linesIn(path: string, text: string, subject: Subject): ReadonlyMap<string, ReportLine> {
  const [first = "", ...rest] = text.split("\n");
  const own = head.safeParse(parsed(first)).data;
  if (own === undefined) {
    throw new Failure(
      `--report ${path}: is not a report of \`holdfast migrate\`; give another path`,
    );
  }
  const isSame = own.of === subject.of && own.target === subject.target;
  if (!isSame && subject.includes?.(own) !== true) {
    const otherwise = subject.otherwise === undefined ? "" : `, or ${subject.otherwise}`;
    throw new Failure(
      `--report ${path}: is the report of another move; give another path${otherwise}`,
    );
  }
  const lines = new Map<string, ReportLine>();
  for (const each of rest) {
    const whole = line.safeParse(parsed(each)).data;
    if (whole !== undefined) lines.set(whole.id, whole as ReportLine);
  }
  return lines;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const shownMax = 20;

/** What a command says of the objects that were not moved. */
export function failedLines(failed: readonly ReportLine[]): readonly string[] {
  const shown = failed.slice(0, shownMax);
  return [
    ...shown.map(({ id, outcome, reason }) =>
      printable(`${id}: ${outcome}${reason === undefined ? "" : `: ${reason}`}`),
    ),
    ...(failed.length > shownMax ? [`… and ${failed.length - shownMax} more: see the report`] : []),
  ];
}
