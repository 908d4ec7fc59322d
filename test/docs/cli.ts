import { createProgram } from "@holdfast/cli";
import { exitCodes } from "../../packages/cli/src/terminal/exits.ts";
import { madeFrom, table } from "./markdown.ts";

const program = await createProgram();
type Command = typeof program;
type Option = Command["options"][number];

/** `docs/cli.md`: every command of the command line, made from the program itself. */
export function commandLine(): string {
  const parts = program.commands.filter(isShown).flatMap((command) => section(command, "holdfast"));
  return `${[intro, ...parts].join("\n\n")}\n`;
}

const exitCodeRows = Object.values(exitCodes)
  .map(({ code, means }) => `| ${code} | ${means} |`)
  .join("\n");

const intro = `# The command line

${madeFrom("the commands")}

\`npx holdfast COMMAND\` in a checkout. Every command has \`--help\`. A failure is one line on standard error
that says what is wrong and what to do; the exit code says which kind of failure it is, for commands with \`--config\` too:

| exit code | means |
|---|---|
${exitCodeRows}

A node (\`holdfast serve\`) ends with 2 if its configuration, or a file that it names, has to be corrected, and with 3 if the
cause may pass: its store is not initialised, unsafe or does not answer, or an address is in use. The systemd unit starts it
again after every exit code but 2.

**Which service.** \`--url\`, \`--ca\` and \`--token-file\` select it; or the environment: \`HOLDFAST_URL\`
(several, separated by commas), \`HOLDFAST_CA\`, \`HOLDFAST_TOKEN\`; or a profile of \`holdfast profile add\`,
which \`--profile\`, \`HOLDFAST_PROFILE\` or \`holdfast profile use\` selects. A profile that \`--profile\` names is the whole
site, and the environment does not count. Where \`--url\` or \`HOLDFAST_URL\` gives a site, no other profile counts.
Without these, commands use the development
cluster of the checkout (\`--dev FOLDER\`: another one). A token is never an argument, since anyone who can list processes
would see it.

**At a terminal** each line of a list fits the width: the most important columns stay, names replace identifiers and
fingerprints, and a last line names the columns that were left out. With \`--wide\`, in a pipe or in a file, the
list has every column in full, always under the same headings. Times are UTC. \`holdfast events\` shows the start and the
outcome of an action on one line.

**For scripts.** \`--json\` prints the API's answer; with \`--all\` one item per line. A list prints one page; \`--all\`
prints every page.

**Completion.** \`source <(holdfast complete bash)\`, or \`zsh\`, or \`holdfast complete fish | source\`.`;

function section(command: Command, above: string): readonly string[] {
  const path = `${above} ${command.name()}`;
  const children = command.commands.filter(isShown);
  if (children.length > 0) return children.flatMap((child) => section(child, path));
  const words = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  const options = command.options.filter(({ hidden, long }) => !hidden && !isSite(long));
  const rows = options.map((option) => [`\`${option.flags}\``, optionText(option)]);
  return [
    `## ${path}`,
    `\`${[path, ...words].join(" ")}\``,
    command.description(),
    ...(rows.length === 0 ? [] : [table(["option", "meaning"], rows)]),
  ].filter((part) => part !== "");
}

/** Whether an option selects the service: the page explains these options once, at its start. */
function isSite(long: string | undefined): boolean {
  return ["--profile", "--url", "--ca", "--token-file", "--dev", "--json"].includes(long ?? "");
}

function optionText({ description, argChoices, mandatory }: Option): string {
  const choices = argChoices === undefined ? "" : argChoices.join(", ");
  return [description, choices, mandatory ? "**required**" : ""]
    .filter((part) => part !== "")
    .join("; ");
}

function isShown(command: Command): boolean {
  return command.name() !== "help" && (command as { _hidden?: boolean })._hidden !== true;
}
