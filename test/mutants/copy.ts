import { constants } from "node:fs";
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative, sep } from "node:path";
import { type PlantedFault, planted } from "./fault.ts";

/** Folders that are not copied; `node_modules` is rebuilt from links. */
const local = new Set([".git", ".holdfast", ".temp", "coverage", "dist", "node_modules"]);
/** What the set-up unpacked, and tests need. */
const unpacked = ["redis", "valkey", "tools"];
/** Entries of `node_modules` that are taken as they are. */
const taken = new Set([".pnpm", ".bin"]);

/**
 * A copy of the working tree in which faults are planted. Its `node_modules` are links: packages of this repository
 * lead to the copy, all others to those that are installed.
 */
export class WorkingCopy implements AsyncDisposable {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Copies the working tree at `from`, which must be set up. */
  static async of(from: string): Promise<WorkingCopy> {
    const origin = await realpath(from);
    const root = await realpath(await mkdtemp(join(tmpdir(), "holdfast-mutants-")));
    const copy = new WorkingCopy(root);
    try {
      await cp(origin, root, {
        recursive: true,
        verbatimSymlinks: true,
        mode: constants.COPYFILE_FICLONE,
        filter: (path) => path === origin || !local.has(basename(path)),
      });
      for (const folder of await foldersWithPackages(origin)) {
        const modules = join(folder, "node_modules");
        await linkPackages(join(origin, modules), join(root, modules), { origin, root });
      }
      await mkdir(join(root, ".holdfast"));
      for (const name of await entries(join(origin, ".holdfast"))) {
        if (!unpacked.includes(name)) continue;
        await symlink(join(origin, ".holdfast", name), join(root, ".holdfast", name));
      }
      return copy;
    } catch (error) {
      await copy[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs `work` while a fault is in the copy, and takes it out again. */
  async with<Result>(fault: PlantedFault, work: () => Promise<Result>): Promise<Result> {
    const path = join(this.root, fault.file);
    const sound = await readFile(path, "utf8");
    await writeFile(path, planted(sound, fault));
    try {
      return await work();
    } finally {
      await writeFile(path, sound);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Folders that may have a `node_modules`. */
async function foldersWithPackages(origin: string): Promise<readonly string[]> {
  const packages = await entries(join(origin, "packages"));
  return ["", "test", "docs", ...packages.map((name) => join("packages", name))];
}

async function linkPackages(
  from: string,
  to: string,
  trees: { readonly origin: string; readonly root: string },
): Promise<void> {
  const names = await entries(from);
  if (names.length > 0) await mkdir(to, { recursive: true });
  for (const name of names) {
    const [source, target] = [join(from, name), join(to, name)];
    if (name.startsWith(".")) {
      if (taken.has(name)) await symlink(source, target);
    } else if (name.startsWith("@")) {
      await linkPackages(source, target, trees);
    } else {
      await symlink(placeOf(await realpath(source), trees), target);
    }
  }
}

/** Where a package of this repository is in the copy; any other package stays where it is. */
function placeOf(
  path: string,
  { origin, root }: { readonly origin: string; readonly root: string },
): string {
  const inside = relative(origin, path);
  const parts = inside.split(sep);
  return parts[0] === ".." || parts.includes("node_modules") ? path : join(root, inside);
}

async function entries(folder: string): Promise<readonly string[]> {
  return await readdir(folder).catch(() => []);
}
