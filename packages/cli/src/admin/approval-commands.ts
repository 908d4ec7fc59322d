import { createPrivateKey, type KeyObject } from "node:crypto";
import {
  type ApprovalAction,
  type ApprovalPolicy,
  type Approver,
  approvalActions,
  approverName,
  callIn,
  cancelText,
  digestOf,
  instanceActions,
  isReason,
  newApproverKey,
  type PolicyPart,
  parsePolicy,
  policyFault,
  policyText,
  readDocument,
  signatureLine,
} from "@holdfast/admin";
import { machine } from "@holdfast/server/machine";
import type { Command } from "commander";
import { withConfig } from "../server/node.ts";
import { firstLine } from "../sites/root-option.ts";
import { ask, canAsk } from "../terminal/ask.ts";
import { Failure, readGiven, writeNew } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { plain } from "../terminal/output.ts";

interface Draft {
  readonly approvals: string;
  readonly approver?: readonly string[];
  readonly breakGlass?: readonly string[];
  readonly action?: readonly string[];
  readonly after?: string;
  readonly instance?: string;
  readonly out: string;
}

interface Sign {
  readonly key: string;
  readonly passphraseFile?: string;
  readonly reason?: string;
  readonly cancel?: string;
  readonly change?: string;
  readonly out: string;
  readonly yes?: true;
}

/** The commands of approvers, which ask no service, and those that set a policy at a node. */
export function addApprovalCommands(program: Command): void {
  const parent = program.commands.find((command) => command.name() === "approval");
  if (parent === undefined) throw new TypeError("the contract has no command approval");
  const key = parent.command("key").summary("an approver's key").description("An approver's key.");
  key
    .command("create")
    .summary("make an approver's key, on the approver's own machine")
    .description(
      "Make an approver's Ed25519 key, on the approver's own machine. Nobody else may have the file; the line that this prints is public.",
    )
    .requiredOption("--name <name>", "the approver's name, as policies and events show it")
    .requiredOption("--key-out <file>", "where to write the private key: a new file, mode 0600")
    .option("--passphrase-file <file>", "encrypt the key under the passphrase on its first line")
    .action(createKey);
  parent
    .command("draft")
    .summary("write a policy, which its keys then sign")
    .description("Write the text of an approval policy, which its approvers then sign.")
    .requiredOption(
      "--approvals <number>",
      "how many approvers must sign; 0 with --instance: the instance asks for nothing more",
    )
    .option("--approver <name=key...>", "an approver and their public key; again for each")
    .option(
      "--break-glass <name=key...>",
      "a key that counts as all approvals, and alerts; again for each",
    )
    .option(
      "--action <name...>",
      `what needs approvals, again for each, all unless given: ${approvalActions.join(", ")}`,
    )
    .option("--after <file>", "the text of the policy that this one follows")
    .option(
      "--instance <id>",
      "with --after: what this instance asks for in addition to the system; all else stays as it is",
    )
    .requiredOption("--out <file>", "where to write it")
    .action(draft);
  parent
    .command("sign")
    .argument("[file]", "the request's document, or the policy")
    .summary("show a request or a policy, and sign it")
    .description(
      "Show what a request or a policy says, and sign it with an approver's key. It needs no service.",
    )
    .requiredOption("--key <file>", "the approver's private key")
    .option("--passphrase-file <file>", "its passphrase, on the first line")
    .option("--reason <text>", "why a break-glass key is used; a break-glass key needs it")
    .option("--cancel <digest>", "instead of a file: cancel the change of the policy that waits")
    .option("--change <id>", "with --cancel: the identifier of that change")
    .option("--yes", "sign without a question")
    .requiredOption("--out <file>", "where to write the signature")
    .action(sign);
  withConfig(parent.command("init"))
    .summary("put the first policy in force, at a node")
    .description("Put the first approval policy in force, at a node.")
    .requiredOption("--file <file>", "the policy that `holdfast approval draft` wrote")
    .requiredOption("--signatures <file>", "the signatures of all its keys, one on each line")
    .action(async (given: Readonly<Record<"config" | "file" | "signatures", string>>) => {
      const { initPolicy } = await import("@holdfast/server/approval");
      const text = readGiven("--file", given.file).toString("utf8");
      const signatures = readGiven("--signatures", given.signatures).toString("utf8");
      say(await initPolicy(given.config, machine, { text, signatures }));
    });
  withConfig(parent.command("reset"))
    .summary("end the policy in 72 hours, at a node, if its keys are lost")
    .description(
      "End the approval policy in 72 hours, at a node, because too many of its keys are lost. Each approver can cancel that.",
    )
    .action(async ({ config }: { readonly config: string }) => {
      const { resetPolicy } = await import("@holdfast/server/approval");
      say(await resetPolicy(config, machine));
    });
}

function createKey(given: {
  readonly name: string;
  readonly keyOut: string;
  readonly passphraseFile?: string;
}): void {
  const { name, keyOut, passphraseFile } = given;
  if (!approverName.test(name)) {
    throw new Failure(`--name ${name}: give letters, digits, dots, hyphens, underscores or @`);
  }
  const { pem, publicKey } = newApproverKey(
    passphraseFile === undefined ? undefined : firstLine("--passphrase-file", passphraseFile),
  );
  writeNew("--key-out", keyOut, pem);
  say(`${name}=${publicKey}`);
}

