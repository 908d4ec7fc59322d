import type { Command } from "commander";
import { StartError } from "../base/start-error.ts";
import { machine } from "../base/system.ts";
import { exitOnSignals } from "./at-exit.ts";
import type { RestoreWish, Said } from "./commands.ts";

interface WithConfig {
  readonly config: string;
}

const keysDefault = 10;
const keysMax = 100_000;

/** Adds `backup …`; each command brings what it needs when it runs. */
export function addBackupCommands(parent: Command): void {
  exitOnSignals();
  addKey(parent.command("key").description("the key of the backups"));
  withConfig(parent.command("create").argument("<file>", "the file to be made"))
    .description("back up the region's store into a new file, while it goes on")
    .action(async (file: string, { config }: WithConfig) => {
      const { createCommand } = await import("./commands.ts");
      say(await createCommand(config, machine, file));
    });
  withConfig(parent.command("verify").argument("<file>", "the backup"))
    .description("prove that a backup can be restored: restore it into a private Redis, open keys")
    .option("--keys <number>", "how many keys to open", String(keysDefault))
    .action(async (file: string, { config, keys }: WithConfig & { readonly keys: string }) => {
      const { verifyCommand } = await import("./commands.ts");
      say(await verifyCommand(config, machine, file, countOf(keys)));
    });
  withConfig(parent.command("restore").argument("<file>", "the backup"))
    .description("show what a restore would do; with --apply, join the backup into the store")
    .option("--apply", "write: nothing newer is overwritten, nothing destroyed comes back")
    .option("--although-damaged", "restore what is there of a store that had damaged records")
    .option(
      "--into-new-instance <name>",
      "bring a deleted instance's objects into this new one, which was ordered for it",
    )
    .option("--deleted-instance <id>", "the identifier of the instance that was deleted")
    .action(async (file: string, options: WithConfig & RestoreWish) => {
      const { restoreCommand } = await import("./commands.ts");
      say(await restoreCommand(options.config, machine, file, options));
    });
}

function addKey(parent: Command): void {
  withConfig(parent.command("init").description("make backup.keyFile")).action(
    async ({ config }: WithConfig) => {
      const { initKey } = await import("./commands.ts");
      process.stdout.write(`${await initKey(config, machine)}\n`);
    },
  );
  withConfig(
    parent
      .command("rotate")
      .description("add a version, under which backups are sealed from now on"),
  ).action(async ({ config }: WithConfig) => {
    const { rotateKey } = await import("./commands.ts");
    process.stdout.write(`${await rotateKey(config, machine)}\n`);
  });
}

function say({ lines, ok }: Said): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
  if (!ok) process.exitCode = 1;
}

function countOf(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 0 && count <= keysMax) return count;
  throw new StartError(`--keys ${text}: give a number from 0 to ${keysMax}`);
}

function withConfig(command: Command): Command {
  return command.requiredOption("-c, --config <file>", "the node's configuration");
}
