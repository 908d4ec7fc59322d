import { printable } from "@holdfast/admin/approval-text";

/**
 * Writes lines to standard output. Control characters and invisible characters are escaped, since others choose much of
 * what is printed. Give many lines as one list: a call takes only some 100,000 arguments.
 */
export function say(...lines: readonly (string | readonly string[])[]): void {
  const all = lines.flat().map((line) => `${printable(line)}\n`);
  process.stdout.write(all.join(""));
}

/** Writes one line to standard error, with the same escapes. */
export function complain(text: string): void {
  process.stderr.write(`holdfast: ${printable(text)}\n`);
}
