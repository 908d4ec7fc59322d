import { rootKinds } from "@holdfast/root-of-trust/kinds";
import { Command, CommanderError } from "commander";
import { reasonOf, StartError } from "./base/start-error.ts";
import { machine } from "./base/system.ts";
import { version } from "./base/version.ts";

/** Exit code where the command line is at fault. */
const faultCode = 2;
/** How long connections may take to close when a command is done. */
const lingerMs = 500;

interface WithConfig {
  readonly config: string;
}

interface Files {
  readonly file?: readonly string[];
}

interface Confirmation {
  readonly endpointsAreOff?: string | true;
}

// Each command brings what it needs when it runs: most need no server, and should not wait for one to load.
const program = new Command("holdfast")
  .version(version)
  .exitOverride()
  .configureOutput({
    outputError: (text, write) => write(`holdfast: ${text.replace(/^error: /, "")}`),
  });
addServe(program);
const config = program.command("config").description("the node's configuration");
const store = program.command("store").description("the region's Redis");
const region = program.command("region").description("this region and the other one");
const root = program.command("root").description("the configured root of trust");
const sealing = program.command("sealing-key").description("the key of this region's own secrets");
addConfigCheck(config);
addStore(store);
addRegion(region);
addRoot(root);
addSealingKey(sealing);
const backup = program.command("backup").description("backups of the region's store");
addAudit(program.command("audit").description("the evidence of what was done"));
addHashPassword(program);

// Whoever reads may be gone (`| head`), and a disk full: what runs goes on, without a stack trace.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") return;
  process.stderr.write(`holdfast: standard output: ${reasonOf(error)}\n`);
  process.exitCode = 1;
});

await run();

async function run(): Promise<void> {
  try {
    if (process.argv[2] === "backup") {
      (await import("./backup/command-line.ts")).addBackupCommands(backup);
    }
    await program.parseAsync();
  } catch (error) {
    fail(error);
  }
  // A connection to a region that is cut off never ends by itself, and nothing is left to be done over it.
  if (["region", "backup"].includes(process.argv[2] ?? ""))
    setTimeout(() => process.exit(), lingerMs).unref();
}

function fail(error: unknown): void {
  // Commander has said itself what is wrong with the command line.
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : faultCode;
    return;
  }
  const known = error instanceof StartError;
  const what = known ? error.message : `unexpected: ${reasonOf(error)}`;
  process.stderr.write(`holdfast: ${what}\n`);
  process.exitCode = known ? error.exitCode : 1;
}

function addServe(parent: Command): void {
  withConfig(parent.command("serve", { isDefault: true }).description("run a node")).action(
    async (options: WithConfig) => {
      const { serve } = await import("./wiring/serve.ts");
      await serve(options.config);
    },
  );
}

function addConfigCheck(parent: Command): void {
  const command = parent.command("check");
  withConfig(command.description("validate a configuration and the files that it names")).action(
    async (options: WithConfig) => {
      const { checkConfig } = await import("./commands/check-config.ts");
      const lines = await checkConfig(options.config, machine);
      process.stdout.write(lines.map((line) => `${line}\n`).join(""));
    },
  );
}

function addStore(parent: Command): void {
  const init = parent.command("init");
  withConfig(init.description("mark an empty Redis as this region's store"))
    .option("--member <address...>", "another Redis of this store, to be asked first (host:port)")
    .action(async (options: WithConfig & { readonly member?: readonly string[] }) => {
      const { initStore } = await import("./store/store-commands.ts");
      const line = await initStore(options.config, machine, options.member);
      process.stdout.write(`${line}\n`);
    });
  const replicas = parent.command("replicas");
  withConfig(replicas.description("list the replicas that every change waits for"))
    .option("--forget <address>", "no longer wait for one that will not come back (host:port)")
    .action(async (options: WithConfig & { readonly forget?: string }) => {
      const { forget, list } = await import("./store/store-commands.ts");
      const lines =
        options.forget === undefined
          ? await list(options.config, machine.environment)
          : await forget(options.config, machine.environment, options.forget);
      process.stdout.write(lines.map((line) => `${line}\n`).join(""));
    });
}

