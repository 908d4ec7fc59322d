import { resolve } from "node:path";
import { defaultFolder, type Folder, folderAt } from "../base/folder.ts";
import { planOf } from "../cluster/plan.ts";
import { report, startDetached } from "../processes/detach.ts";
import { start } from "./start.ts";

/** Options of `dev start`. */
export interface StartOptions {
  readonly dir?: string;
  readonly port: number;
  readonly addresses?: readonly string[];
  readonly regions: number;
  readonly nodes: number;
  readonly wan: number;
  readonly dashboards?: number | true;
  readonly detach?: true;
  /** Set in the background process, which reports to the process that started it. */
  readonly report?: true;
}

/** Runs a cluster until a signal ends it, or in the background; returns the exit code. */
export async function startCluster(
  options: StartOptions,
  say: (line: string) => void,
): Promise<number> {
  const folder = folderOf(options.dir);
  if (options.detach === true) {
    const complain = (line: string) => void process.stderr.write(`${line}\n`);
    return await startDetached(folder, argumentsOf(options), say, complain);
  }
  const ending = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => ending.abort());
  }
  return await start({
    folder,
    plan: planOf(options),
    commandOptions: options.dir === undefined ? "" : ` --dir ${folder.root}`,
    detached: options.report === true,
    say: (line) => {
      say(line);
      if (options.report === true) report({ line });
    },
    ready: () => {
      if (options.report === true) report({ ready: true });
    },
    ending,
  });
}

/** The options as given, for the background process. */
function argumentsOf(options: StartOptions): string[] {
  const { dir, regions, nodes, wan, port, addresses, dashboards } = options;
  return [
    ...["--regions", String(regions), "--nodes", String(nodes)],
    ...["--wan", String(wan), "--port", String(port)],
    ...(dir === undefined ? [] : ["--dir", resolve(dir)]),
    ...(addresses === undefined ? [] : ["--addresses", addresses.join(",")]),
    ...(dashboards === undefined ? [] : ["--dashboards"]),
    ...(typeof dashboards === "number" ? [String(dashboards)] : []),
  ];
}

/** The folder of a cluster; by default the one in the checkout. */
export function folderOf(dir: string | undefined): Folder {
  return folderAt(dir === undefined ? defaultFolder : resolve(dir));
}
