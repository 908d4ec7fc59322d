import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { Failure, reasonOf } from "../../terminal/failure.ts";

const head = z.object({ migrateReport: z.literal(1), of: z.string(), target: z.string() });

const line = z
  .object({
    id: z.string().min(1),
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
interface Subject {
  readonly of: string;
  readonly target: string;
}

/**
 * The report of a move, a line for each object, on disk before the next step begins. A command that was killed continues
 * behind its last whole line: what is done but not in it is found at the target again.
 */
export class ReportFile {
  readonly #path: string;
  /** The last line of each object. */
  readonly lines: ReadonlyMap<string, ReportLine>;

  private constructor(path: string, lines: ReadonlyMap<string, ReportLine>) {
    this.#path = path;
    this.lines = lines;
  }

  /** Opens the report, or begins it; refuses one of another plan or target. */
  static open(path: string, subject: Subject): ReportFile {
    try {
      if (!existsSync(path)) {
        const first = `${JSON.stringify({ migrateReport: 1, ...subject })}\n`;
        writeFileSync(path, first, { mode: 0o600, flag: "wx", flush: true });
      }
      const text = readFileSync(path, "utf8");
      const lines = linesIn(path, text, subject);
      // A line that was cut short by a kill stays alone.
      if (!text.endsWith("\n")) appendFileSync(path, "\n", { flush: true });
      return new ReportFile(path, lines);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure(`--report ${path}: ${reasonOf(error)}`);
    }
  }

  /** Reads a report and does not change it. One that does not exist has no lines. */
  static read(path: string, subject: Subject): ReadonlyMap<string, ReportLine> {
    return existsSync(path) ? linesIn(path, readFileSync(path, "utf8"), subject) : new Map();
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
}

function linesIn(path: string, text: string, subject: Subject): ReadonlyMap<string, ReportLine> {
  const [first = "", ...rest] = text.split("\n");
  const own = head.safeParse(parsed(first)).data;
  if (own === undefined) {
    throw new Failure(
      `--report ${path}: is not a report of \`holdfast migrate\`; give another path`,
    );
  }
  if (own.of !== subject.of || own.target !== subject.target) {
    throw new Failure(`--report ${path}: is the report of another move; give another path`);
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
    ...shown.map(
      ({ id, outcome, reason }) => `${id}: ${outcome}${reason === undefined ? "" : `: ${reason}`}`,
    ),
    ...(failed.length > shownMax ? [`… and ${failed.length - shownMax} more: see the report`] : []),
  ];
}
