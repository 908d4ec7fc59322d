import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { until } from "@holdfast/testing";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { parse, stringify } from "yaml";
import type { NodeProcess } from "./node-process.ts";
import { layRegion, type Region } from "./region.ts";

const program = "/usr/bin/chromium";
/** What these tests need and this machine does not have. */
export const missing: readonly string[] = existsSync(program) ? [] : ["chromium"];
const waitMs = 120_000;

/** Starts the browser. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: program });
}

/** A page of a browser without cookies, and what the browser complains about there. */
export interface Opened extends AsyncDisposable {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Without requests that a node refuses. */
  readonly told: readonly string[];
}

/** Opens a page in a new context. */
export async function openPage(
  chrome: Browser,
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<Opened> {
  const context = await chrome.newContext({ ignoreHTTPSErrors: true, ...options });
  // A busy machine is slow; these tests wait for what they need.
  context.setDefaultTimeout(waitMs);
  const page = await context.newPage();
  const told: string[] = [];
  page.on("console", (message) => {
    if (!message.text().startsWith("Failed to load resource")) told.push(message.text());
  });
  page.on("pageerror", (error) => told.push(error.message));
  return { context, page, told, [Symbol.asyncDispose]: () => context.close() };
}

/** Opens a place of a node's console, and signs in with a token. */
export async function enter(page: Page, origin: string, path: string, token: string) {
  await page.goto(`${origin}/console/#${path}`);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Goes to another place of the console, and waits until it is shown. */
export async function show(page: Page, path: string, title: string): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(path)}`);
  await until(`the page ${title}`, async () => (await page.title()) === `${title} – Holdfast`);
  await until("nothing is on its way", async () => {
    return (await page.getByText("Loading…").count()) === 0;
  });
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
