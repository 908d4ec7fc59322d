import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AdminClient } from "@holdfast/admin";
import { pages } from "@holdfast/console/pages";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { browserMissing, chromiumProgram, violationsOf } from "../support/browser.ts";
import { commandLine } from "../support/command-line.ts";

/** Loopback addresses that only this process uses. */
const network = `127.${1 + ((process.pid >> 8) % 250)}.${process.pid & 255}`;
const addresses = [21, 22, 23, 24].map((host) => `${network}.${host}`).join();

interface ClusterFile {
  readonly nodes: readonly { readonly node: string; readonly admin: string }[];
  readonly ca: string;
  readonly managerToken: string;
  readonly console: string;
}

const waitMs = 120_000;

const folder = mkdtempSync(join(tmpdir(), "holdfast-browser-"));
const dev = async (...words: readonly string[]) => {
  const args = ["dev", ...words, "--dir", folder];
  const said = await commandLine(args, { env: process.env, withinMs: 3 * waitMs });
  expect(said, words.join(" ")).toMatchObject({ code: 0 });
  return said.out.trim();
};
const browserless = describe.skipIf(browserMissing.length > 0);

browserless(`the web console (needs chromium; missing: ${browserMissing.join() || "none"})`, () => {
  let file: ClusterFile;
  let token = "";
  let client: AdminClient;
  let chrome: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complains about, apart from requests that a node refuses. */
  const told: string[] = [];

  beforeAll(async () => {
    await dev("start", "--detach", "--addresses", addresses, "--port", "5800");
    file = JSON.parse(readFileSync(join(folder, "cluster.json"), "utf8")) as ClusterFile;
    token = readFileSync(file.managerToken, "utf8").trim();
    client = new AdminClient({
      urls: file.nodes.map(({ admin }) => `https://${admin}`),
      ca: readFileSync(file.ca, "utf8"),
      token,
    });
    chrome = await chromium.launch({ executablePath: chromiumProgram });
  });

  afterAll(async () => {
    await chrome?.close();
    await client?.[Symbol.asyncDispose]();
    await commandLine(["dev", "stop", "--dir", folder], { env: process.env });
    rmSync(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    context = await chrome.newContext({ ignoreHTTPSErrors: true, reducedMotion: "reduce" });
    // A busy machine is slow; these tests wait for what they need.
    context.setDefaultTimeout(waitMs);
    page = await context.newPage();
    told.length = 0;
    page.on("console", (message) => {
      if (!message.text().startsWith("Failed to load resource")) told.push(message.text());
    });
    page.on("pageerror", (error) => told.push(error.message));
    return () => context.close();
  });

  /** Opens a place of the console, signed in. */
  async function enter(path = "/", secret = token): Promise<void> {
    await page.goto(`${file.console}#${path}`);
    await page.getByLabel("Token").fill(secret);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  }

  const go = (path: string) => page.evaluate(`location.hash = ${JSON.stringify(path)}`);
  const settled = () => page.getByText("Loading…").first().waitFor({ state: "detached" });

  test("is entered once with a link, and leaves no secret where scripts or people find it", async () => {
    const link = await dev("console");
    await page.goto(link);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    expect(page.url()).toBe(`${file.console}#/`);
    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({ httpOnly: true, secure: true, sameSite: "Strict" });
    const kept = await page.evaluate(
      "JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML])",
    );
    expect(kept).not.toContain(token);
    expect(told).toEqual([]);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    await page.goto("about:blank");
    await page.goto(link);
    await page.getByText("this link was used already").waitFor();
  });

  test("has no page that axe-core complains about, in both themes, nor one that is wider than a small screen", async () => {
    await client.call("createInstance", {
      body: {
        name: "Blick",
        rootOfTrust: { regions: { a: { type: "local" }, b: { type: "local" } } },
      },
    });
    await enter();
    const paths = pages.flatMap(({ path }) =>
      /\{(key|certificate|approval)\}/.test(path) ? [] : [path.replace("{instance}", "demo")],
    );
    for (const path of ["/", "/watch", ...paths, "/instances/demo/connect", "/nowhere"]) {
      await page.setViewportSize({ width: 1280, height: 900 });
      await go(path);
      await page.locator("h1").waitFor();
      await settled();
      for (const theme of ["light", "dark"]) {
        await page.evaluate(`document.body.setAttribute("cds-theme", "${theme}")`);
        expect(await violationsOf(page), `${path} ${theme}`).toEqual([]);
      }
      await page.setViewportSize({ width: 360, height: 640 });
      const wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect(wider, `${path}: pixels too wide`).toBeLessThanOrEqual(0);
    }
    expect(told).toEqual([]);
  });

  test("orders, changes and deletes an instance, by keyboard, and shows markup as text", async () => {
    const markup = '<img src=x onerror="alert(1)"> \u202eabc';
    await enter("/instances");
    await page.getByRole("button", { name: "Order instance" }).press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("by-hand");
    await dialog.getByLabel("Description").fill(markup);
    for (const region of ["a", "b"]) {
      await dialog
        .getByRole("group", { name: `Region ${region}` })
        .getByLabel("Kind")
        .selectOption("local");
    }
    await dialog.getByRole("button", { name: "Check first" }).press("Enter");
    await dialog.getByText("Nothing was changed").waitFor();
    await dialog.getByText("The same on the command line").click();
    await dialog.getByText("--root a:local --root b:local").waitFor();
    await dialog.getByRole("button", { name: "Order instance" }).press("Enter");
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("link", { name: "by-hand" }).press("Enter");
    await page.getByText(markup).waitFor();
    const made = await client.call("readInstance", { params: { instance: "by-hand" } });
    expect(made).toMatchObject({ description: markup });
    await page.getByRole("button", { name: "Delete instance" }).press("Enter");
    const sends = dialog.getByRole("button", { name: "Delete instance" });
    expect(await sends.isDisabled()).toBe(true);
    await dialog.getByLabel("To confirm").fill("by-hand");
    await sends.press("Enter");
    await page.getByText("Delete instance: done.").waitFor();
    expect(told).toEqual([]);
  });

  test("asks for the name again before keys become unreadable, and deletes nothing with another name", async () => {
    await client.call("createInstance", {
      body: {
        name: "with-keys",
        rootOfTrust: { regions: { a: { type: "local" }, b: { type: "local" } } },
      },
    });
    await enter("/instances/demo");
    await page.getByRole("button", { name: "Shred keys" }).click();
    const dialog = page.getByRole("dialog");
    const sends = dialog.getByRole("button", { name: "Shred keys" });
    for (const text of ["", "another", "dem", "Demo"]) {
      await dialog.getByLabel("To confirm").fill(text);
      expect(await sends.isDisabled(), text).toBe(true);
    }
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    const still = await client.call("readInstance", { params: { instance: "demo" } });
    expect(still.status).toBe("Installed");
  });

  test("shows a token once, and offers no action that the role does not have", async () => {
    await enter("/access/tokens");
    await page.getByRole("button", { name: "Create token" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("looks only");
    await dialog.getByLabel("viewer").check();
    await dialog.getByRole("button", { name: "Create token" }).click();
    await dialog.getByText("it is shown only once").waitFor();
    const secret = String(await dialog.locator("code").first().textContent());
    await dialog.getByRole("button", { name: "Close" }).click();
    expect(await page.locator("body").textContent()).not.toContain(secret);
    await page.getByRole("button", { name: "Sign out" }).click();
    await enter("/instances", secret);
    await page.getByRole("link", { name: "demo" }).waitFor();
    expect(await page.getByRole("button", { name: "Order instance" }).count()).toBe(0);
    expect(await page.getByRole("link", { name: "Tokens" }).count()).toBe(0);

    // Revoked while it is signed in.
    await client.call("revokeToken", { params: { token: "looks only" } });
    await page.getByLabel("Token").waitFor();
  });

  test("makes a user whose name the page does not give, changes one field, and lists what nothing uses", async () => {
    await enter("/instances/Blick/users");
    await page.getByRole("button", { name: "Set user" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("User (required)").fill("esx");
    await dialog.getByLabel("Password").fill("a good long password");
    await dialog.getByRole("button", { name: "Set user" }).click();
    await page.getByRole("cell", { name: "esx" }).waitFor();
    await page.getByRole("button", { name: "Delete user" }).click();
    await dialog.getByText("This concerns esx").waitFor();
    await dialog.getByRole("button", { name: "Delete user" }).click();
    await page.getByText("Delete user: done.").waitFor();

    await go("/instances/demo/keys");
    await page.getByRole("button", { name: "Find unused keys" }).click();
    const lines = dialog.getByRole("textbox", { name: /Identifiers in use/ });
    await lines.pressSequentially("00000000-0000-4000-8000-000000000000\nnot-a-key");
    await dialog.getByRole("button", { name: "Find unused keys" }).click();
    await dialog.getByRole("alert").waitFor();

    await go("/instances/Blick");
    await page.getByRole("button", { name: "Update instance" }).click();
    await dialog.getByRole("textbox", { name: /^Labels/ }).fill("group=finance");
    await dialog.getByRole("button", { name: "Update instance" }).click();
    await page.getByText("Update instance: done.").waitFor();
    const { labels, name } = await client.call("readInstance", { params: { instance: "Blick" } });
    expect({ labels, name }).toEqual({ labels: { group: "finance" }, name: "Blick" });
  });

  test("keeps a person signed in while the service refuses, and shows a wrong address as not found", async () => {
    await enter("/instances");
    await page.route("**/v1/whoami", (route) =>
      route.fulfill({ status: 503, json: { code: "storeUnavailable", detail: "later" } }),
    );
    await page.waitForResponse((answer) => answer.url().endsWith("/v1/whoami"));
    await go("/%");
    await page.getByRole("heading", { name: "Not found" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  });

  test("shows events as they happen, each once", async () => {
    await enter("/events?action=*kmip-token.create".replace("*", ""));
    await go("/events");
    await settled();
    await client.call("createToken", { body: { name: "seen live", roles: ["viewer"] } });
    const row = page.getByRole("row").filter({ hasText: "seen live" });
    await row.filter({ hasText: "success" }).first().waitFor();
    await expect.poll(() => row.filter({ hasText: "pending" }).count()).toBe(0);
  });

  test("watches the service survive: a region is killed under load, and nothing is lost", async () => {
    await enter("/watch");
    await page.getByRole("button", { name: "Start the load" }).click();
    const count = async (name: string) => {
      const text = await page.locator(`[data-count="${name}"]`).textContent();
      return Number(String(text).replaceAll(",", ""));
    };
    await expect.poll(() => count("made")).toBeGreaterThan(20);
    await page.getByLabel("Part").selectOption("region-b");
    await page.getByRole("button", { name: "Kill" }).click();
    await page.getByText("is killed (SIGKILL)").first().waitFor();
    const then = await count("made");
    await expect.poll(() => count("made")).toBeGreaterThan(then + 20);
    await page.getByRole("button", { name: "Heal all" }).click();
    await page.locator(".line").getByText("up", { exact: true }).waitFor();
    await expect.poll(() => count("fetched")).toBeGreaterThan(20);
    expect(await count("lost")).toBe(0);
    await page.getByRole("button", { name: "Stop the load" }).click();
    await page.getByRole("button", { name: "Start the load" }).waitFor();
  });

  test("shows a cut line, and continues with another node when its own dies", async () => {
    await enter();
    await page.getByText("both regions have everything").waitFor();
    await dev("cut");
    await page
      .getByText(/cannot reach [ab]/)
      .first()
      .waitFor();
    await dev("heal");
    await page.getByText("both regions have everything").waitFor();
    await go("/instances");
    await dev("kill", "a1", "--stay");
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("does not answer: the console continues with").waitFor();
    await page.getByRole("link", { name: "demo" }).waitFor();
    await page.getByRole("button", { name: "Order instance" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("despite-a-dead-node");
    await dialog.getByRole("button", { name: "Order instance" }).click();
    await page.getByRole("link", { name: "despite-a-dead-node" }).waitFor();
    await dev("heal");
  });
});
