import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  browserMissing,
  browserNote,
  clickUntil,
  doUntil,
  enter,
  holdRequests,
  openPage,
  startBrowser,
  tryOnce,
} from "../support/browser.ts";
import { show } from "../support/console.ts";
import { ConsoleCluster } from "../support/console-cluster.ts";
import { answered, createKey } from "../support/keys.ts";

const focused = "document.activeElement?.textContent";

describe.skipIf(browserMissing.length > 0)(`parts of the console's pages (${browserNote})`, () => {
  let cluster: ConsoleCluster;
  let chrome: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complains about, apart from requests that a node refuses. */
  let told: readonly string[] = [];

  beforeAll(async () => {
    cluster = await ConsoleCluster.start([61, 62, 63, 64]);
    chrome = await startBrowser();
  });

  afterAll(async () => {
    await chrome?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    ({ context, page, told } = await openPage(chrome, { reducedMotion: "reduce" }));
    return () => context.close();
  });

  const open = (path: string) => enter(page, cluster.origin, path, cluster.token);
  const dialog = () => page.getByRole("dialog");

  /** Makes a token in a dialog, which then shows its secret. */
  async function makeToken(name: string): Promise<string> {
    await page.getByRole("button", { name: "Create token" }).click();
    await dialog().getByRole("textbox", { name: /^Name/ }).fill(name);
    await dialog().getByLabel("viewer").check();
    const made = dialog().getByText("it is shown only once");
    await clickUntil(made, dialog().getByRole("button", { name: "Create token" }));
    return String(await dialog().locator("code").first().textContent());
  }

  test("puts the focus back on the button that opened a dialog, however that is closed", async () => {
    await open("/access/tokens");
    const opens = page.getByRole("button", { name: "Create token" });
    for (const close of ["Escape", "Cancel"]) {
      await opens.press("Enter");
      await dialog().getByRole("textbox", { name: /^Name/ }).fill("not made");
      if (close === "Escape") await page.keyboard.press(close);
      else await dialog().getByRole("button", { name: close }).press("Enter");
      await dialog().waitFor({ state: "detached" });
      await expect.poll(() => page.evaluate(focused), { message: close }).toBe("Create token");
    }
    await makeToken("focus");
    await dialog().getByRole("button", { name: "Close" }).press("Enter");
    await dialog().waitFor({ state: "detached" });
    await expect.poll(() => page.evaluate(focused), { message: "Close" }).toBe("Create token");
    expect(told).toEqual([]);
  });

  test("keeps a secret that is shown once against Back, another address and a reload, until its dialog is closed", async () => {
    await open("/instances");
    await show(page, "/access/tokens", "Tokens");
    const secret = await makeToken("kept");
    const isKept = async (what: string) => {
      await expect.poll(() => new URL(page.url()).hash, { message: what }).toBe("#/access/tokens");
      expect(await dialog().locator("code").allTextContents(), what).toContain(secret);
    };
    await page.goBack();
    await isKept("Back");
    await page.evaluate('location.hash = "/deny-list"');
    await isKept("an address");
    await page.evaluate('location.hash = "/sign-in?code=a-code"');
    await isKept("a link");
    const asks = page.waitForEvent("dialog");
    await page.evaluate("setTimeout(() => location.reload())");
    const asked = await asks;
    expect(asked.type()).toBe("beforeunload");
    await asked.dismiss();
    await isKept("a reload");
    await dialog().getByRole("button", { name: "Close" }).click();
    await show(page, "/deny-list", "Deny list");
    // A form that was not sent goes with its page.
    await page.getByRole("button", { name: "Shut out a client" }).click();
    await dialog().waitFor();
    await page.goBack();
    await dialog().waitFor({ state: "detached" });
    expect(new URL(page.url()).hash).toBe("#/access/tokens");
    expect(told).toEqual([]);
  });

  test("leaves a person where they are who went on before a key was found", async () => {
    const pair = await cluster.withClient("found", "vcenter-found");
    await using client = await cluster.client("found", pair);
    const id = await answered(() => createKey(client));
    await open("/instances");
    const address = `**/keys/${id}?*`;
    const release = await holdRequests(page, address);
    const search = async () => {
      await page.getByLabel("Key identifier").fill(id);
      await page.getByRole("button", { name: "Go to the key" }).click();
    };
    // The search begins with the instance of this page.
    await show(page, "/instances/found/keys", "Keys");
    const asked = page.waitForRequest(address);
    await search();
    const answer = (await asked).response();
    await show(page, "/instances", "Instances");
    release();
    await (await answer)?.finished();
    // What follows that answer is done before this one has come.
    const refreshes = page.getByRole("button", { name: "Refresh" });
    await refreshes.click();
    await refreshes.and(page.locator(":enabled")).waitFor();
    expect(new URL(page.url()).hash).toBe("#/instances");
    await page.unroute(address);
    await search();
    await page.getByRole("heading", { name: `Key ${id}` }).waitFor();
    expect(told).toEqual([]);
  });

  test("says copied only of the text that is there, and that a browser does not let it copy", async () => {
    await open("/instances");
    await page.getByRole("button", { name: "Order instance" }).click();
    await dialog().getByText("The same on the command line").click();
    const copies = dialog().getByRole("button", { name: "Copy the command" });
    const refuses =
      'navigator.clipboard.writeText = () => Promise.reject(new DOMException("refused"))';
    await page.evaluate(refuses);
    await copies.click();
    const refused = dialog().getByText("The browser does not let this page copy");
    await refused.waitFor();
    await page.evaluate("delete navigator.clipboard.writeText");
    await copies.click();
    await refused.waitFor({ state: "detached" });
    expect(await copies.textContent()).toBe("Copied");
    await dialog().getByRole("textbox", { name: /^Name/ }).fill("changed");
    await expect.poll(() => copies.textContent()).toBe("Copy");
    expect(told).toEqual([]);
  });

  test("says that a node refused to check the trail, beside the verdict of the check before", async () => {
    await open("/events");
    const verify = page.getByRole("region", { name: "Verify the trail" });
    const checks = verify.getByRole("button", { name: "Verify the trail" });
    const whole = verify.getByText("The trail of region a is whole");
    await clickUntil(whole, checks);
    // Two at once could end in any order, and what the later one says would be lost.
    const [address, enabled] = ["**/v1/events/check", checks.and(page.locator(":enabled"))];
    await enabled.waitFor();
    const release = await holdRequests(page, address);
    await checks.click();
    await checks.and(page.locator(":disabled")).waitFor();
    release();
    await enabled.waitFor();
    await page.unroute(address);
    await page.route(address, async (route) => {
      if (route.request().method() !== "POST") return await route.continue();
      const json = { code: "storeUnavailable", detail: "the store does not answer" };
      await route.fulfill({ status: 503, json });
    });
    await checks.click();
    const refused = verify.getByText(/^The check of region a did not begin.*: the store does not/);
    await refused.waitFor();
    await whole.waitFor();
    await page.unroute(address);
    const isGone = async () => (await refused.count()) === 0;
    await doUntil("the refusal is gone", isGone, () => checks.click(tryOnce));
    expect(told).toEqual([]);
  });
});
