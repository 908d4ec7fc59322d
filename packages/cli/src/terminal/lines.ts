import { printable } from "@holdfast/admin/approval-text";

/**
 * Writes lines to standard output, with escapes for what could move the cursor, end a line or not be seen: others choose
 * much of what is printed. Give many lines as one list: a call takes only some 100,000 arguments.
 */
export function say(...lines: readonly (string | readonly string[])[]): void {
  const all = lines.flat().map((line) => `${printable(line)}\n`);
  process.stdout.write(all.join(""));
}

/** Writes one line to standard error, with the same escapes. */
export function complain(text: string): void {
  process.stderr.write(`holdfast: ${printable(text)}\n`);
}
