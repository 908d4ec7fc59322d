import {
  type AdminCallOptions,
  type AdminClient,
  AdminProblem,
  type CommandRow,
  contract,
} from "@holdfast/admin";
import { firstLine, parseRoot, rootsByRegion } from "../sites/root-option.ts";
import { type SiteOptions, withAdmin } from "../sites/site.ts";
import { ask, askSecret, canAsk } from "../terminal/ask.ts";
import { Failure, readGiven, reasonOf } from "../terminal/failure.ts";
import { complain, say } from "../terminal/lines.ts";
import type { Json } from "../terminal/output.ts";
import type { Operation } from "./build.ts";
import { followEvents, listEvents, refuseWithFollow, sayMissing } from "./events.ts";
import { showServerCertificates } from "./every-node.ts";
import { camel, optionOf } from "./fields.ts";
import { identifiersIn } from "./identifier-list.ts";
import { inOptions } from "./in-options.ts";
import { keepOutputs, outputsOf } from "./outputs.ts";
import { patiently } from "./patience.ts";
import { showAnswer, showList } from "./show.ts";
import { fieldValue, identifier } from "./values.ts";
import { untilStatus } from "./wait.ts";

/** The options given on the command line, by name. */
export type Given = Readonly<Record<string, unknown>> & SiteOptions;

type Thing = Readonly<Record<string, Json>>;

/** The request to send. */
interface Sent {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: Readonly<Record<string, unknown>> | undefined;
}

/** Carries out one operation and prints the result. */
export async function runOperation(
  operation: Operation,
  args: readonly string[],
  given: Given,
): Promise<void> {
  try {
    await carryOut(operation, args, given);
  } catch (error) {
    throw inOptions(operation, error);
  }
}

async function carryOut(
  operation: Operation,
  args: readonly string[],
  given: Given,
): Promise<void> {
  if (operation.name === "listServerCertificates")
    return await showServerCertificates(operation, given);
  if (given["follow"] === true) refuseWithFollow(given, operation, contract.followEvents);
  const outputs = outputsOf(operation.row, given);
  const sent = await sentOf(operation, args, given);
  await withAdmin(given, async (client) => {
    if (given["follow"] === true) return await follow(client, operation, sent, given);
    if (operation.name === "listEvents" && given.json !== true) {
      return await listEvents(client, operation, sent.query, given);
    }
    if (operation.name === "reportOrphans") return await orphans(client, operation, sent, given);
    if (given["all"] === true) return await allPages(client, operation, sent, given);
    const answer = await carriedOut(client, operation, sent, given);
    const kept = keepOutputs(outputs, answer);
    const final = given["wait"] === true ? await waited(client, operation, sent, kept) : kept;
    showAnswer(operation, final, given);
    if (operation.name === "listEvents") sayMissing(final);
  });
}

/** Sends the request. If the service wants a confirmation, asks the user and sends it again. */
async function carriedOut(
  client: AdminClient,
  { name, row }: Operation,
  sent: Sent,
  given: Given,
): Promise<Thing> {
  try {
    return (await client.call(name, sent, optionsOf(given))) as Thing;
  } catch (error) {
    const { confirm: wanted } = row;
    const asks = error instanceof AdminProblem && error.code === wanted?.refused;
    if (!asks || wanted?.when === undefined) throw error;
    const { field, when } = wanted;
    const hint = `${optionOf(when)} ${optionOf(field)} ${await nameOf(client, sent)}`;
    const detail = error.message.replace(`${when}=true and ${field}=NAME`, hint);
    const refused = new AdminProblem(error.status, { ...error.document, detail }, undefined);
    if (!canAsk()) throw refused;
    complain(reasonOf(refused));
    const query = { ...sent.query, [when]: "true", [field]: await typedAgain(wanted) };
    return (await client.call(name, { ...sent, query }, optionsOf(given))) as Thing;
  }
}

/** The name of the command's instance, quoted for a shell. */
async function nameOf(client: AdminClient, { params }: Sent): Promise<string> {
  const instance = params["instance"] ?? "";
  const { name } = await client
    .call("readInstance", { params: { instance } })
    .catch(() => ({ name: instance }));
  return name.includes(" ") ? `"${name}"` : name;
}

async function typedAgain({ of, does }: NonNullable<CommandRow["confirm"]>): Promise<string> {
  const typed = await ask(`This cannot be undone. Type ${of} to continue:`);
  if (typed === "") throw new Failure(`not ${of}: nothing was ${does}`);
  return typed;
}

function optionsOf({ idempotencyKey, approval }: Given): AdminCallOptions {
  return {
    ...(typeof idempotencyKey === "string" && { idempotencyKey }),
    ...(typeof approval === "string" && { approval }),
  };
}

async function sentOf(operation: Operation, args: readonly string[], given: Given): Promise<Sent> {
  const { params, query, body, row, route } = operation;
  const fields = (all: typeof query) =>
    all.flatMap((field) => {
      const value = given[camel(field.name)];
      return value === undefined ? [] : [[field.name, fieldValue(field, value)] as const];
    });
  const whole: Record<string, unknown> = Object.fromEntries(fields(body));
  for (const [field, option] of Object.entries(row.files ?? {})) {
    const bytes = readGiven(`--${option}`, String(given[camel(option)]));
    whole[field] = field === "inUse" ? identifiersIn(bytes, `--${option}`) : bytes.toString("utf8");
  }
  for (const field of row.secrets ?? []) whole[field] = await secretOf(field, given);
  Object.assign(whole, rootsOf(operation, given));
  const asked: Record<string, unknown> = Object.fromEntries(fields(query));
  await confirm(operation, asked, whole);
  return {
    params: Object.fromEntries(
      params.map((param, at) => [param, identifier(param, args[at] ?? "")]),
    ),
    query: asked,
    body: route.body === undefined ? undefined : whole,
  };
}

