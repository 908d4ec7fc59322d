import type { RestoreWish, Said } from "@holdfast/server/backup";
import { machine } from "@holdfast/server/machine";
import type { Command } from "commander";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { type ApprovalOptions, approvalsOf, withApprovals } from "./approval-options.ts";
import { withConfig } from "./node.ts";

interface WithConfig {
  readonly config: string;
}

const keysDefault = 10;
const keysMax = 100_000;

/** `holdfast backup …` */
export function addBackup(program: Command): void {
  const parent = program
    .command("backup")
    .description("Backups of the region's store.")
    .hook("preAction", exitOnSignals);
  addKey(parent.command("key").description("The key of the backups."));
  withConfig(parent.command("create").argument("<file>", "the file to create"))
    .description("Back up the region's store into a new file, while it is in use.")
    .action(async (file: string, { config }: WithConfig) => {
      const { createCommand } = await import("@holdfast/server/backup");
      conclude(await createCommand(config, machine, file));
    });
  withConfig(parent.command("verify").argument("<file>", "the backup"))
    .description("Prove that a backup can be restored: restore it into a private Redis, open keys.")
    .option("--keys <number>", "how many keys to open", String(keysDefault))
    .action(async (file: string, { config, keys }: WithConfig & { readonly keys: string }) => {
      const { verifyCommand } = await import("@holdfast/server/backup");
      conclude(await verifyCommand(config, machine, file, countOf(keys)));
    });
  withApprovals(withConfig(parent.command("restore").argument("<file>", "the backup")))
    .description("Show what a restore would do; with --apply, join the backup into the store.")
    .option(
      "--apply",
      "write the changes: nothing newer is overwritten, nothing destroyed comes back",
    )
    .option("--although-damaged", "restore the other records of a store that had damaged ones")
    .option(
      "--into-new-instance <name>",
      "bring a deleted instance's objects into this new one, which was ordered for it",
    )
    .option("--deleted-instance <id>", "the identifier of the instance that was deleted")
    .action(async (file: string, options: WithConfig & RestoreWish & ApprovalOptions) => {
      const { restoreCommand } = await import("@holdfast/server/backup");
      const wish = { ...options, ...approvalsOf(options) };
      conclude(await restoreCommand(options.config, machine, file, wish));
    });
}

function addKey(parent: Command): void {
  withConfig(parent.command("init").description("Make backup.keyFile.")).action(
    async ({ config }: WithConfig) => {
      const { initKey } = await import("@holdfast/server/backup");
      say(await initKey(config, machine));
    },
  );
  withConfig(
    parent
      .command("rotate")
      .description("Add a version, under which backups are sealed from now on."),
  ).action(async ({ config }: WithConfig) => {
    const { rotateKey } = await import("@holdfast/server/backup");
    say(await rotateKey(config, machine));
  });
}

function conclude({ lines, ok }: Said): void {
  say(lines);
  if (!ok) process.exitCode = 1;
}

function countOf(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 0 && count <= keysMax) return count;
  throw new Failure(`--keys ${text}: give a number from 0 to ${keysMax}`);
}

/** Exits on a signal, so that `exit` listeners run; a second signal ends the process at once. */
function exitOnSignals(): void {
  const codes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
  for (const [name, code] of Object.entries(codes)) process.once(name, () => process.exit(code));
}
