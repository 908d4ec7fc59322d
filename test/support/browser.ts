import { existsSync } from "node:fs";
import { until } from "@holdfast/testing";
import axe from "axe-core";
import {
  type Browser,
  type BrowserContext,
  chromium,
  type Frame,
  type Locator,
  type Page,
  type Route,
} from "playwright-core";

/** Debian's Chromium. */
const chromiumProgram = "/usr/bin/chromium";

/** What browser tests need and this machine lacks. */
export const browserMissing = existsSync(chromiumProgram) ? [] : ["chromium"];

/** The same for the name of a test that is skipped without it. */
export const browserNote = `needs chromium; missing: ${browserMissing.join() || "none"}`;

/** A busy machine is slow; these tests wait for what they need. */
const waitMs = 300_000;

/** How long one try of a form waits for its button. */
export const tryOnce = { timeout: 2000 } as const;

/** Starts the browser. */
export function startBrowser(args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumProgram, args: [...args] });
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
export async function enter(
  page: Page,
  origin: string,
  path: string,
  token: string,
): Promise<void> {
  await page.goto(`${origin}/console/#${path}`);
  await page.getByLabel("Token").waitFor();
  const entered = page.getByRole("button", { name: "Sign out" });
  const sent = async () => {
    await page.getByLabel("Token").fill(token, tryOnce);
    await page.getByRole("button", { name: "Sign in" }).click(tryOnce);
  };
  // A busy node may refuse it for a moment; that empties the field.
  await until("somebody is signed in", async () => {
    await sent().catch(() => undefined);
    await entered.or(page.getByRole("alert")).first().waitFor();
    return (await entered.count()) > 0;
  });
}

/** Holds requests for an address until the function that this returns is called; then `handle` gets them. */
export async function holdRequests(
  page: Page,
  address: string,
  handle = (route: Route): Promise<void> => route.continue(),
  options: { readonly times?: number } = {},
): Promise<() => void> {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const held = async (route: Route) => {
    await released;
    await handle(route);
  };
  await page.route(address, held, options);
  return release;
}

/** Does something again until it has had its effect: a busy machine may keep the node from doing it. */
export async function doUntil(
  what: string,
  isDone: () => Promise<boolean>,
  act: () => Promise<unknown>,
): Promise<void> {
  await until(what, async () => {
    if (await isDone()) return true;
    await act().catch(() => undefined);
    return false;
  });
}

/** Sends a form, again while it is refused, until something is in sight. */
export function sendUntil(shown: Locator, send: () => Promise<unknown>): Promise<void> {
  return doUntil("the form is sent", async () => (await shown.count()) > 0, send);
}

/** The same by a button. */
export function clickUntil(shown: Locator, button: Locator): Promise<void> {
  return sendUntil(shown, () => button.click(tryOnce));
}

/** Sends the form of the dialog that a click opened, again while it is refused, until the dialog is closed. */
export async function sendDialog(page: Page, name: string): Promise<void> {
  const dialog = page.getByRole("dialog");
  // It opens a moment after the click.
  await dialog.waitFor();
  const buttons = dialog.getByRole("button", { name: new RegExp(`^(${name}|Close)$`) });
  const isClosed = async () => (await dialog.count()) === 0;
  await doUntil(`the dialog ${name} is closed`, isClosed, () => buttons.click(tryOnce));
}

/** Sends the form of the open dialog, again while it is refused; looks at what it shows after that, and closes it. */
export async function sendForm(
  page: Page,
  shown?: (dialog: Locator) => Promise<void>,
): Promise<void> {
  const dialog = page.getByRole("dialog");
  const sends = dialog.locator("button[type=submit]");
  const closes = dialog.getByRole("button", { name: "Close" });
  const isSent = async () => (await dialog.count()) === 0 || (await closes.count()) > 0;
  await doUntil("the form is sent", isSent, () => sends.click(tryOnce));
  if ((await closes.count()) > 0) {
    await shown?.(dialog);
    await closes.click();
  } else if (shown !== undefined) {
    throw new Error("the dialog is closed, and showed nothing");
  }
  await dialog.waitFor({ state: "detached" });
}

/** WCAG 2.2 AA, in the words of axe-core. */
const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** What is wrong with how a page looks: violations in each theme, and what is wider than a small screen. */
export async function unfitParts(page: Page): Promise<readonly string[]> {
  const found: string[] = [];
  for (const theme of ["light", "dark"]) {
    await page.evaluate(`document.body.setAttribute("cds-theme", "${theme}")`);
    found.push(...(await violationsOf(page)).map((violation) => `${theme}: ${violation}`));
  }
  await page.setViewportSize({ width: 360, height: 640 });
  const wider = Number(await page.evaluate("document.documentElement.scrollWidth - innerWidth"));
  if (!(wider <= 0)) found.push(`${wider} pixels too wide`);
  await page.setViewportSize({ width: 1280, height: 720 });
  return found;
}

/** What axe-core complains about in a page or a frame, each with the first place. */
export async function violationsOf(page: Page | Frame): Promise<readonly string[]> {
  await page.evaluate(axe.source);
  const found = (await page.evaluate(`axe.run({ runOnly: ${JSON.stringify(rules)} })`)) as {
    readonly violations: readonly {
      readonly id: string;
      readonly nodes: readonly { readonly html: string }[];
    }[];
  };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}
