import { readdir } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";

/** The name of a rotated file: `audit.jsonl` becomes `audit-20261125T203500123Z.jsonl`, so that names sort by time. */
export function rotatedName(path: string, wallMs: number): string {
  const extension = extname(path);
  const stamp = new Date(wallMs).toISOString().replaceAll(/[-:.]/g, "");
  return join(dirname(path), `${basename(path, extension)}-${stamp}${extension}`);
}

/** The rotated files of a path, oldest first. */
export async function rotatedFiles(path: string): Promise<readonly string[]> {
  const extension = extname(path);
  const beginning = `${basename(path, extension)}-`;
  const names = await readdir(dirname(path));
  return names
    .filter((name) => name.startsWith(beginning) && name.endsWith(extension))
    .filter((name) =>
      /^\d{8}T\d{9}Z$/.test(name.slice(beginning.length, -extension.length || undefined)),
    )
    .toSorted()
    .map((name) => join(dirname(path), name));
}
