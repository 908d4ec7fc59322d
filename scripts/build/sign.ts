// Writes SHA256SUMS of what `npm run build` made, and signs it: `npm run sign -- --key FILE`.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, sep } from "node:path";
import { parseArgs } from "node:util";
import { findExecutable } from "../redis-path.mjs";
import { root, SetUpError } from "../setup/common.mjs";
import { productVersion } from "./bundle.ts";

/** Options, each with the folder or file that it names unless given. */
const options = {
  key: { type: "string" },
  public: { type: "string", default: "deploy/minisign.pub" },
  from: { type: "string", default: "dist" },
} as const;

const howToMakeKey = "minisign -G -p deploy/minisign.pub -s FILE makes one";

/** The files to sign, by their paths in `folder`: archives and packages of this version, and the bundle. */
function artefactsIn(folder: string): readonly string[] {
  const version = productVersion().replaceAll(".", "\\.");
  const wanted = new RegExp(
    `^(bundle/.*|holdfast[-_]${version}[-_][^/]*\\.(deb|tar\\.gz|tar|zip))$`,
  );
  const all = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }) : [];
  const files = all.filter((path) => wanted.test(path) && statSync(join(folder, path)).isFile());
  if (files.length > 0) return files.toSorted();
  throw new SetUpError(
    `${folder} contains nothing of version ${productVersion()}: run npm run build first`,
  );
}

/** Runs minisign on this terminal, where it asks for the password of the key. */
function minisign(args: readonly string[], failure: string): void {
  const { status } = spawnSync("minisign", args, { stdio: ["inherit", "ignore", "inherit"] });
  if (status !== 0) throw new SetUpError(failure);
}

function sign(args: readonly string[]): string {
  const { key, public: publicKey, from } = parseArgs({ args: [...args], options }).values;
  if (key === undefined) {
    throw new SetUpError(`name the file of the private key: --key FILE (${howToMakeKey})`);
  }
  if (!existsSync(key)) throw new SetUpError(`${key} does not exist (${howToMakeKey})`);
  if (realpathSync(key).startsWith(`${realpathSync(root)}${sep}`)) {
    throw new SetUpError(`${key} is inside the repository: move the private key out of it`);
  }
  if (!existsSync(publicKey)) {
    throw new SetUpError(
      `${publicKey} does not exist: commit the public key there (${howToMakeKey})`,
    );
  }
  const sums = artefactsIn(from).map((path) => {
    const digest = createHash("sha256").update(readFileSync(join(from, path)));
    return `${digest.digest("hex")}  ${path}\n`;
  });
  const comment = `holdfast ${productVersion()} commit ${commitOf(from)}`;
  if (findExecutable("minisign") === undefined) {
    throw new SetUpError("minisign is not on PATH: run: sudo apt-get install -y minisign");
  }
  const file = join(from, "SHA256SUMS");
  const signature = `${file}.minisig`;
  writeFileSync(file, sums.join(""));
  rmSync(signature, { force: true });
  // Shown before minisign asks for the password: a file of another build would be signed too.
  process.stdout.write(`to sign as ${comment}:\n${sums.join("")}`);
  minisign(
    ["-S", "-s", key, "-m", file, "-x", signature, "-t", comment],
    `minisign could not sign with ${key}: its line above says why`,
  );
  try {
    minisign(
      ["-V", "-q", "-p", publicKey, "-m", file, "-x", signature],
      `${key} is not the private key of ${publicKey}: sign with the key that users know`,
    );
  } catch (error) {
    rmSync(signature, { force: true });
    throw error;
  }
  return `${file}\n${signature}\n`;
}

/** The commit of the repository that contains this folder; throws a `SetUpError` if files were changed since. */
function commitOf(folder: string): string {
  const args = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
  const { stdout, status } = spawnSync("git", args, { cwd: folder, encoding: "utf8" });
  const commit = stdout?.trim() ?? "";
  if (status !== 0 || commit === "") {
    throw new SetUpError(`git finds no commit for ${folder}: sign in a clone of the repository`);
  }
  if (!commit.endsWith("-dirty")) return commit;
  throw new SetUpError(
    "files of the repository were changed since its last commit: commit or undo the changes, and build again",
  );
}

try {
  process.stdout.write(sign(process.argv.slice(2)));
} catch (error) {
  const isUsage = error instanceof TypeError && "code" in error;
  if (!(error instanceof SetUpError) && !isUsage) throw error;
  process.stderr.write(`sign: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