async function secretOf(field: string, given: Given): Promise<string> {
  const option = `${optionOf(field)}-file`;
  const path = given[camel(`${field}File`)];
  if (typeof path === "string") return firstLine(option, path);
  if (!canAsk()) throw new Failure(`${option} is missing: it has the ${field} on its first line`);
  return await askSecret(field);
}

function rootsOf({ row }: Operation, given: Given): Readonly<Record<string, unknown>> {
  const texts = (given["root"] ?? []) as readonly string[];
  const roots = texts.map(parseRoot);
  if (row.roots === "rootOfTrust") {
    return roots.length === 0 ? {} : { rootOfTrust: { regions: rootsByRegion(roots) } };
  }
  if (row.roots === "regions") return { regions: rootsByRegion(roots) };
  const [first, second] = roots;
  if (row.roots !== "lookup" || first === undefined) return {};
  if (second !== undefined) throw new Failure("--root: give only one key manager at a time");
  return { root: first.root, ...(first.region === undefined ? {} : { region: first.region }) };
}

/** Asks the user to type the confirmation, if the operation needs one and none was given. */
async function confirm(
  { row, query }: Operation,
  asked: Record<string, unknown>,
  body: Record<string, unknown>,
): Promise<void> {
  const { confirm: wanted } = row;
  if (wanted === undefined) return;
  const target = query.some(({ name }) => name === wanted.field) ? asked : body;
  if (wanted.when !== undefined && target[wanted.when] !== "true") return;
  if (target[wanted.field] !== undefined) return;
  if (!canAsk()) {
    throw new Failure(`${optionOf(wanted.field)} is missing: ${wanted.of}, typed again`);
  }
  target[wanted.field] = await typedAgain(wanted);
}

async function follow(
  client: AdminClient,
  operation: Operation,
  { query }: Sent,
  given: Given,
): Promise<void> {
  const end = new AbortController();
  process.once("SIGINT", () => end.abort());
  await followEvents(client, operation, query, given, end.signal);
}

async function allPages(
  client: AdminClient,
  operation: Operation,
  sent: Sent,
  given: Given,
): Promise<void> {
  let query = sent.query;
  let first = true;
  const reported = new Set<string>();
  for (;;) {
    const page = (await patiently(() => client.call(operation.name, { ...sent, query }))) as Thing;
    if (operation.name === "listEvents") sayMissing(page, reported);
    const items = page["items"] as readonly Json[];
    const ends = page["next"] === undefined;
    if (given.json === true) for (const item of items) say(JSON.stringify(item));
    else if (items.length > 0 || ends) showPage(items, operation, given, first);
    first &&= items.length === 0;
    if (ends) return;
    query = { ...query, cursor: page["next"] };
  }
}

/**
 * Shows the report of orphans. Fetches all pages first, unless the user asks for one page. If the
 * list names no key of the instance, it is the wrong list: the command fails and shows no orphans.
 */
async function orphans(
  client: AdminClient,
  operation: Operation,
  sent: Sent,
  given: Given,
): Promise<void> {
  const onePage = given["limit"] !== undefined || given["cursor"] !== undefined;
  const every = given["all"] === true || !onePage;
  const items: Json[] = [];
  let [matched, total] = [0, 0];
  let query = every ? { ...sent.query, limit: given["limit"] ?? 1000 } : sent.query;
  let next: Json | undefined;
  do {
    const page = (await patiently(() => client.call(operation.name, { ...sent, query }))) as Thing;
    items.push(...(page["items"] as readonly Json[]));
    matched += Number(page["matched"]);
    total = Number(page["given"]);
    next = page["next"];
    query = { ...query, cursor: next };
  } while (every && next !== undefined);
  if (every && matched === 0 && items.length > 0) {
    throw new Failure(
      `none of the ${total} identifiers names a key of this instance, so every key would be an orphan; is it the right list, and the right instance?`,
    );
  }
  complain(`${total} given, ${matched} matched`);
  if (given.json === true && given["all"] === true) {
    for (const item of items) say(JSON.stringify(item));
    return;
  }
  const more = next === undefined ? {} : { next };
  showAnswer(operation, { items, given: total, matched, ...more }, given);
}

function showPage(items: readonly Json[], { row }: Operation, given: Given, first: boolean): void {
  showList(items, row.list ?? { of: "rows", columns: [] }, given, first ? undefined : []);
}

async function waited(
  client: AdminClient,
  { row }: Operation,
  { params }: Sent,
  answer: Thing,
): Promise<Thing> {
  // Prefer the identifier: another instance may take the name of a deleted one.
  const instance = String(answer["id"] ?? params["instance"] ?? "");
  if (row.wait === undefined || instance === "") return answer;
  return await untilStatus(client, instance, row.wait, answer);
}
