import { type AdminClient, AdminProblem, type Contract, type Reply } from "@holdfast/admin";
import { OperatorError } from "@holdfast/server/operator-error";
import type { Command } from "commander";
import { parseRoot, rootForms, rootsByRegion } from "../sites/root-option.ts";
import { addSiteOptions, type SiteOptions, withAdmin } from "../sites/site.ts";
import { eachDespiteFailures, failuresMax } from "../terminal/each.ts";
import { Failure, reasonOf } from "../terminal/failure.ts";
import { say } from "../terminal/lines.ts";
import { collect } from "./build.ts";
import { patiently } from "./patience.ts";
import { untilTrue } from "./wait.ts";

interface MoveOptions extends SiteOptions {
  readonly root: readonly string[];
  readonly all?: true;
  readonly from?: string;
  readonly atOnce: string;
  readonly approval?: string;
  readonly dryRun?: true;
}

type Roots = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
type Instance = Reply<Contract["listInstances"]>["items"][number];
type Status = Reply<Contract["readRoot"]>["regions"][string];

/** An instance, and its new root of trust in each region that moves. */
interface Item {
  readonly id: string;
  readonly name: string;
  readonly roots: Roots;
  /** Such as `a: hpcs ID/KEY → key-protect ID/KEY`. */
  readonly text: string;
}

interface Plan {
  readonly items: readonly Item[];
  /** What a person must move in another way, and why. */
  readonly others: readonly string[];
}

/** `holdfast root-of-trust move`: moves many instances, a few at a time; a second run continues. */
export function addMoveRoots(program: Command): void {
  const parent = program.commands.find((command) => command.name() === "root-of-trust");
  if (parent === undefined) throw new TypeError("the contract has no command root-of-trust");
  const command = parent
    .command("move")
    .argument("[instance...]", "which instances; or give --all")
    .summary("move instances to another root key while they are in use")
    .description(
      "Move instances to another root key, also of another kind, while they are in use: the key-encryption keys are wrapped anew, and no key changes. Ends when everything is under the new root key. A second run continues; a move that was ordered is completed by the regions, also if this command is stopped.",
    )
    .option("--all", "every instance that is under --from")
    .option(
      "--from <kind or name>",
      "move only what is under this now: a kind such as hpcs, or a root of trust as `holdfast root-of-trust report` names it",
    )
    .requiredOption(
      "--root <region:type,name=value,...>",
      `the new one: ${rootForms.join("; ")}. A secret is @FILE, env:NAME or file:NAME; once a region`,
      collect,
    )
    .option("--at-once <number>", "how many instances are moved at the same time, 1 to 32", "4")
    .option("--approval <id>", "for one instance: the approved request of its move")
    .option("--dry-run", "have the service check everything, print it, and change nothing")
    .addHelpText(
      "after",
      "\nExample:\n  holdfast root-of-trust move --all --from hpcs --root a:dedicated-key-protect,instanceId=UUID,rootKey=UUID,apiKey=@key.txt --dry-run",
    );
  addSiteOptions(command);
  command.action((names: readonly string[], given: MoveOptions) => moveRoots(names, given));
}

async function moveRoots(names: readonly string[], given: MoveOptions): Promise<void> {
  const { all, from, atOnce, approval } = given;
  if ((all === true) === names.length > 0) throw new Failure("give either instances or --all");
  if (all === true && from === undefined) throw new Failure("--all: give --from too");
  if (!/^([1-9]|[12]\d|3[0-2])$/.test(atOnce)) {
    throw new Failure(`--at-once ${atOnce}: give a number from 1 to 32`);
  }
  if (approval !== undefined && names.length !== 1) {
    throw new Failure("--approval: an approval is for one instance: name it, without --all");
  }
  const roots = rootsByRegion(given.root.map(parseRoot)) as Roots;
  await withAdmin(given, async (client) => {
    const plan = await planOf(client, names, roots, from);
    await new Mover(client, given).run(plan);
  });
}

