import { printable } from "@holdfast/admin/approval-text";
import { rootKinds } from "@holdfast/root-of-trust/kinds";
import { machine } from "@holdfast/server/machine";
import type { Command } from "commander";
import { ask, canAsk } from "../terminal/ask.ts";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { type ApprovalOptions, approvalsOf, withApprovals } from "./approval-options.ts";

interface WithConfig {
  readonly config: string;
}

interface Files {
  readonly file?: readonly string[];
  readonly checkpoint?: string;
}

interface Rotation {
  readonly newPassphraseFile?: string;
  readonly forFips?: true;
}

interface Accept {
  readonly record?: string;
  readonly yes?: true;
}

interface Confirmation {
  readonly endpointsAreOff?: string | true;
  readonly althoughNotLevel?: string;
}

/** The commands that use a node's configuration. Each loads its code when it runs. */
export function addNodeCommands(program: Command): void {
  addServe(program);
  addConfigCheck(program.command("config").description("The node's configuration."));
  addStore(program.command("store").description("The region's Redis."));
  addRegion(program.command("region").description("This region and the other one."));
  const root = program.command("root").description("The configured root of trust.");
  addRoot(root);
  addRootMove(root);
  addAllowAdopt(root);
  addRegionKey(
    program
      .command("region-key")
      .description("The key by which this region proves itself to the other one."),
  );
  addSealingKey(
    program.command("sealing-key").description("The key of this region's own secrets."),
  );
  addAudit(program.command("audit").description("The audit trail."));
  addAuditKey(
    program.command("audit-key").description("The key that signs the log over the audit trail."),
  );
  addHashPassword(program);
}

function addServe(parent: Command): void {
  withConfig(parent.command("serve").description("Run a node.")).action(
    async (options: WithConfig) => {
      const { serve } = await import("@holdfast/server/serve");
      await serve(options.config);
    },
  );
}

function addConfigCheck(parent: Command): void {
  const command = parent.command("check");
  withConfig(command.description("Validate a configuration and the files that it names.")).action(
    async (options: WithConfig) => {
      const { checkConfig } = await import("@holdfast/server/check-config");
      const lines = await checkConfig(options.config, machine);
      say(lines);
    },
  );
}

function addStore(parent: Command): void {
  const init = parent.command("init");
  withConfig(init.description("Mark an empty Redis as this region's store."))
    .option("--member <address...>", "another Redis of this store, to be asked first (host:port)")
    .action(async (options: WithConfig & { readonly member?: readonly string[] }) => {
      const { initStore } = await import("@holdfast/server/store");
      const line = await initStore(options.config, machine, options.member);
      say(line);
    });
  addAccept(parent);
  const replicas = parent.command("replicas");
  withConfig(replicas.description("List the replicas that every change waits for."))
    .option(
      "--forget <address>",
      "no longer wait for this replica, which will not come back (host:port)",
    )
    .action(async (options: WithConfig & { readonly forget?: string }) => {
      const { forget, list } = await import("@holdfast/server/store");
      const lines =
        options.forget === undefined
          ? await list(options.config, machine.environment)
          : await forget(options.config, machine.environment, options.forget);
      say(lines);
    });
}

function addAccept(parent: Command): void {
  withApprovals(
    withConfig(
      parent
        .command("accept")
        .description(
          "Let what the store has count, although this region's nodes remember more: an older copy of its data was put back, and nothing newer exists.",
        ),
    ),
  )
    .option("--record <id>", "only this record, or that there is none")
    .option("--yes", "confirm it; else it is asked for at the terminal")
    .action(async ({ config, record, yes, ...options }: WithConfig & ApprovalOptions & Accept) => {
      const { acceptStore } = await import("@holdfast/server/store-accept");
      const tell = (line: string) => void process.stderr.write(`${printable(line)}\n`);
      const confirm = yes === true ? async () => undefined : confirmed;
      const wish = { record, approvals: approvalsOf(options), say: tell, confirm };
      say(await acceptStore(config, machine, wish));
    });
}

/** Has the operator type what is to count. */
async function confirmed(what: string): Promise<void> {
  if (!canAsk()) throw new Failure("--yes is missing: nothing was accepted");
  const typed = await ask(`What is lost does not come back. Type ${what} to continue:`);
  if (typed !== what) throw new Failure(`not ${what}: nothing was accepted`);
}

