import { type CommandRow, type Contract, contract, type Route } from "@holdfast/admin";
import { stateText } from "@holdfast/kmip";
import { type Command, Option } from "commander";
import { rootForms } from "../sites/root-option.ts";
import { addSiteOptions } from "../sites/site.ts";
import { type Field, fieldsOf, optionOf } from "./fields.ts";
import { runOperation } from "./run-operation.ts";

/** An operation with all that its command needs. */
export interface Operation {
  readonly name: keyof Contract;
  readonly route: Route;
  readonly row: CommandRow;
  /** Names of the path's parameters, in order: the command's arguments. */
  readonly params: readonly string[];
  readonly query: readonly Field[];
  readonly body: readonly Field[];
}

const groups: Readonly<Record<string, string>> = {
  instance: "order, show, change and delete instances",
  "root-of-trust": "root keys above the instances' keys",
  certificate: "client certificates of an instance",
  authority: "an instance's own certificate authority",
  refused: "clients that were refused",
  deny: "client certificates that are shut out",
  approval: "approvals by M of N people, and their policy",
  user: "user names and passwords of an instance",
  key: "keys of an instance, never their material",
  "audit-check": "whether the audit trail of a region is whole, checked by a node",
  token: "tokens of this API",
  peer: "certificates of the link between the regions",
  "storage-key": "the key of this region's store, and its rotation",
  "backup-order": "backups that a region's leader makes, verifies and compares",
};

/** The operations of the contract, each with its row. */
export function operations(): readonly Operation[] {
  return (Object.keys(contract) as (keyof Contract)[]).map((name) => {
    const route: Route = contract[name];
    const row = route.command;
    const hidden = new Set(row.hidden);
    const shown = (fields: readonly Field[]) => fields.filter((field) => !hidden.has(field.name));
    return {
      name,
      route,
      row,
      params: [...route.path.matchAll(/\{(\w+)\}/g)].map(([, param = ""]) => param),
      query: shown(fieldsOf(route.query)),
      body: shown(fieldsOf(route.body)),
    };
  });
}

/** Adds a command for each operation of the management API. */
export function addAdminCommands(program: Command): void {
  const parents = new Map<string, Command>();
  for (const operation of operations()) {
    const [first = "", second] = operation.row.words.split(" ");
    // `events --follow` is an option of `events`.
    if (second?.startsWith("--") === true) continue;
    const parent = second === undefined ? program : parentOf(program, parents, first);
    addOperation(parent.command(second ?? first), operation);
  }
}

function parentOf(program: Command, parents: Map<string, Command>, name: string): Command {
  const known = parents.get(name);
  if (known !== undefined) return known;
  const made = program.command(name).summary(groups[name] ?? name);
  parents.set(name, made);
  return made;
}

function addOperation(command: Command, operation: Operation): void {
  const { route, row, params, query, body } = operation;
  const summary = lowerFirst(route.summary.replace(/\.$/, ""));
  command.summary(summary).description(route.summary);
  for (const param of params) command.argument(`<${param}>`);
  for (const field of [...query, ...body]) addField(command, field, row);
  if (row.roots !== undefined) addRootOption(command, row);
  if (row.list !== undefined) {
    command.option("--wide", "show every column in full, however wide the terminal is");
  }
  if (row.list !== undefined && query.some(({ name }) => name === "cursor")) {
    command.option("--all", "fetch every page, not only one");
  }
  for (const { field, option } of row.output ?? []) {
    command.option(`--${option} <file>`, `write ${field} to a new file, mode 0600`);
  }
  if (row.wait !== undefined) {
    command.option("--wait", `wait until the instance is ${row.wait.join(" or ")}`);
  }
  if (operation.name === "listEvents")
    command.option("--follow", "keep running, and show events as they come");
  if (route.method === "POST" && route.status === 201) {
    command.option(
      "--idempotency-key <text>",
      "give the same key when you repeat the command, so that nothing is created twice",
    );
  }
  if (route.guarded !== undefined) {
    command.option(
      "--approval <id>",
      "the approved request, if the approval policy asks for one; without it, the command makes one",
    );
  }
  if (row.example !== undefined) command.addHelpText("after", `\nExample:\n  ${row.example}`);
  addSiteOptions(command);
  command.action(() => runOperation(operation, command.args, command.opts()));
}

function addField(command: Command, field: Field, row: CommandRow): void {
  const { name, kind, choices, description, required } = field;
  const file = row.files?.[name];
  if (file !== undefined) {
    command.requiredOption(`--${file} <file>`, "file to read it from; - is standard input");
    return;
  }
  if (row.secrets?.includes(name) === true) {
    const text = ["file with the value on its first line", description, "asked for at a terminal"];
    command.option(`${optionOf(name)}-file <file>`, text.filter((part) => part !== "").join("; "));
    return;
  }
  if (kind === "choice") {
    const option = new Option(`${optionOf(name)} <which>`, description).choices(
      choices.map(stateText),
    );
    const { parseArg } = option;
    if (parseArg !== undefined) option.argParser((text) => parseArg(stateText(text), undefined));
    command.addOption(option.makeOptionMandatory(required && !confirmedBy(row, name)));
    return;
  }
  const flags = kind === "switch" ? optionOf(name) : `${optionOf(name)} <${placeOf(field)}>`;
  if (kind === "list" && choices.length > 0) {
    command.addOption(choicesOption(flags, field));
    return;
  }
  const many = kind === "list" || kind === "pairs";
  if (many) command.option(flags, description, collect);
  else if (required && !confirmedBy(row, name)) command.requiredOption(flags, description);
  else command.option(flags, description);
}

/** An option that takes one of some values, and may be given again. */
function choicesOption(flags: string, { description, choices, required }: Field): Option {
  const option = new Option(flags, description).choices(choices).makeOptionMandatory(required);
  const { parseArg } = option;
  // `choices` checks one value and forgets the one before.
  return parseArg === undefined
    ? option
    : option.argParser((text, before?: readonly string[]) =>
        collect(String(parseArg(text, undefined)), before),
      );
}

function confirmedBy({ confirm }: CommandRow, field: string): boolean {
  return confirm?.field === field;
}

const places: Readonly<Record<Field["kind"], string>> = {
  text: "text",
  number: "number",
  time: "time",
  switch: "",
  choice: "which",
  list: "text",
  pairs: "key=value",
  json: "json",
};

function placeOf({ kind }: Field): string {
  return places[kind];
}

function addRootOption(command: Command, { roots }: CommandRow): void {
  const flags = "--root <region:type,name=value,...>";
  const text = `${rootForms.join("; ")}. A secret is @FILE, env:NAME or file:NAME`;
  if (roots === "rootOfTrust") command.option(flags, `${text}; once a region`, collect);
  else command.requiredOption(flags, roots === "lookup" ? text : `${text}; once a region`, collect);
}

/** An option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
