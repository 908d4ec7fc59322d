import { createHash } from "node:crypto";
import { readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** How long a link works. */
const linkMs = 3_600_000;

/**
 * The token of a one-time link; undefined if the link was used, is too old, or never was. The folder has a file for each
 * link: its name is the code's SHA-256 in hex, its content the token.
 */
export async function useLink(
  folder: string,
  code: string,
  wallMs: number,
): Promise<string | undefined> {
  const file = join(folder, linkName(code));
  // Of two uses at the same time, at any node, one finds the file.
  const taken = `${file}.used`;
  try {
    await rename(file, taken);
  } catch {
    return undefined;
  }
  try {
    const { mtimeMs } = await stat(taken);
    const token = (await readFile(taken, "latin1")).trim();
    return wallMs - mtimeMs < linkMs ? token : undefined;
  } finally {
    await rm(taken, { force: true });
  }
}

/** The name of a link's file. */
export function linkName(code: string): string {
  return createHash("sha256").update(code).digest("hex");
}
