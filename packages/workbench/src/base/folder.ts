import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { checkout, codeOf, OperatorError, reasonOf } from "@holdfast/server/base";

/** Where a development cluster keeps its data by default. */
export const defaultFolder = join(checkout, ".holdfast", "dev");

/** The paths of one development cluster. */
export interface Folder {
  readonly root: string;
  readonly pki: string;
  /** One folder per region. */
  readonly regions: string;
  readonly nodes: string;
  readonly log: string;
  /** The file that tools read to connect to the cluster. */
  readonly cluster: string;
  /** The processes that run, for `dev stop` and the next start. */
  readonly run: string;
  /** The settings that must stay the same at the next start: ports. */
  readonly settings: string;
  /** The socket for `dev kill` and similar commands. */
  readonly control: string;
  /** The key that the last start created, so that the next start can show that it still exists. */
  readonly lastKey: string;
  /** A token that may manage everything, created at the first start. */
  readonly managerToken: string;
  /** One file for each one-time link of the web console that was not used yet. */
  readonly signIn: string;
}

/** The paths under a cluster's folder; creates nothing. */
export function folderAt(root: string): Folder {
  return {
    root,
    pki: join(root, "pki"),
    regions: join(root, "regions"),
    nodes: join(root, "nodes"),
    log: join(root, "log"),
    cluster: join(root, "cluster.json"),
    run: join(root, "run.json"),
    settings: join(root, "settings.json"),
    control: join(root, "control.sock"),
    lastKey: join(root, "last-key.json"),
    managerToken: join(root, "manager.token"),
    signIn: join(root, "sign-in"),
  };
}

/** The paths of one region. */
export interface RegionFolder {
  readonly redis: string;
  readonly secrets: string;
  readonly log: string;
  /** Written once the store is initialised. */
  readonly initialised: string;
}

/** The paths of a region under a cluster's folder; creates nothing. */
export function regionFolder(folder: Folder, region: string): RegionFolder {
  const root = join(folder.regions, region);
  return {
    redis: join(root, "redis"),
    secrets: join(root, "secrets"),
    log: folder.log,
    initialised: join(root, "initialised"),
  };
}

/** Paths of earlier clusters, which had one region only. */
export function oldPaths({ root }: Folder): readonly string[] {
  return ["secrets", "redis", "initialised"].map((name) => join(root, name));
}

/** Whether a folder has a cluster of one region, of an earlier version. */
export function isOldCluster({ root }: Folder): boolean {
  return ["redis", "initialised"].every((name) => existsSync(join(root, name)));
}

/** Whether a folder has a cluster, also one whose first start failed before it had settings. */
export function isCluster({ settings, pki, regions }: Folder): boolean {
  const known = readJson<{ readonly regions?: unknown }>(settings);
  return known === undefined ? [pki, regions].every(existsSync) : typeof known.regions === "object";
}

/** Throws an `OperatorError` if this version cannot use the folder's content. */
export function refuseOld(folder: Folder): void {
  if (!isOldCluster(folder)) return;
  throw new OperatorError(
    `${folder.root} holds the keys of an earlier Holdfast, which ran one region only; they stay as they are. Delete them with \`npx holdfast dev reset --yes${folder.root === defaultFolder ? "" : ` --dir ${folder.root}`}\`, or start in another folder with --dir`,
  );
}

/** The command that stops the cluster in a folder. */
export function stopCommand({ root }: Folder): string {
  return root === defaultFolder ? "npm run stop" : `npm run stop -- --dir ${root}`;
}

/** Creates the folders, accessible to this user only, since they contain keys. */
export function makeFolder(folder: Folder): void {
  for (const path of [folder.root, folder.pki, folder.regions, folder.nodes, folder.signIn]) {
    makePrivate(path);
  }
  makePrivate(folder.log);
}

/** Creates a folder that only this user can access; `option` is the option by which a command names it. */
export function makePrivate(path: string, option = "--dir"): void {
  try {
    makeWithParents(path);
    chmodSync(path, 0o700);
  } catch (error) {
    throw new OperatorError(
      `${path}: cannot be made: ${reasonOf(error)}; give a folder that you may write to with ${option}`,
    );
  }
}

/** Does not use `recursive`: if a file system answers ENOENT for a new name, as /proc does, Node retries for ever. */
function makeWithParents(path: string): void {
  if (isFolder(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeWithParents(parent);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have created it first.
    if (!isFolder(path)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Writes a file in one step, readable by this user only. */
export function writePrivate(path: string, content: string | Uint8Array): void {
  const next = `${path}.${process.pid}.new`;
  try {
    writeFileSync(next, content, { mode: 0o600 });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw new OperatorError(`${path}: cannot be written: ${reasonOf(error)}`);
  }
}

/** The file's content; creates and writes it if the file does not exist. */
export function readOrMake(path: string, make: () => Uint8Array): Buffer {
  if (!existsSync(path)) {
    makePrivate(dirname(path));
    writePrivate(path, make());
  }
  return readFileSync(path);
}

/** The content of a JSON file that this program wrote; undefined if it does not exist or is broken. */
export function readJson<Content>(path: string): Content | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Content;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw new OperatorError(`${path}: cannot be read: ${reasonOf(error)}`);
  }
}

/** Writes JSON in one step, readable by this user only. */
export function writeJson(path: string, content: unknown): void {
  writePrivate(path, `${JSON.stringify(content, undefined, 2)}\n`);
}