function draft(given: Draft): void {
  const before = given.after === undefined ? undefined : policyIn("--after", given.after);
  const policy: ApprovalPolicy = {
    ...(given.instance === undefined
      ? { ...partIn(given, approvalActions), instances: before?.policy.instances ?? [] }
      : withInstance(before?.policy, given.instance, partIn(given, instanceActions))),
    system: before?.policy.system ?? machine.ids.uuid(),
    version: (before?.policy.version ?? 0) + 1,
    previous: before && digestOf(before.text),
  };
  const fault = policyFault(policy);
  if (fault !== undefined) throw new Failure(fault);
  writeNew("--out", given.out, policyText(policy));
  say(
    `${given.out} is version ${policy.version} of the policy: each new key signs it, and the approvers of the version before, of an instance too whose part it changes (holdfast approval sign)`,
  );
}

function partIn(given: Draft, all: readonly ApprovalAction[]): PolicyPart {
  const { approvals, approver = [], breakGlass = [], action = all } = given;
  return {
    approvals: /^\d{1,3}$/.test(approvals) ? Number(approvals) : -1,
    approvers: approver.map((text) => keyIn("--approver", text)),
    breakGlass: breakGlass.map((text) => keyIn("--break-glass", text)),
    actions: action as readonly ApprovalAction[],
  };
}

/** A policy in which an instance asks for this in addition to the system; with 0 approvals, for nothing. */
function withInstance(
  before: ApprovalPolicy | undefined,
  instance: string,
  part: PolicyPart,
): PolicyPart & Pick<ApprovalPolicy, "instances"> {
  if (before === undefined || before.approvals === 0) {
    throw new Failure("--instance: give --after with the policy in force, to which it is added");
  }
  const others = before.instances.filter((one) => one.instance !== instance);
  if (part.approvals > 0) return { ...before, instances: [...others, { instance, ...part }] };
  if (others.length === before.instances.length) {
    throw new Failure(`--instance ${instance}: it asks for nothing more already`);
  }
  if (part.approvers.length + part.breakGlass.length > 0) {
    throw new Failure("--approvals 0 --instance: give no keys");
  }
  return { ...before, instances: others };
}

function policyIn(option: string, path: string) {
  const text = readGiven(option, path).toString("utf8");
  const policy = parsePolicy(text);
  if (typeof policy === "string") throw new Failure(`${option} ${path}: ${policy}`);
  return { policy, text };
}

function keyIn(option: string, text: string): Approver {
  const at = text.indexOf("=");
  if (at > 0) return { name: text.slice(0, at), key: text.slice(at + 1) };
  throw new Failure(`${option} ${text}: give NAME=KEY, as \`holdfast approval key create\` prints`);
}

async function sign(file: string | undefined, given: Sign): Promise<void> {
  const { reason, cancel, change, out } = given;
  if ((file === undefined) === (cancel === undefined)) {
    throw new Failure("give either a file to sign, or --cancel with the digest of a policy");
  }
  if (reason !== undefined && !isReason(reason)) {
    throw new Failure("--reason: give one line of at most 256 characters");
  }
  if (cancel !== undefined && !/^[0-9a-f]{64}$/.test(cancel)) {
    throw new Failure(
      `--cancel ${cancel}: give the digest that \`holdfast approval policy --wide\` shows`,
    );
  }
  if ((cancel === undefined) !== (change === undefined)) {
    throw new Failure("--cancel DIGEST and --change ID belong together");
  }
  const key = privateKey(given);
  const { text, shown } =
    file === undefined ? cancellation(cancel ?? "", change ?? "") : signedIn(file);
  for (const line of shown) say(plain(line));
  if (given.yes !== true) {
    if (!canAsk()) throw new Failure("read what it says, then give --yes to sign it");
    const answer = await ask("Type yes to sign exactly this:");
    if (answer !== "yes") throw new Failure("not yes: nothing was signed");
  }
  writeNew("--out", out, `${signatureLine(text, key, reason)}\n`);
}

function cancellation(digest: string, change: string) {
  if (!/^[0-9a-f-]{36}$/.test(change)) {
    const says = "give the identifier that `holdfast approval policy --wide` shows";
    throw new Failure(`--change ${change}: ${says}`);
  }
  const text = cancelText(digest, change);
  return { text, shown: [`cancel change ${change} (policy ${digest})`] };
}

/** The text to sign, and all that a person should read before that. */
function signedIn(file: string): { readonly text: string; readonly shown: readonly string[] } {
  const content = readGiven("", file).toString("utf8");
  if (typeof parsePolicy(content) !== "string") {
    return { text: content, shown: content.trimEnd().split("\n") };
  }
  const read = readDocument(content, digestOf(callIn(content)));
  if (typeof read === "string") {
    const policy = content.startsWith("holdfast-approval-policy") ? parsePolicy(content) : read;
    throw new Failure(`${file}: ${policy}`);
  }
  const until = new Date(read.request.until * 1000).toISOString();
  const lines = read.text.trimEnd().split("\n");
  return {
    text: read.text,
    shown: [...lines, `(until ${until})`, ...JSON.stringify(read.call, null, 2).split("\n")],
  };
}

function privateKey({ key: path, passphraseFile }: Sign): KeyObject {
  const pem = readGiven("--key", path);
  const passphrase =
    passphraseFile === undefined ? undefined : firstLine("--passphrase-file", passphraseFile);
  if (passphrase === undefined && pem.includes("ENCRYPTED PRIVATE KEY")) {
    throw new Failure(`--key ${path}: it is encrypted: give --passphrase-file`);
  }
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    throw new Failure(`--key ${path}: holds no private key, or its passphrase is another one`);
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new Failure(
    `--key ${path}: is no Ed25519 key: make one with \`holdfast approval key create\``,
  );
}
