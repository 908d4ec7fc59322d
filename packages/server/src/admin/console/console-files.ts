import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { checkout } from "../../base/checkout.ts";

/** One file of the web console, as it is sent. */
export interface ConsoleFile {
  readonly type: string;
  readonly plain: Buffer;
  /** The same, compressed with Brotli when it was built; absent for what does not shrink. */
  readonly brotli: Buffer | undefined;
  readonly etag: string;
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".json": "application/json; charset=utf-8",
  ".png": "image/png",
};

/** In an installation the console is next to the program; in a checkout, set-up builds it. */
const places = [
  join(import.meta.dirname, "console"),
  join(checkout, "packages", "console", "dist"),
];

/**
 * Reads the files of the console into memory, by name: requests never reach the file system. Undefined if the console is
 * not built.
 */
export function readConsole(
  folder = places.find((place) => existsSync(join(place, "index.html"))),
): ReadonlyMap<string, ConsoleFile> | undefined {
  if (folder === undefined) return undefined;
  const names = new Set(readdirSync(folder));
  const files = [...names].flatMap((name) => {
    const type = types[extname(name)];
    if (type === undefined) return [];
    const plain = readFileSync(join(folder, name));
    const brotli = names.has(`${name}.br`) ? readFileSync(join(folder, `${name}.br`)) : undefined;
    const etag = `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`;
    return [[name, { type, plain, brotli, etag }] as const];
  });
  return new Map(files);
}