function addRegion(parent: Command): void {
  const print = (line: string) => void process.stdout.write(`${line}\n`);
  withConfig(
    parent.command("status").description("tell who serves, how far each has read, what is held"),
  ).action(async (options: WithConfig) => {
    const { showRegions } = await import("./store/region-commands.ts");
    for (const line of await showRegions(options.config, machine)) print(line);
  });
  withConfig(
    parent
      .command("retire")
      .argument("<region>", "the other region, which is lost")
      .description("go on without a region that is lost for good, or for long"),
  )
    .option("--endpoints-are-off [region]", "confirms that no client can reach that region")
    .action(async (lost: string, options: WithConfig & Confirmation) => {
      const { retire } = await import("./store/region-commands.ts");
      const { endpointsAreOff: off } = options;
      const confirmed = off === true || off === lost;
      print(await retire(options.config, machine, lost, confirmed));
    });
  withConfig(
    parent.command("rejoin").description("bring this region back after the other one retired it"),
  ).action(async (options: WithConfig) => {
    const { rejoin } = await import("./store/region-commands.ts");
    print(await rejoin(options.config, machine, print));
  });
}

function addRoot(parent: Command): void {
  for (const each of rootKinds) {
    if (!("init" in each)) continue;
    const { kind, init } = each;
    withConfig(parent.command(init.command).description(init.doc)).action(
      async (options: WithConfig) => {
        const { initRoot } = await import("./roots/commands/root-commands.ts");
        process.stdout.write(`${await initRoot(options.config, machine, kind)}\n`);
      },
    );
  }
  withConfig(
    parent
      .command("rotate")
      .description("add a version of the root key, local or in a token, which wraps from now on"),
  )
    .option("--new-passphrase-file <file>", "encrypt the local file under this passphrase")
    .action(async (options: WithConfig & { readonly newPassphraseFile?: string }) => {
      const { rotateRoot } = await import("./roots/commands/root-commands.ts");
      const { config: file, newPassphraseFile } = options;
      process.stdout.write(`${await rotateRoot(file, machine, newPassphraseFile)}\n`);
    });
  withConfig(
    parent
      .command("adopt")
      .description(
        "put this region's keys under the configured root key with the other region's copies, since the one above them is lost for good",
      ),
  )
    .requiredOption("--lost <name>", "the lost root key, as the keys name it")
    .action(async (options: WithConfig & { readonly lost: string }) => {
      const { adoptRoot } = await import("./roots/commands/root-adopt.ts");
      process.stdout.write(`${await adoptRoot(options.config, machine, options.lost)}\n`);
    });
}

function addSealingKey(parent: Command): void {
  withConfig(
    parent.command("init").description("make the sealing key file, with its first version"),
  ).action(async (options: WithConfig) => {
    const { initSealingKey } = await import("./roots/commands/root-commands.ts");
    process.stdout.write(`${await initSealingKey(options.config, machine)}\n`);
  });
  withConfig(
    parent
      .command("rotate")
      .description("add a version of the sealing key, which seals from now on"),
  ).action(async (options: WithConfig) => {
    const { rotateSealing } = await import("./roots/commands/root-commands.ts");
    process.stdout.write(`${await rotateSealing(options.config, machine)}\n`);
  });
  withConfig(
    parent.command("check").description("tell whether the sealing key file is sound"),
  ).action(async (options: WithConfig) => {
    const { checkSealingKey } = await import("./roots/commands/root-commands.ts");
    process.stdout.write(`${await checkSealingKey(options.config, machine)}\n`);
  });
}

function addAudit(parent: Command): void {
  parent
    .command("verify")
    .description("find events that were removed, changed or reordered, in the store or in files")
    .option("-c, --config <file>", "the node's configuration: checks its region's store")
    .option("--file <file...>", "files of the file sink, with those that were put aside of them")
    .action(async ({ config: from, file = [] }: Partial<WithConfig> & Files) => {
      const { verifyAudit } = await import("./commands/audit-commands.ts");
      const { lines, whole } = await verifyAudit({ config: from, files: file }, machine);
      process.stdout.write(lines.map((line) => `${line}\n`).join(""));
      if (!whole) process.exitCode = 1;
    });
}

function addHashPassword(parent: Command): void {
  parent
    .command("hash-password")
    .description("read a password from standard input and print its hash for the configuration")
    .action(async () => {
      const { text } = await import("node:stream/consumers");
      const { hashPassword } = await import("./access/passwords.ts");
      const password = (await text(process.stdin)).replace(/\r?\n$/, "");
      if (password === "") {
        throw new StartError("hash-password: give the password on standard input");
      }
      process.stdout.write(`${await hashPassword(password)}\n`);
    });
}

function withConfig(command: Command): Command {
  return command.requiredOption("-c, --config <file>", "the node's configuration");
}