/** What is to be moved. What is under the new root key already is left alone. */
async function planOf(
  client: AdminClient,
  names: readonly string[],
  roots: Roots,
  from: string | undefined,
): Promise<Plan> {
  const found: Instance[] = [];
  for await (const one of client.items("listInstances", { query: { limit: 1000 } })) {
    if (names.length === 0 || names.includes(one.id) || names.includes(one.name)) found.push(one);
  }
  const missing = names.find((text) => !found.some(({ id, name }) => text === id || text === name));
  if (missing !== undefined)
    throw new Failure(
      `${missing}: instance not found; \`holdfast instance list\` shows the instances`,
    );
  refuseUnknownRegions(found, roots);
  if (from !== undefined) refuseUnknownFrom(found, roots, from);
  const items: Item[] = [];
  const others: string[] = [];
  for (const { id, name, origin, regions } of found) {
    const moving = Object.entries(roots).flatMap(([region, root]) => {
      const now = regions[region]?.root;
      return now === undefined || !isUnder(now, from) || isAt(now, root)
        ? []
        : [{ region, root, text: `${region}: ${placeOf(now)} → ${textOf(root)}` }];
    });
    if (moving.length === 0) continue;
    const text = `${name} (${moving.map((one) => one.text).join(", ")})`;
    if (origin === "configuration") {
      others.push(`${text}: is set in the configuration of every node, rootOfTrust`);
      continue;
    }
    const wanted = Object.fromEntries(moving.map(({ region, root }) => [region, root]));
    items.push({ id, name, roots: wanted, text });
  }
  return { items, others };
}

/** A region that is written wrong would leave everything where it is. */
function refuseUnknownRegions(found: readonly Instance[], roots: Roots): void {
  const known = new Set(found.flatMap(({ regions }) => Object.keys(regions)));
  const unknown = Object.keys(roots).find((region) => !known.has(region));
  if (unknown === undefined || known.size === 0) return;
  throw new Failure(`--root ${unknown}: unknown region; known are ${[...known].join(", ")}`);
}

/** A `--from` that is written wrong would move nothing, and pass for a move that is complete. */
function refuseUnknownFrom(found: readonly Instance[], roots: Roots, from: string): void {
  const known = new Set<string>();
  for (const { regions } of found) {
    for (const [region, root] of Object.entries(roots)) {
      const now = regions[region]?.root;
      if (now === undefined) continue;
      if (isUnder(now, from) || isAt(now, root)) return;
      for (const { name, type } of placesOf(now)) known.add(name || type).add(type);
    }
  }
  const regions = Object.keys(roots).join(", ");
  const others = [...known].toSorted().join("; ") || "none";
  throw new Failure(
    `--from ${from}: no instance is under it in ${regions}, and none is at its new root key; there are ${others}`,
  );
}

/** Where a region is, and where an order that is not complete moves it. */
function placesOf({
  next,
  ...now
}: Status): readonly Pick<Status, "type" | "name" | "reference">[] {
  return next === undefined ? [now] : [now, next];
}

/** Whether a region is under this root of trust, or is being moved to it. */
export function isUnder(now: Status, from: string | undefined): boolean {
  return (
    from === undefined || placesOf(now).some(({ type, name }) => from === type || from === name)
  );
}

/**
 * Whether a region names this root of trust already, and is not being moved to another one; secrets are not compared.
 */
export function isAt(now: Status, root: Roots[string]): boolean {
  return placesOf(now).every(
    ({ reference }) =>
      reference !== undefined &&
      Object.entries(root).every(
        ([name, value]) => typeof value !== "string" || reference[name] === value,
      ),
  );
}

function placeOf({ name, type, next }: Status): string {
  const moving = next === undefined ? "" : ` (moving to ${next.name || next.type})`;
  return `${name || type}${moving}`;
}

