// Builds the installation packages of Holdfast into dist/: `npm run build [-- KIND...]`.
import { mkdirSync } from "node:fs";
import { join, relative } from "node:path";
import { root, SetUpError } from "../setup/common.mjs";
import { makeTarball, makeZip } from "./archives.ts";
import { makeBundle, writeContents } from "./bundle.ts";
import { makeDeb } from "./debian.ts";
import { makeImage } from "./image.ts";
import { settle } from "./settle.ts";
import { ownTarget } from "./tree.ts";

const out = join(root, "dist");

/** What can be built; each function returns the files or folders. */
const kinds: Readonly<Record<string, () => Promise<readonly string[]>>> = {
  bundle: async () => {
    const folder = join(out, "bundle");
    writeContents(join(folder, "doc"), await makeBundle(folder));
    settle(folder);
    return [folder];
  },
  tarball: async () => [await makeTarball(ownTarget, out)],
  deb: async () => [await makeDeb(ownTarget, out)],
  zip: async () => [
    await makeZip("win-x64", out),
    await makeZip("darwin-arm64", out),
    await makeZip("darwin-x64", out),
  ],
  image: async () => [await makeImage(join(out, "image"))],
};

async function main(asked: readonly string[]): Promise<number> {
  const wrong = asked.find((kind) => kinds[kind] === undefined);
  if (wrong !== undefined) {
    process.stderr.write(`build: no kind ${wrong}: use ${Object.keys(kinds).join(", ")}\n`);
    return 2;
  }
  mkdirSync(out, { recursive: true });
  try {
    for (const kind of asked.length === 0 ? ["bundle"] : asked) {
      for (const made of (await kinds[kind]?.()) ?? []) {
        process.stdout.write(`${made.startsWith(root) ? relative(root, made) : made}\n`);
      }
    }
    return 0;
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    process.stderr.write(`build: ${error.message}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
