/** Why the node does not start: one line that names the setting, file or address at fault and the mend. Exit code 2. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** The message of anything thrown, on one line. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, " ").trim();
}

/** The system's code of an error (`ENOENT`, `EADDRINUSE`), where it has one. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}