function textOf({ type, rootKey, ...rest }: Roots[string]): string {
  const holder = Object.values(rest).find((value) => typeof value === "string");
  return [type, [holder, rootKey].filter((part) => part !== undefined).join("/")].join(" ").trim();
}

class Mover {
  readonly #client: AdminClient;
  readonly #given: MoveOptions;
  readonly #failed: { readonly item: Item; readonly error: unknown }[] = [];
  #done = 0;
  #rewrapped = 0;

  constructor(client: AdminClient, given: MoveOptions) {
    this.#client = client;
    this.#given = given;
  }

  async run({ items, others }: Plan): Promise<void> {
    const { dryRun, atOnce } = this.#given;
    const move = async (item: Item) => {
      await this.#ask(item);
      if (dryRun !== true) await this.#arrived(item);
    };
    const { untried } = await eachDespiteFailures(items, Number(atOnce), move, {
      done: (item, left) => {
        this.#done += 1;
        this.#tell(dryRun === true ? "would move" : "done", item, `${left} left`);
      },
      failed: (item, error) => {
        this.#failed.push({ item, error });
        this.#tell("failed", item, reasonOf(error));
      },
    });
    this.#end(untried, others);
  }

  async #ask({ id, roots }: Item): Promise<void> {
    const { dryRun, approval } = this.#given;
    const call = { params: { instance: id }, body: { regions: roots as never } };
    const options = {
      ...(dryRun === true && { dryRun }),
      ...(approval !== undefined && { approval }),
    };
    const answer = await patiently(() => this.#client.call("configureRoot", call, options));
    if (dryRun !== true) this.#rewrapped += answer.rewrapped;
  }

  /** Waits until the regions have left the old root key: a leader or another writer may still be at work. */
  async #arrived({ id, roots }: Item): Promise<void> {
    const read = { params: { instance: id } };
    const isThere = async (): Promise<boolean> => {
      const { regions } = await patiently(() => this.#client.call("readRoot", read));
      return Object.entries(roots).every(([region, root]) => {
        const now = regions[region];
        return now !== undefined && isAt(now, root);
      });
    };
    if (await untilTrue(isThere)) return;
    throw new OperatorError(
      "the move is ordered but not complete: `holdfast root-of-trust rewrap` says what prevents it",
      "again",
    );
  }

  #tell(state: string, { id, name, text }: Item, says: string): void {
    if (this.#given.json === true) say(JSON.stringify({ state, instance: id, name, says }));
    else say(`${state}: ${text}: ${says}`);
  }

  /** Says what was done, and what is left for a person. */
  #end(untried: number, others: readonly string[]): void {
    const { dryRun, json } = this.#given;
    if (json !== true) {
      for (const one of others) say(`not moved: ${one}`);
      const moved = `${this.#done} instances were moved, ${this.#rewrapped} key-encryption keys wrapped anew`;
      say(
        dryRun === true
          ? `${this.#done} instances would be moved; nothing was changed`
          : `${moved}; keep the old root key until \`holdfast root-of-trust report\` names it nowhere, also not at (storage key), and a new backup is made`,
      );
    }
    const [first] = this.#failed;
    if (first === undefined) return;
    const count = this.#failed.length + untried;
    const tried =
      untried === 0 ? "" : `, ${untried} of them not tried after ${failuresMax} failures in a row`;
    const names = this.#failed.map(({ item }) => item.name).join(", ");
    const message = `${count} instances were not moved${tried}; failed: ${names}; give the same command again once the cause is gone`;
    // One cause for all ends as that cause does.
    const { error } = first;
    const same = this.#failed.every((one) => codeOf(one.error) === codeOf(error));
    if (same && error instanceof AdminProblem) {
      const detail = `${message}: ${reasonOf(error)}`;
      throw new AdminProblem(error.status, { ...error.document, detail }, undefined);
    }
    throw new OperatorError(message, "again");
  }
}

function codeOf(error: unknown): string {
  return error instanceof AdminProblem ? error.code : "";
}
