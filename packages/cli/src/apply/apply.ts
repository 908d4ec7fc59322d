import type { AdminClient } from "@holdfast/admin";
import type { Command } from "commander";
import { addSiteOptions, type SiteOptions, withAdmin } from "../sites/site.ts";
import { ask, canAsk } from "../terminal/ask.ts";
import { Failure } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { sayJson } from "../terminal/output.ts";
import { checkSteps } from "./apply-check.ts";
import { readDeclaration } from "./apply-file.ts";
import { type ActualInstance, planOf, type Step } from "./apply-plan.ts";

interface ApplyOptions extends SiteOptions {
  readonly file: string;
  readonly dryRun?: true;
  readonly prune?: true;
  readonly updateSecrets?: true;
  readonly yes?: true;
}

/** `holdfast apply`: makes instances, certificates and users match a file. */
export function addApply(program: Command): void {
  const command = program
    .command("apply")
    .summary("make instances, certificates and users match a file")
    .description(
      "Compares the declared instances with those of the service, prints the plan, has the service check every step, and carries it out. Undeclared objects stay, unless --prune is given and confirmed. A certificate counts by its fingerprint: a new one under a name that is taken is added as NAME-new, and the old one is deleted after that, with --prune. Applied again, it changes nothing. API keys, PINs and passwords cannot be compared: --update-secrets sends them again.",
    )
    .requiredOption("-f, --file <file>", "YAML; - is standard input")
    .option("--dry-run", "print the plan and the steps the service would refuse; change nothing")
    .option(
      "--update-secrets",
      "send the API keys, PINs and passwords of the file again, even if nothing else has changed",
    )
    .option("--prune", "delete undeclared objects, after a confirmation")
    .option("--yes", "confirm --prune without being asked")
    .addHelpText(
      "after",
      `\nExample:\n  holdfast apply -f instances.yaml --dry-run\n\n${declarationExample}`,
    );
  addSiteOptions(command);
  command.action((options: ApplyOptions) => apply(options));
}

const declarationExample = `The file:
  instances:
    - name: kmip-prod
      rootOfTrust: { a: { type: local }, b: { type: local } }
      certificates:
        - { name: vcenter-1, file: vcenter.pem, operations: [vsphere] }`;

async function apply(options: ApplyOptions): Promise<void> {
  const wanted = readDeclaration(options.file);
  await withAdmin(options, async (client) => {
    const actual = await actualInstances(client);
    const steps = planOf(wanted, actual, { updateSecrets: options.updateSecrets === true });
    const chosen = options.prune === true ? steps : steps.filter(({ destructive }) => !destructive);
    tellPlan(steps, chosen, options);
    await checkSteps(client, chosen, actual);
    if (options.dryRun === true || chosen.length === 0) return;
    await confirmPrune(chosen, options);
    for (const step of chosen) await carryOut(client, step, options);
    if (options.json !== true) say(`${chosen.length} of ${chosen.length} changes were made`);
  });
}

function tellPlan(
  steps: readonly Step[],
  chosen: readonly Step[],
  { json, dryRun }: ApplyOptions,
): void {
  if (json === true) {
    if (dryRun === true) {
      sayJson(steps.map(({ text, operation, destructive }) => ({ text, operation, destructive })));
    }
    return;
  }
  say(...planLines(steps, chosen));
}

/** The plan for people: what is changed and what stays. */
export function planLines(steps: readonly Step[], chosen: readonly Step[]): readonly string[] {
  const lines = steps.map((step) =>
    chosen.includes(step) ? step.text : (step.otherwise ?? step.text),
  );
  return chosen.length > 0 ? lines : [...lines, "nothing to do: the service is as declared"];
}

async function confirmPrune(steps: readonly Step[], { yes }: ApplyOptions): Promise<void> {
  const count = steps.filter(({ destructive }) => destructive).length;
  if (count === 0 || yes === true) return;
  if (!canAsk()) throw new Failure(`${count} deletions need a confirmation: give --yes`);
  if ((await ask(`${count} deletions cannot be undone. Type yes to continue:`)) !== "yes") {
    throw new Failure("not confirmed; nothing was changed");
  }
}

async function carryOut(
  client: AdminClient,
  { operation, params, query, body, text }: Step,
  { json }: ApplyOptions,
): Promise<void> {
  await client.call(operation, {
    params,
    ...(query === undefined ? {} : { query }),
    ...(body === undefined ? {} : { body: body() }),
  });
  if (json === true) say(JSON.stringify({ done: text }));
  else say(`done: ${text}`);
}

/** Everything that can be compared, as the service has it. */
async function actualInstances(client: AdminClient): Promise<readonly ActualInstance[]> {
  const found: ActualInstance[] = [];
  for await (const instance of client.items("listInstances", { query: { limit: 1000 } })) {
    const params = { instance: instance.id };
    const certificates = [];
    for await (const one of client.items("listCertificates", { params, query: { limit: 1000 } })) {
      certificates.push(one);
    }
    const users = await client.call("listUsers", { params });
    const roots: Record<string, ActualInstance["roots"][string]> = {};
    const nextRoots: typeof roots = {};
    for (const [region, { root }] of Object.entries(instance.regions)) {
      roots[region] = root?.origin === "instance" ? root.reference : undefined;
      nextRoots[region] = root?.next?.reference;
    }
    found.push({ ...instance, roots, nextRoots, certificates, users: users.items });
  }
  return found;
}
