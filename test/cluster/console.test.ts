import { pages } from "@holdfast/console/pages";
import { until } from "@holdfast/testing";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  browserMissing,
  browserNote,
  doUntil,
  enter,
  holdRequests,
  openPage,
  sendDialog,
  sendUntil,
  startBrowser,
  tryOnce,
  unfitParts,
  violationsOf,
} from "../support/browser.ts";
import { show } from "../support/console.ts";
import { ConsoleCluster } from "../support/console-cluster.ts";
import { answered, createKey } from "../support/keys.ts";

const nobody = "00000000-0000-4000-8000-000000000000";

/** Within this time a person who looks at the Overview sees that the line is cut. */
const cutShownMs = 3000;

/** An expression that cuts the line and waits until the page says so; how long that took by the page's clock, ms. */
const cutAndWait = `(async () => {
  const began = performance.now();
  const headers = { "content-type": "application/json", "x-holdfast-console": "1" };
  const body = JSON.stringify({ fault: "cut", parts: [], stay: true });
  await fetch("/console/switches", { method: "POST", headers, body });
  const line = () => document.querySelector(".line")?.textContent ?? "";
  while (!/cannot reach [ab]/.test(line())) await new Promise((go) => setTimeout(go, 20));
  return performance.now() - began;
})()`;

const browserless = describe.skipIf(browserMissing.length > 0);

