import { printable } from "@holdfast/admin/approval-text";

/** Why a node does not start or a command fails: one line with the cause and how to fix it. */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
  /** The name of the exit code that a command ends with; docs/cli.md lists them. */
  readonly exit: "failed" | "wrong" | "again" | "denied" | "conflicting";
  constructor(message: string, exit: OperatorError["exit"] = "wrong") {
    super(message);
    this.exit = exit;
  }
}

/** The message of anything thrown, on one line; what could move the cursor or mislead its reader is escaped. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.replace(/\s+/g, " ").trim());
}

/** The system's code of an error (`ENOENT`, `EADDRINUSE`), if it has one. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
