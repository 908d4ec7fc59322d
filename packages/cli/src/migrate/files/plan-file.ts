import { createHash } from "node:crypto";
import { z } from "zod";
import { Failure, readGiven, writeNew } from "../../terminal/failure.ts";
import type { Json } from "../../terminal/output.ts";

const json = z.json();
const named = z.record(z.string(), json);

const header = z
  .object({
    migratePlan: z.literal(1),
    madeAt: z.string(),
    source: z
      .object({
        endpoints: z.array(z.string()),
        version: z.string(),
        vendor: z.string(),
        counted: z.number().optional(),
      })
      .strict(),
    instance: z.object({ id: z.string(), name: z.string() }).strict(),
    transportKey: z.boolean(),
    objects: z.number().int(),
  })
  .strict();

const row = z
  .object({
    id: z.string(),
    type: z.string(),
    state: z.string().optional(),
    algorithm: z.string().optional(),
    length: z.number().optional(),
    names: z.array(z.string()),
    dates: named.optional(),
    links: z.array(json).optional(),
    custom: named.optional(),
    attributes: named.optional(),
    unread: z.array(z.string()).optional(),
    comes: z.boolean(),
    why: z.string().optional(),
    becomes: z.string().optional(),
    drops: z.array(z.string()).optional(),
  })
  .strict();

/** What a plan says of the move as a whole: its first line. */
export type PlanHeader = Readonly<Omit<z.infer<typeof header>, "objects" | "migratePlan">>;

/** An object of the source, as the plan has it: never its material, nor a digest of it. */
export interface PlanRow {
  readonly id: string;
  readonly type: string;
  readonly state?: string;
  readonly algorithm?: string;
  readonly length?: number;
  readonly names: readonly string[];
  readonly dates?: Readonly<Record<string, Json>>;
  readonly links?: readonly Json[];
  readonly custom?: Readonly<Record<string, Json>>;
  readonly attributes?: Readonly<Record<string, Json>>;
  /** Attributes that this client does not understand, and that so do not come. */
  readonly unread?: readonly string[];
  readonly comes: boolean;
  readonly why?: string;
  /** Its identifier at the target, if that differs. */
  readonly becomes?: string;
  /** Names without which it comes. */
  readonly drops?: readonly string[];
}

export interface Plan {
  readonly header: PlanHeader;
  readonly rows: readonly PlanRow[];
  /** SHA-256 of the file: a report belongs to one plan. */
  readonly hash: string;
}

/** Writes a plan to a new file that only its owner can read: JSON, one line for each object. */
export function writePlan(path: string, head: PlanHeader, rows: readonly PlanRow[]): void {
  const first = { migratePlan: 1, ...head, objects: rows.length };
  const lines = [first, ...rows].map((line) => `${JSON.stringify(line)}\n`);
  writeNew("<plan>", path, lines.join(""));
}

/** Reads a plan; one that is cut short or was changed into something else is refused with its line. */
export function readPlan(path: string): Plan {
  const bytes = readGiven("<plan>", path);
  const lines = bytes.toString("utf8").split("\n");
  if (lines.pop() !== "") throw new Failure(`<plan> ${path}: its last line is cut short`);
  const [first = "", ...rest] = lines;
  const { migratePlan: _, objects, ...head } = lineOf(path, 1, first, header);
  const rows = rest.map((text, at) => lineOf(path, at + 2, text, row) as PlanRow);
  if (rows.length !== objects) {
    throw new Failure(
      `<plan> ${path}: names ${objects} objects and has ${rows.length}: make the plan again`,
    );
  }
  return { header: head, rows, hash: createHash("sha256").update(bytes).digest("hex") };
}

function lineOf<Line>(path: string, number: number, text: string, shape: z.ZodType<Line>): Line {
  try {
    return shape.parse(JSON.parse(text));
  } catch {
    throw new Failure(
      `<plan> ${path}: line ${number} is not one of a plan that \`holdfast migrate plan\` made`,
    );
  }
}

/** The identifier of an object at the target. */
export function targetId({ id, becomes }: PlanRow): string {
  return becomes ?? id;
}