browserless(`the web console (${browserNote})`, () => {
  let cluster: ConsoleCluster;
  let chrome: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complains about, apart from requests that a node refuses. */
  let told: readonly string[] = [];

  beforeAll(async () => {
    cluster = await ConsoleCluster.start([21, 22, 23, 24]);
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

  const open = (path = "/", secret = cluster.token) => enter(page, cluster.origin, path, secret);
  const go = (path: string) => page.evaluate(`location.hash = ${JSON.stringify(path)}`);
  const settled = () => page.getByText("Loading…").first().waitFor({ state: "detached" });

  test("is entered once with a link, and leaves no secret where scripts or people find it", async () => {
    const link = await cluster.dev("console");
    await page.goto(link);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    expect(page.url()).toBe(`${cluster.console}#/`);
    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({ httpOnly: true, secure: true, sameSite: "Strict" });
    const kept = await page.evaluate(
      "JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML])",
    );
    expect(kept).not.toContain(cluster.token);
    expect(told).toEqual([]);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    // A node may be slow to end the session, and a link changes nothing for who is signed in.
    await until("the end of the session", async () => (await context.cookies()).length === 0);
    await page.goto("about:blank");
    await page.goto(link);
    await page.getByText("this link was used already").waitFor();
  });

  test("has no page that axe-core complains about, in both themes, nor one that is wider than a small screen", async () => {
    await cluster.order("Blick");
    const named = { instance: "Blick", ...(await thingsOf("Blick")), approval: nobody };
    const filled = (path: string) =>
      path.replaceAll(/\{(\w+)\}/g, (_, name: string) => named[name as keyof typeof named]);
    await open();
    for (const [path, title] of [
      ["/", "Overview"],
      ["/watch", "Watch it survive"],
      ["/order", "Order an instance"],
      ["/instances/demo", "Instance"],
      ["/instances/demo/connect", "Connect vCenter"],
      // What is not there.
      ["/instances/nowhere", "Instance"],
      [`/instances/demo/keys/${nobody}`, "Key"],
      ...pages.map((one) => [filled(one.path), one.title] as const),
    ] as const) {
      await show(page, path, title);
      expect(await unfitParts(page), path).toEqual([]);
    }
    await go("/nowhere");
    await page.getByRole("heading", { name: "Not found" }).waitFor();
    expect(await unfitParts(page), "not found").toEqual([]);
    await go("/deny-list");
    await page.getByText("No client is shut out.").waitFor();
    expect(await unfitParts(page), "an empty list").toEqual([]);
    expect(told).toEqual([]);
  });

  test("is never wider than a small screen because of a chart that still has its old size", async () => {
    await page.addInitScript("window.ResizeObserver = class { observe() {} disconnect() {} };");
    await open("/watch");
    await page.locator(".chart canvas").waitFor();
    expect(await unfitParts(page)).toEqual([]);
  });

  test("has nothing that axe-core complains about while a page loads, nor when a node refuses it", async () => {
    const json = { code: "storeUnavailable", detail: "the store does not answer" };
    const release = await holdRequests(page, "**/v1/tokens**", (route) =>
      route.fulfill({ status: 503, json }),
    );
    await open("/access/tokens");
    await page.getByText("Loading…").first().waitFor();
    expect(await unfitParts(page), "loading").toEqual([]);
    release();
    await page.getByRole("button", { name: "Try again" }).waitFor();
    expect(await unfitParts(page), "refused").toEqual([]);
    expect(told).toEqual([]);
  });

  /** A key and a certificate of an instance. */
  async function thingsOf(instance: string): Promise<{ key: string; certificate: string }> {
    const body = { name: "for the pages" };
    const params = { instance };
    const asked = { params, body };
    const { certificate, ...issued } = await cluster.admin.call<"issuePair">("issuePair", asked);
    const pair = { certificate: issued.pem, key: issued.privateKey };
    await using client = await cluster.client(instance, pair);
    const key = await answered(() => createKey(client));
    return { key, certificate: certificate.id };
  }

  test("orders, changes and deletes an instance, by keyboard, and shows markup as text", async () => {
    const markup = '<img src=x onerror="alert(1)"> \u202eabc';
    await open("/instances");
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
    const press = (name: string) => dialog.getByRole("button", { name }).press("Enter", tryOnce);
    await sendUntil(dialog.getByText("Nothing was changed"), () => press("Check first"));
    await dialog.getByText("The same on the command line").click();
    await dialog.getByText("--root a:local --root b:local").waitFor();
    const made = page.getByRole("link", { name: "by-hand" });
    await sendUntil(made, () => press("Order instance"));
    await dialog.waitFor({ state: "detached" });
    await made.press("Enter");
    await page.getByText(markup).waitFor();
    const read = await cluster.admin.call("readInstance", { params: { instance: "by-hand" } });
    expect(read).toMatchObject({ description: markup });
    await page.getByRole("button", { name: "Delete instance" }).press("Enter");
    const sends = dialog.getByRole("button", { name: "Delete instance" });
    expect(await sends.isDisabled()).toBe(true);
    await dialog.getByLabel("To confirm").fill("by-hand");
    await sendUntil(page.getByText("Delete instance: done."), () => press("Delete instance"));
    expect(told).toEqual([]);
  });

  test("asks for the name again before keys become unreadable, and deletes nothing with another name", async () => {
    await cluster.admin.call("createInstance", {
      body: {
        name: "with-keys",
        rootOfTrust: { regions: { a: { type: "local" }, b: { type: "local" } } },
      },
    });
    await open("/instances/demo");
    await page.getByRole("button", { name: "Shred keys" }).click();
    const dialog = page.getByRole("dialog");
    const sends = dialog.getByRole("button", { name: "Shred keys" });
    for (const text of ["", "another", "dem", "Demo"]) {
      await dialog.getByLabel("To confirm").fill(text);
      expect(await sends.isDisabled(), text).toBe(true);
    }
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    const still = await cluster.admin.call("readInstance", { params: { instance: "demo" } });
    expect(still.status).toBe("Installed");
  });

  test("shows a token once, and offers no action that the role does not have", async () => {
    await open("/access/tokens");
    await page.getByRole("button", { name: "Create token" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("looks only");
    await dialog.getByLabel("viewer").check();
    const creates = dialog.getByRole("button", { name: "Create token" });
    await sendUntil(dialog.getByText("it is shown only once"), () => creates.click(tryOnce));
    const secret = String(await dialog.locator("code").first().textContent());
    // Chromium asks a page only once whether it minds.
    for (const _ of [1, 2, 3]) await page.keyboard.press("Escape");
    expect(await dialog.locator("code").first().textContent()).toBe(secret);
    await dialog.getByRole("button", { name: "Close" }).click();
    expect(await page.locator("body").textContent()).not.toContain(secret);
    await page.getByRole("button", { name: "Sign out" }).click();
    await open("/instances", secret);
    await page.getByRole("link", { name: "demo" }).waitFor();
    expect(await page.getByRole("button", { name: "Order instance" }).count()).toBe(0);
    expect(await page.getByRole("link", { name: "Tokens" }).count()).toBe(0);

    // Revoked while it is signed in.
    await cluster.admin.call("revokeToken", { params: { token: "looks only" } });
    await page.getByLabel("Token").waitFor();
  });

  test("keeps a form and a secret that is shown once, if the session ends meanwhile", async () => {
    await open("/access/tokens");
    await page.getByRole("button", { name: "Create token" }).click();
    const dialog = page.getByRole("dialog", { name: "Create token" });
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("kept open");
    await dialog.getByLabel("viewer").check();
    const stays = page.getByText("The page that you had open stays");
    const signInAgain = async () => {
      await stays.waitFor();
      await page.keyboard.press("Escape");
      expect(await violationsOf(page)).toEqual([]);
      const isIn = async () => (await stays.count()) === 0;
      await doUntil("somebody is signed in again", isIn, async () => {
        await page.locator("#token").fill(cluster.token, tryOnce);
        await page.getByRole("button", { name: "Sign in", exact: true }).click(tryOnce);
      });
    };
    await context.clearCookies();
    await signInAgain();
    const creates = dialog.getByRole("button", { name: "Create token" });
    await sendUntil(dialog.getByText("it is shown only once"), () => creates.click(tryOnce));
    const secret = String(await dialog.locator("code").first().textContent());
    await context.clearCookies();
    await signInAgain();
    expect(await dialog.locator("code").first().textContent()).toBe(secret);
    await dialog.getByRole("button", { name: "Close" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Token").waitFor();
    expect(await stays.count()).toBe(0);
    expect(told).toEqual([]);
  });

  test("offers to stop the change of the approval policy that waits, and shows the text in effect", async () => {
    const id = "00000000-0000-4000-8000-000000000001";
    const part = { approvals: 1, approvers: [], breakGlass: [], actions: [] };
    const rest = { digest: "ab".repeat(32), effectiveAt: new Date().toISOString(), instances: [] };
    const items = [
      { id: "00000000-0000-4000-8000-000000000000", version: 1, state: "in-force" },
      { id, version: 2, state: "waiting" },
    ].map((one) => ({ ...one, ...part, ...rest }));
    await page.route("**/v1/approval-policy", (route) =>
      route.fulfill({ json: { items, text: "holdfast-approval-policy-1\n" } }),
    );
    await open("/access/approval-policy");
    const row = page.getByRole("row").filter({ hasText: id });
    await row.getByText("abab").waitFor();
    await page.getByText("The text in effect").click();
    await page.getByText("holdfast-approval-policy-1").waitFor();
    expect(await violationsOf(page)).toEqual([]);
    expect(await page.getByRole("button", { name: "Stop a change" }).count()).toBe(1);
    await row.getByRole("button", { name: "Stop a change" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(`This concerns ${id}`).waitFor();
    expect(await dialog.getByLabel(/^Policy/).count()).toBe(0);
    expect(told).toEqual([]);
  });

  test("makes a user whose name the page does not give, changes one field, and lists what nothing uses", async () => {
    await open("/instances/Blick/users");
    await page.getByRole("button", { name: "Set user" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("User (required)").fill("esx");
    await dialog.getByLabel("Password").fill("a good long password");
    const click = (name: string) => dialog.getByRole("button", { name }).click(tryOnce);
    await sendUntil(page.getByRole("cell", { name: "esx" }), () => click("Set user"));
    await page.getByRole("button", { name: "Delete user" }).click();
    await dialog.getByText("This concerns esx").waitFor();
    await sendUntil(page.getByText("Delete user: done."), () => click("Delete user"));

    await go("/instances/demo/keys");
    await page.getByRole("button", { name: "Find unused keys" }).click();
    const lines = dialog.getByRole("textbox", { name: /Identifiers in use/ });
    await lines.pressSequentially("00000000-0000-4000-8000-000000000000\nnot-a-key");
    await dialog.getByRole("button", { name: "Find unused keys" }).click();
    await dialog.getByRole("alert").waitFor();

    await go("/instances/Blick");
    await page.getByRole("button", { name: "Update instance" }).click();
    await dialog.getByRole("textbox", { name: /^Labels/ }).fill("group=finance");
    const done = page.getByText("Update instance: done.");
    await sendUntil(done, () => click("Update instance"));
    // The page shows this once. It is gone when the person comes back.
    await go("/instances/Blick/keys");
    await done.waitFor({ state: "detached" });
    await go("/instances/Blick");
    await page.getByRole("button", { name: "Update instance" }).waitFor();
    expect(await done.count()).toBe(0);
    const { labels, name } = await cluster.admin.call("readInstance", {
      params: { instance: "Blick" },
    });
    expect({ labels, name }).toEqual({ labels: { group: "finance" }, name: "Blick" });
  });

  test("keeps a person signed in while the service refuses, and shows a wrong address as not found", async () => {
    await open("/instances");
    await page.route("**/v1/whoami", (route) =>
      route.fulfill({ status: 503, json: { code: "storeUnavailable", detail: "later" } }),
    );
    await page.waitForResponse((answer) => answer.url().endsWith("/v1/whoami"));
    await go("/%");
    await page.getByRole("heading", { name: "Not found" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  });

  test("shows events as they happen, each once", async () => {
    await open("/events?action=*kmip-token.create".replace("*", ""));
    await go("/events");
    await settled();
    await page.getByText("Live: events are added as they happen.").waitFor();
    await cluster.admin.call("createToken", { body: { name: "seen live", roles: ["viewer"] } });
    const row = page.getByRole("row").filter({ hasText: "seen live" });
    await row.filter({ hasText: "success" }).first().waitFor();
    await expect.poll(() => row.filter({ hasText: "pending" }).count()).toBe(0);
  });

  test("shows the storage key of each region, and rotates that of the row", async () => {
    await open("/storage-key");
    const row = (region: string) =>
      page.getByRole("row").filter({ has: page.getByRole("cell", { name: region, exact: true }) });
    const numberOf = (region: string) => row(region).getByRole("cell").nth(1).textContent();
    await row("b").getByRole("button", { name: "Rotate storage key" }).click();
    await page.getByRole("dialog").getByText("This concerns region b").waitFor();
    await sendDialog(page, "Rotate storage key");
    await expect.poll(() => numberOf("b")).toBe("2");
    expect(await numberOf("a")).toBe("1");
    expect(told).toEqual([]);
  });

  test("shows each node's certificate as the node itself tells it, with colons in its SHA-1", async () => {
    await open("/server-certificates");
    const rows = page.locator(".rows tbody tr");
    await rows.first().waitFor();
    const reported = rows.filter({ hasNotText: "now, by the node itself" });
    await expect
      .poll(async () => {
        await page.getByRole("button", { name: "Refresh" }).click();
        return reported.count();
      })
      .toBe(0);
    await rows
      .first()
      .getByText(/^([\dA-F]{2}:){19}[\dA-F]{2}$/)
      .waitFor();
  });

  test("says that events are not live, and follows them again", async () => {
    await open("/");
    await page.route("**/v1/events/stream*", (route) => route.abort());
    await go("/events");
    await page.getByText("Not live since").waitFor();
    expect(await violationsOf(page)).toEqual([]);
    await page.unroute("**/v1/events/stream*");
    await page.getByRole("button", { name: "Follow again" }).click();
    await page.getByText("Live: events are added as they happen.").waitFor();
    const body = { name: "seen live again", roles: ["viewer" as const] };
    await cluster.admin.call("createToken", { body });
    await page.getByRole("row").filter({ hasText: "seen live again" }).first().waitFor();
  });

  test("watches the service survive: a region is killed under load, and nothing is lost", async () => {
    const params = { instance: "demo" };
    const keys = async () => (await cluster.admin.call("countKeys", { params })).total;
    const before = await keys();
    await open("/watch");
    await page.getByRole("button", { name: "Start the load" }).click();
    const count = async (name: string) => {
      const text = await page.locator(`[data-count="${name}"]`).textContent();
      return Number(String(text).replaceAll(",", ""));
    };
    await expect.poll(() => count("made")).toBeGreaterThan(20);
    await page.getByLabel("Part").selectOption("region-b");
    await page.getByText("The same on the command line").click();
    await page.getByText("npx holdfast dev kill region-b --stay").waitFor();
    await page.getByRole("button", { name: "Kill", exact: true }).click();
    await page.getByText("is killed (SIGKILL)").first().waitFor();
    const then = await count("made");
    await expect.poll(() => count("made")).toBeGreaterThan(then + 20);
    await page.getByRole("button", { name: "Heal all" }).click();
    await page.locator(".line").getByText("up", { exact: true }).waitFor();
    await expect.poll(() => count("fetched")).toBeGreaterThan(20);
    expect(await count("lost")).toBe(0);
    await page.getByRole("button", { name: "Stop the load" }).click();
    await page.getByRole("button", { name: "Start the load" }).waitFor();
    // Some were made whose answer was lost; none is counted that is not there.
    const made = await count("made");
    await expect.poll(async () => (await keys()) - before).toBeGreaterThanOrEqual(made);
  });

  test("shows a cut line, and continues with another node when its own dies", async () => {
    await open();
    await page.getByText("The same on the command line").click();
    await page.getByText("holdfast doctor", { exact: true }).waitFor();
    // A machine that is busy with other work shows it later: one of several cuts must be shown in time.
    await until("a cut line is shown within 3 s", async () => {
      await page.getByText("both regions have everything").waitFor();
      const shownMs = Number(await page.evaluate(cutAndWait));
      await cluster.dev("heal");
      return shownMs <= cutShownMs || new Error(`it was shown after ${shownMs} ms`);
    });
    await page.getByText("both regions have everything").waitFor();
    const counters = async () => {
      const { peers } = await cluster.admin.call("readStatus", {});
      return peers.map(({ state, behind = 0, alone = 0 }) => [state, behind, alone]);
    };
    await expect.poll(counters).toEqual([["up", 0, 0]]);
    await go("/instances");
    await cluster.dev("kill", "a1", "--stay");
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("does not answer: the console continues with").waitFor();
    await page.getByRole("link", { name: "demo" }).waitFor();
    await page.getByRole("button", { name: "Order instance" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: /^Name/ }).fill("despite-a-dead-node");
    await sendDialog(page, "Order instance");
    await page.getByRole("link", { name: "despite-a-dead-node" }).waitFor();
    await cluster.dev("heal");
  });
});
