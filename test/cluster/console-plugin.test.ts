import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VcenterSession } from "@holdfast/workbench";
import type { Browser, BrowserContext, Frame, Page, Route } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { cryptoKeyId, machine } from "../../packages/server/src/testing/vcenter.ts";
import {
  browserMissing,
  browserNote,
  holdRequests,
  openPage,
  startBrowser,
  violationsOf,
} from "../support/browser.ts";
import { startTwoRegions, type TwoRegions } from "../support/two-regions.ts";
import { credentialsOf, insist } from "../support/two-regions-clients.ts";
import { allWell } from "../support/vitals.ts";
import { VsphereClient } from "../support/vsphere-client.ts";

const instance = "kmip-vms";
const secret = `session-${"s".repeat(40)}`;
const machineId = "4210aa00-0000-4000-8000-00000000beef";

const browserless = describe.skipIf(browserMissing.length > 0);

browserless(`the plug-in (${browserNote})`, () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-plugin-"));
  const stack = new AsyncDisposableStack();
  let client: VsphereClient;
  let both: TwoRegions;
  let chrome: Browser;
  let context: BrowserContext;
  let page: Page;
  /** The key that the machine uses, and one that was made for it earlier. */
  let keys: { readonly used: string; readonly older: string };
  const foreign = randomUUID();
  let told: readonly string[] = [];

  beforeAll(async () => {
    stack.defer(() => rmSync(folder, { recursive: true, force: true }));
    client = stack.use(await VsphereClient.start());
    const { vcenter } = client;
    const ca = join(folder, "vcenter-ca.pem");
    writeFileSync(ca, vcenter.ca);
    both = stack.use(
      await startTwoRegions({
        instances: [instance],
        replicas: 0,
        admin: true,
        settings: { admin: { console: { vcenters: [{ ...vcenter.row, ca }] } } },
      }),
    );
    await allWell(both);
    const [node] = both.nodes;
    if (node === undefined) throw new Error("no node");
    client.server = { host: node.host, port: node.admin, ca: both.a.ca };
    keys = { older: await makeKey(), used: await makeKey() };
    vcenter.objects.set(
      "vm-42",
      machine("web <b>1</b>", machineId, {
        home: cryptoKeyId(keys.used, instance),
        disk: cryptoKeyId(foreign, "another"),
      }),
    );
    vcenter.objects.set("vm-43", machine("plain", randomUUID(), { home: {} }));
    chrome = await startBrowser();
    stack.defer(() => chrome.close());
  });

  afterAll(() => stack.disposeAsync());

  beforeEach(async () => {
    const { vcenter, told: says } = client;
    vcenter.sessions.set(secret, "VSPHERE.LOCAL\\alice");
    Object.assign(says, { object: idOf("vm-42"), theme: "light", locale: "en-US", token: secret });
    ({ context, page, told } = await openPage(chrome, { reducedMotion: "reduce" }));
    client.passed.length = 0;
    return () => context.close();
  });

  const idOf = (id: string) => `urn:vmomi:VirtualMachine:${id}:${client.vcenter.guid}`;

  /** Makes a key for the machine; on a busy machine a node may ask to try again. */
  async function makeKey(): Promise<string> {
    let id = "";
    await insist(async () => {
      id = await makeAsVcenter();
    });
    return id;
  }

  async function makeAsVcenter(): Promise<string> {
    const tls = credentialsOf(both, instance);
    const options = { tls, answered: () => undefined };
    const [endpoint = ""] = both.endpoints;
    await using session = await VcenterSession.begin(endpoint, options);
    const id = await session.create();
    await session.addAttributes(id, {
      "x-Identifier": machineId,
      "x-Component": "Virtual Machine",
      "x-Name": "web",
    });
    await session.activate(id);
    return id;
  }

  /** Opens the client with a page of the plug-in in its frame. */
  async function open(place: string): Promise<Frame> {
    await page.goto(client.addressOf(`plugin.html#${place}`));
    const frame = page.frames().find((one) => one.parentFrame() !== null);
    if (frame === undefined) throw new Error("the page is not framed");
    return frame;
  }

  test("shows the keys of a machine below the proxy's path, and markup as text", async () => {
    const frame = await open("/keys");
    await frame.getByRole("heading", { name: "Keys of web <b>1</b> at Holdfast" }).waitFor();
    const row = (id: string) => frame.getByRole("row").filter({ hasText: id });
    await row(keys.used).filter({ hasText: "Active" }).filter({ hasText: "machine" }).waitFor();
    await row(keys.older).filter({ hasText: "not in use now" }).waitFor();
    await frame.getByText(`${foreign} (disk: Hard disk 1): not found at Holdfast`).waitFor();
    await frame.getByRole("row").filter({ hasText: "Installed" }).waitFor();
    expect(told).toEqual([]);
    const paths = client.passed.map(({ path }) => path.split("?")[0]);
    expect(paths).toContain("/console/console.js");
    expect(paths).toContain("/v1/instances");
    // The session goes in a header, and nowhere else.
    expect(JSON.stringify([paths, page.url(), frame.url()])).not.toContain(secret);
    const kept = await frame.evaluate(
      "JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML])",
    );
    expect(kept).not.toContain(secret);
    const asked = client.passed.filter(({ headers }) => headers["vmware-api-session-id"]);
    expect(asked.length).toBeGreaterThan(2);
  });

  test("has no page that axe-core complains about, in both themes and languages, and fits a narrow card", async () => {
    for (const locale of ["en-US", "de-DE"]) {
      for (const theme of ["light", "dark"] as const) {
        Object.assign(client.told, { theme, locale });
        for (const place of ["/keys", "/summary", "/"]) {
          client.told.object = place === "/" ? undefined : idOf("vm-42");
          await page.setViewportSize({ width: 360, height: 640 });
          const frame = await open(place);
          await frame.locator("table").first().waitFor();
          const shown = await frame.evaluate(
            "[document.documentElement.lang, document.body.getAttribute('cds-theme')].join()",
          );
          expect(shown, place).toBe(`${locale.slice(0, 2)},${theme}`);
          expect(await violationsOf(frame), `${place} ${theme} ${locale}`).toEqual([]);
          const wider = await frame.evaluate("document.documentElement.scrollWidth - innerWidth");
          expect(wider, `${place}: pixels too wide`).toBeLessThanOrEqual(0);
        }
      }
    }
    expect(told).toEqual([]);
  });

  test("follows the client's theme and language, and shows again what has changed", async () => {
    client.told.locale = "de-DE";
    const frame = await open("/keys");
    await frame.getByRole("columnheader", { name: "Zustand" }).first().waitFor();
    await frame.evaluate("htmlClientSdk.standIn.theme('dark')");
    await frame.locator("body[cds-theme=dark]").waitFor();
    const newest = await makeKey();
    expect(await frame.getByText(newest).count()).toBe(0);
    await frame.evaluate("htmlClientSdk.standIn.refresh()");
    await frame.getByText(newest).waitFor();
  });

  test("keeps the newest answer if an older one comes after it", async () => {
    const frame = await open("/keys");
    await frame.getByText(keys.used).first().waitFor();
    const refresh = () => frame.evaluate("htmlClientSdk.standIn.refresh()");
    // The first one fails, and is slow.
    const objects = "**/console/plugin/object?*";
    const json = { code: "storeUnavailable", detail: "too old" };
    const first = (route: Route) => route.fulfill({ status: 503, json });
    const release = await holdRequests(page, objects, first, { times: 1 });
    const asked = page.waitForRequest(objects);
    await refresh();
    await asked;
    const newest = await makeKey();
    await refresh();
    await frame.getByText(newest).waitFor();
    const failed = page.waitForResponse((answer) => answer.status() === 503);
    release();
    await (await failed).finished();
    await frame.evaluate("new Promise((done) => setTimeout(done, 500))");
    expect(await frame.getByText("too old").count()).toBe(0);
    expect(await frame.getByText(newest).count()).toBe(1);
  });

  test("says that an object has no key, that vCenter refused, and what to do", async () => {
    client.told.object = idOf("vm-43");
    let frame = await open("/summary");
    await frame.getByText("Holdfast holds no key of this object.").waitFor();
    client.told.token = "unknown-session";
    frame = await open("/keys");
    await frame.getByText("vCenter does not know this session").waitFor();
    expect(await violationsOf(frame)).toEqual([]);
    const other = "session-of-bob";
    client.vcenter.sessions.set(other, "VSPHERE.LOCAL\\bob");
    client.told.token = other;
    frame = await open("/keys");
    await frame.getByText("VSPHERE.LOCAL\\bob has no role here").waitFor();
    client.told.token = `another-${secret}`;
    client.vcenter.broken = 503;
    frame = await open("/keys");
    await frame.getByText("cannot ask vCenter whether the session counts").waitFor();
    client.vcenter.broken = undefined;
    client.vcenter.sessions.set(`another-${secret}`, "VSPHERE.LOCAL\\alice");
    await frame.getByRole("button", { name: "Try again" }).click();
    await frame.getByText("Holdfast holds no key of this object.").waitFor();
  });

  test("cannot be framed by another site, and works in no other place", async () => {
    await using stranger = await VsphereClient.start();
    stranger.server = client.server;
    await page.goto(stranger.addressOf("plugin.html#/keys"));
    await expect.poll(() => told.join()).toContain("frame-ancestors");
    const alone = await context.newPage();
    const { host, port } = client.server ?? {};
    await alone.goto(`https://${host}:${port}/console/plugin.html#/keys`);
    await alone.getByText("This page works only inside the vSphere Client.").waitFor();
    const manifest = await alone.goto(client.proxiedAddressOf("plugin.json"));
    expect(await manifest?.json()).toMatchObject({ manifestVersion: "1.0.0" });
  });
});
