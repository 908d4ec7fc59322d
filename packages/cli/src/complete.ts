import tab from "@bomb.sh/tab/commander";
import { AdminClient } from "@holdfast/admin";
import type { Command } from "commander";
import { operations } from "./admin/build.ts";
import { clientOptionsOf } from "./sites/site.ts";

/** Completion gives up after this time. */
const patienceMs = 2000;
const instancesMax = 1000;

/** Adds `complete`, which completes commands, options and the names of these instances. */
export function addCompletion(program: Command, instances: readonly string[]): void {
  const completion = tab(program);
  for (const words of takingInstance()) {
    completion.commands.get(words)?.argument("instance", (complete) => {
      for (const name of instances) complete(name, "");
    });
  }
}

/**
 * The names of instances, if the shell completes an instance's name. They come from the site that
 * commands use without options; an empty list if it does not answer.
 */
export async function instancesFor(args: readonly string[]): Promise<readonly string[]> {
  const [first, dashes, ...words] = args;
  if (first !== "complete" || dashes !== "--") return [];
  if (!takingInstance().includes(words.slice(0, -1).join(" "))) return [];
  try {
    await using client = new AdminClient({ ...clientOptionsOf({}), timeoutMs: patienceMs });
    const { items } = await client.call("listInstances", { query: { limit: instancesMax } });
    return items.map(({ name }) => name);
  } catch {
    return [];
  }
}

/** Commands whose first argument is an instance. */
function takingInstance(): readonly string[] {
  return operations().flatMap(({ row, params }) => (params[0] === "instance" ? [row.words] : []));
}