function addRegion(parent: Command): void {
  withConfig(
    parent
      .command("status")
      .description(
        "Show which store serves, how far each region has read the other, and what is held.",
      ),
  ).action(async (options: WithConfig) => {
    const { showRegions } = await import("@holdfast/server/region");
    say(await showRegions(options.config, machine));
  });
  withApprovals(
    withConfig(
      parent
        .command("retire")
        .argument("<region>", "the other region, which is lost")
        .description("Continue without a region that is lost for good, or for long."),
    ),
  )
    .option("--endpoints-are-off [region]", "confirms that no client can reach that region")
    .option(
      "--although-not-level <region>",
      "confirms that this region's store may lack what only that region has, which is lost for good",
    )
    .action(async (lost: string, options: WithConfig & Confirmation & ApprovalOptions) => {
      const { retire } = await import("@holdfast/server/region");
      const { endpointsAreOff: off } = options;
      const confirmed = {
        endpointsAreOff: off === true || off === lost,
        althoughNotLevel: options.althoughNotLevel === lost,
      };
      say(await retire(options.config, machine, lost, confirmed, approvalsOf(options)));
    });
  withConfig(
    parent.command("rejoin").description("Bring this region back after the other one retired it."),
  )
    .option(
      "--alone <region>",
      "with this region's own data, since that region is lost for good and retired here",
    )
    .action(async (options: WithConfig & { readonly alone?: string }) => {
      const { rejoin } = await import("@holdfast/server/region");
      say(await rejoin(options.config, machine, say, options.alone));
    });
}

function addRoot(parent: Command): void {
  for (const each of rootKinds) {
    if (!("init" in each)) continue;
    const { kind, init } = each;
    withConfig(parent.command(init.command).description(init.doc)).action(
      async (options: WithConfig) => {
        const { initRoot } = await import("@holdfast/server/root");
        say(await initRoot(options.config, machine, kind));
      },
    );
  }
  withConfig(
    parent
      .command("rotate")
      .description("Add a version of the root key, local or in a token; it wraps from now on."),
  )
    .option("--new-passphrase-file <file>", "encrypt the local file under this passphrase")
    .option(
      "--for-fips",
      "encrypt the local file so that nodes with `fips: required` can read it; later rotations keep this",
    )
    .action(async ({ config: file, ...options }: WithConfig & Rotation) => {
      const { rotateRoot } = await import("@holdfast/server/root");
      say(await rotateRoot(file, machine, options));
    });
  withApprovals(
    withConfig(
      parent
        .command("adopt")
        .description(
          "Put this region's keys under the configured root key with the other region's copies, because their own root key is lost for good.",
        ),
    ),
  )
    .requiredOption("--lost <name>", "the lost root key, as the keys name it")
    .action(async (options: WithConfig & ApprovalOptions & { readonly lost: string }) => {
      const { adoptRoot } = await import("@holdfast/server/root-adopt");
      const { config, lost } = options;
      say(await adoptRoot(config, machine, lost, approvalsOf(options)));
    });
}

function addRootMove(parent: Command): void {
  withConfig(
    parent
      .command("move")
      .description(
        "Put the key of this region's store under the configured root key, before nodes start with it.",
      ),
  )
    .requiredOption("--from <file>", "a configuration that names the root key used until now")
    .action(async (options: WithConfig & { readonly from: string }) => {
      const { moveRoot } = await import("@holdfast/server/root-move");
      say(await moveRoot(options.config, machine, options.from));
    });
}

function addAllowAdopt(parent: Command): void {
  withApprovals(
    withConfig(
      parent
        .command("allow-adopt")
        .description(
          "Let the other region get the keys that it wrapped under a root key which it has lost, for an hour: `holdfast root adopt` runs there.",
        ),
    ),
  )
    .requiredOption("--lost <name>", "the other region's lost root key, as the keys name it")
    .action(async (options: WithConfig & ApprovalOptions & { readonly lost: string }) => {
      const { allowAdopt } = await import("@holdfast/server/root-allow-adopt");
      const { config, lost } = options;
      say(await allowAdopt(config, machine, lost, approvalsOf(options)));
    });
}

function addRegionKey(parent: Command): void {
  withConfig(
    parent
      .command("init")
      .description("Make the region key file, and print its public half for the other region."),
  )
    .option("--out <file>", "make the next key in another file, to replace the present one")
    .action(async ({ config, out }: WithConfig & { readonly out?: string }) => {
      const { initRegionKey } = await import("@holdfast/server/region-key");
      say(initRegionKey(config, out));
    });
  withConfig(
    parent
      .command("show")
      .description("Print the public half of the region key, for `peer.keys` of the other region."),
  ).action(async ({ config }: WithConfig) => {
    const { showRegionKey } = await import("@holdfast/server/region-key");
    say(showRegionKey(config));
  });
}

