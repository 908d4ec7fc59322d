import { readFile, writeFile } from "node:fs/promises";
import { until } from "@holdfast/testing";
import type { Page } from "playwright-core";
import { parse, stringify } from "yaml";
import type { NodeProcess } from "./node-process.ts";
import { layRegion, type Region } from "./region.ts";

/** Goes to another place of the console, and waits until it is shown. */
export async function show(page: Page, path: string, title: string): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
  await until(`the page ${title}`, async () => (await page.title()) === `${title} – Holdfast`);
  await until("nothing is on its way", async () => {
    return (await page.getByText("Loading…").count()) === 0;
  });
}

/** The same where the page before it may have the same title. */
export async function showAnew(page: Page, path: string, title: string): Promise<void> {
  await show(page, "/", "Overview");
  await show(page, path, title);
}

/** A region with a web console at each node. */
export interface Consoles {
  readonly region: Region;
  /** The consoles' origins, in the order of the nodes. */
  readonly origins: readonly [string, string];
}

/**
 * Lays a region of two nodes, whose consoles know each other; `admin` gives further settings of a node's management API
 * for its origin. The first node has the host name of `hosts` that is first.
 */
export async function layConsoles(
  hosts: readonly [string, string] = ["127.0.0.1", "127.0.0.1"],
  admin: (
    origin: string,
  ) => Readonly<Record<string, Readonly<Record<string, unknown>>>> = () => ({}),
): Promise<Consoles> {
  const region = await layRegion({
    instances: ["own"],
    nodes: 2,
    replicas: 0,
    admin: true,
    settings: { admin: { requestsPerSecond: 100_000 } },
  });
  const originOf = (node: NodeProcess, at: 0 | 1) => `https://${hosts[at]}:${node.admin}`;
  const origins = [originOf(region.node(0), 0), originOf(region.node(1), 1)] as const;
  for (const [at, origin] of origins.entries()) {
    const { configFile } = region.node(at);
    const config = parse(await readFile(configFile, "utf8")) as { admin: object };
    const { console: more, ...others } = admin(origin);
    const console = { nodes: origins.filter((one) => one !== origin), ...more };
    config.admin = { ...config.admin, ...others, console };
    await writeFile(configFile, stringify(config));
  }
  return { region, origins };
}