function addSealingKey(parent: Command): void {
  withConfig(
    parent.command("init").description("Make the sealing key file, with its first version."),
  ).action(async (options: WithConfig) => {
    const { initSealingKey } = await import("@holdfast/server/root");
    say(await initSealingKey(options.config, machine));
  });
  withConfig(
    parent.command("rotate").description("Add a version of the sealing key; it seals from now on."),
  ).action(async (options: WithConfig) => {
    const { rotateSealing } = await import("@holdfast/server/root");
    say(await rotateSealing(options.config, machine));
  });
  withConfig(
    parent.command("check").description("Check whether the sealing key file is sound."),
  ).action(async (options: WithConfig) => {
    const { checkSealingKey } = await import("@holdfast/server/root");
    say(await checkSealingKey(options.config, machine));
  });
}

function addAudit(parent: Command): void {
  inConfiguredMode(parent.command("verify"))
    .description("Find events that were removed, changed or reordered, in the store or in files.")
    .option("-c, --config <file>", "the node's configuration: checks its region's store")
    .option("--file <file...>", "files of the file sink, including the rotated ones")
    .option("--checkpoint <file>", "a checkpoint or a proof of the log that was kept elsewhere")
    .action(async ({ config: from, file = [], checkpoint }: Partial<WithConfig> & Files) => {
      const { verifyAudit } = await import("@holdfast/server/audit");
      const wish = { config: from, files: file, checkpoint };
      const { lines, whole } = await verifyAudit(wish, machine);
      say(lines);
      if (!whole) process.exitCode = 1;
    });
  withConfig(parent.command("prove"))
    .description("Prove that an event is in the log over the audit trail, which witnesses cosign.")
    .argument("<event>", "the event's id")
    .requiredOption("--out <file>", "where to write the leaf; FILE.tlog-proof gets the proof")
    .action(async (event: string, { config, out }: WithConfig & { readonly out: string }) => {
      const { proveAudit } = await import("@holdfast/server/audit");
      say(await proveAudit({ config, event, out }, machine));
    });
}

function addAuditKey(parent: Command): void {
  withConfig(parent.command("init").description("Make the key file, with its first key.")).action(
    async ({ config }: WithConfig) => {
      const { initAuditKey } = await import("@holdfast/server/audit");
      say(initAuditKey(config));
    },
  );
  withConfig(
    parent.command("rotate").description("Add a key; with it the leader begins a new log."),
  ).action(async ({ config }: WithConfig) => {
    const { rotateAuditKey } = await import("@holdfast/server/audit");
    say(await rotateAuditKey(config, machine));
  });
  withConfig(
    parent
      .command("show")
      .description("Show the log's name and its public key, for witnesses and auditors."),
  ).action(async ({ config }: WithConfig) => {
    const { showAuditKey } = await import("@holdfast/server/audit");
    say(showAuditKey(config));
  });
}

function addHashPassword(parent: Command): void {
  parent
    .command("hash-password")
    .description("Read a password from standard input and print its hash for the configuration.")
    .option("--for-fips", "a hash that nodes with `fips: required` can check: PBKDF2, not scrypt")
    .action(async ({ forFips }: { readonly forFips?: true }) => {
      const { text } = await import("node:stream/consumers");
      const { hashPassword } = await import("@holdfast/server/passwords");
      const password = (await text(process.stdin)).replace(/\r?\n$/, "");
      if (password === "") {
        throw new Failure("hash-password: give the password on standard input");
      }
      say(await hashPassword(password, forFips));
    });
}

/** A command that reads a node's configuration. */
export function withConfig(command: Command): Command {
  return inConfiguredMode(
    command.requiredOption("-c, --config <file>", "the node's configuration"),
  );
}

/** Makes a command run in FIPS mode if the configuration that it reads has `fips: required`. */
function inConfiguredMode(command: Command): Command {
  return command.hook("preAction", async (_, action) => {
    const { config } = action.opts<Partial<WithConfig>>();
    if (config === undefined) return;
    const { enterFipsMode } = await import("@holdfast/server/fips-mode");
    enterFipsMode(config, machine);
  });
}
