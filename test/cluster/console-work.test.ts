import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { KmipClient } from "@holdfast/client";
import { until } from "@holdfast/testing";
import { selfSigned } from "@holdfast/testing/pki";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { patiently } from "../support/admin-api.ts";
import {
  browserMissing,
  browserNote,
  enter,
  holdRequests,
  openPage,
  sendDialog,
  sendForm,
  startBrowser,
  unfitParts,
} from "../support/browser.ts";
import { holdfast } from "../support/command-line.ts";
import { createKey } from "../support/keys.ts";
import { type RootRegions, startRootRegions } from "../support/root-regions.ts";
import { ClientsOfAll } from "../support/two-regions-clients.ts";

const times = { kekCacheMs: 3_000, graceMs: 60_000, revalidateMs: 1_000, deadlineMs: 4_000 };
const domain = "kms.test";
const instance = "declared";

describe.skipIf(browserMissing.length > 0)(`long work in the console (${browserNote})`, () => {
  let folder: string;
  let roots: RootRegions;
  let chrome: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complains about, apart from requests that a node refuses. */
  let told: readonly string[] = [];
  const secrets: Record<string, string> = {};

  const file = (name: string) => join(folder, name);
  const admin = () => patiently(roots.admin("a1"));
  const originOf = (both: RootRegions["both"], name: string) =>
    `https://${name}.${domain}:${both.node(name).admin}`;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-console-work-"));
    await mkdir(file("backups"));
    const backup = { keyFile: file("backup.key"), directory: file("backups"), keep: 10 };
    roots = await startRootRegions(
      [instance],
      times,
      1,
      {},
      {
        prepare: async (both) => {
          for (const { name, configFile } of both.nodes) {
            const config = parse(await readFile(configFile, "utf8")) as { admin: object };
            const nodes = both.nodes.flatMap((one) =>
              one.name === name ? [] : [originOf(both, one.name)],
            );
            const admin = { ...config.admin, console: { nodes } };
            const more = name === "a1" ? { backup } : {};
            await writeFile(configFile, stringify({ ...config, admin, ...more }));
          }
          await holdfast("backup", "key", "init", "--config", both.node("a1").configFile);
        },
      },
    );
    for (const role of ["viewer", "operator"] as const) {
      const body = { name: role, roles: [role] };
      secrets[role] = (await admin().call<"createToken">("createToken", { body })).secret;
    }
    const body = { name: "everything", roles: ["manager" as const, "security-officer" as const] };
    secrets["manager"] = (await admin().call<"createToken">("createToken", { body })).secret;
    const names = roots.both.nodes.map(({ name, host }) => `MAP ${name}.${domain} ${host}`);
    chrome = await startBrowser([`--host-resolver-rules=${names.join(",")}`]);
  });

  afterAll(async () => {
    await chrome?.close();
    await roots?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    ({ context, page, told } = await openPage(chrome, { reducedMotion: "reduce" }));
    return () => context.close();
  });

  const open = (path: string, role = "manager", at = "a1") =>
    enter(page, originOf(roots.both, at), path, secrets[role] ?? "");
  const dialog = () => page.getByRole("dialog");
  const work = (title: RegExp) => page.getByRole("region", { name: title });

  const isFit = async (what: string) => expect(await unfitParts(page), what).toEqual([]);

  const sent = (name: string) => sendDialog(page, name);

  const backups = async () => (await admin().call("readBackups", {})).items;

  test("orders a backup, verifies it, and plans a restore; a reload loses nothing", async () => {
    await open("/backups");
    await until("the first backup by schedule", async () => (await backups()).length > 0);
    const before = (await backups()).length;
    await page.getByRole("button", { name: "Run a backup" }).click();
    await sent("Run a backup");
    await page.getByText("Run a backup: ordered.").waitFor();
    await work(/^Backup of region a/)
      .and(page.locator('[data-state="done"]'))
      .waitFor();
    const [made, ...others] = await backups();
    expect(others).toHaveLength(before);
    const name = made?.name ?? "";
    expect(made).toMatchObject({ ok: true, file: file(`backups/${name}`) });

    const row = page.getByRole("row").filter({ hasText: name });
    await row.getByRole("button", { name: "Verify" }).click();
    await sent("Verify");
    const verified = work(new RegExp(`^Verification of ${name}`));
    await verified.getByText("every part is whole").waitFor();
    await row.getByRole("button", { name: "Restore plan" }).click();
    await sent("Restore plan");
    const plan = work(new RegExp(`^Restore plan of ${name}`));
    await plan.getByText("records are there already").waitFor();
    await plan.getByText("nothing was written").waitFor();
    await isFit("Backups");
    await page.reload();
    await verified.getByText("every part is whole").waitFor();
    await plan.getByText("nothing was written").waitFor();
    await page.getByText("Restore, and prove with keys, at a node").click();
    await page.getByText("holdfast backup restore FILE --config CONFIG --apply").waitFor();

    const bytes = await readFile(file(`backups/${name}`));
    const changed = Buffer.from(bytes);
    changed[changed.length - 50] = (changed[changed.length - 50] ?? 0) ^ 1;
    await writeFile(file(`backups/${name}`), changed);
    await row.getByRole("button", { name: "Verify" }).click();
    await sent("Verify");
    await verified.and(page.locator('[data-state="failed"]')).getByText("damaged").waitFor();
    await writeFile(file(`backups/${name}`), bytes);
    expect(told).toEqual([]);
  });

  test("works on the other region's backups from there, and says at once what is missing", async () => {
    const [made] = await backups();
    await open("/backups", "manager", "b1");
    const row = page.getByRole("row").filter({ hasText: made?.name ?? "" });
    await row.getByRole("button", { name: "Verify" }).click();
    await sent("Verify");
    await work(/^Verification of/)
      .and(page.locator('[data-state="done"]'))
      .waitFor();
    // Region b has no folder for backups.
    await page.getByRole("button", { name: "Run a backup" }).click();
    await dialog().getByRole("button", { name: "Run a backup" }).click();
    await dialog().getByText("names no folder for backups").waitFor();
    expect(told).toEqual([]);
  });

  test("offers each role what it may do with backups", async () => {
    const buttons = async () => {
      await page.getByRole("row").nth(1).waitFor();
      return new Set(await page.locator("main [data-operation]").allTextContents());
    };
    await open("/backups", "operator");
    expect(await buttons()).toEqual(new Set(["Verify", "Restore plan"]));
    await page.getByRole("button", { name: "Sign out" }).click();
    await open("/backups", "viewer");
    expect(await buttons()).toEqual(new Set());
  });

  test("verifies the trail of both regions, says the result in words, and finds a fault", async () => {
    await open("/events");
    const verify = page.getByRole("region", { name: "Verify the trail" });
    // Right after a sign-in, the session at the other node may not be there yet.
    await expect
      .poll(
        async () => {
          await verify.getByRole("button", { name: "Verify the trail" }).click();
          const said = (await verify.textContent()) ?? "";
          return ["a", "b"].filter((one) => said.includes(`The trail of region ${one} is whole`));
        },
        { interval: 2_000 },
      )
      .toEqual(["a", "b"]);
    await isFit("Events, verified");
    await page.reload();
    await verify.getByText("The trail of region a is whole").waitFor();
    // Somebody removes an entry of region a in Redis.
    const { primary } = roots.both.a.redis;
    const found = await primary.command("xrange", "{sys}:audit", "-", "+", "count", "3");
    const [, , third] = found as readonly (readonly [id: string, fields: unknown])[];
    await primary.command("xdel", "{sys}:audit", third?.[0] ?? "");
    // On a busy machine a node may refuse the check for a moment.
    await expect
      .poll(
        async () => {
          await verify.getByRole("button", { name: "Verify the trail" }).click();
          const said = (await verify.textContent()) ?? "";
          return [
            said.includes("The trail of region a is not what was written"),
            said.includes("The trail of region b is whole"),
          ];
        },
        { interval: 2_000 },
      )
      .toEqual([true, true]);
    await verify
      .getByText(/sys: entry/)
      .first()
      .waitFor();
    await isFit("Events, with a fault");
    expect(told).toEqual([]);
  });

  test("shows how far an export is, and ends it", async () => {
    await open("/events");
    let pages = 0;
    await page.route("**/v1/events?*limit=500*", async (route) => {
      const url = route.request().url().replace("limit=500", "limit=1");
      // An event a page, and slowly: it goes on until somebody stops it. The console waits ten seconds for an answer.
      if (pages > 0) await sleep(3000);
      pages += 1;
      await route.continue({ url }).catch(() => undefined);
    });
    await makeKeys(100);
    await page.getByRole("button", { name: "Export what fits the filters" }).click();
    const bar = page.getByRole("progressbar", { name: "Events read" });
    await expect.poll(() => bar.getAttribute("value")).not.toBe("0");
    await isFit("Events, exporting");
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Nothing was saved.").waitFor();
    expect(await bar.count()).toBe(0);
    expect(told).toEqual([]);
  });

  /** Makes at least so many keys, at all nodes at once; on a busy machine one may refuse connections for a moment. */
  async function makeKeys(count: number): Promise<void> {
    await until("a client", async () => {
      try {
        await using clients = await ClientsOfAll.open(roots.both, instance);
        const each = Math.ceil(count / clients.all.length);
        const make = async (client: KmipClient) => {
          for (let made = 0; made < each; made++) await createKey(client);
        };
        await Promise.all(clients.all.map(make));
        return true;
      } catch (error) {
        return error as Error;
      }
    });
  }

  test("shows how many keys wait for the present root key, over a reload, until none does", async () => {
    await makeKeys(1);
    const { a } = roots.managers;
    await open(`/instances/${instance}`);
    await page.getByRole("heading", { name: instance }).waitFor();
    // The answer to an unwrap brings the key wrapped anew, too.
    for (const action of ["rewrap", "wrap", "unwrap"]) await a.switch({ action, status: 503 });
    try {
      await a.change(roots.rootKeys.a, "rotate");
      const bar = page.getByRole("progressbar", { name: /^Region a wraps key-encryption keys/ });
      await until("the present root key", async () => {
        const { items } = await admin().call<"reportRoots">("reportRoots", {});
        return items.some((row) => row.name === instance && row.region === "a" && row.stale > 0);
      });
      await page.getByRole("button", { name: "Refresh" }).click();
      await bar.waitFor();
      await isFit("Instance, with progress");
      expect(Number(await bar.getAttribute("value"))).toBeLessThan(
        Number(await bar.getAttribute("max")),
      );
      await page.reload();
      await bar.waitFor();
    } finally {
      await a.heal();
    }
    await page.getByRole("progressbar").waitFor({ state: "detached" });
    expect(told).toEqual([]);
  });

  test("orders with root keys that a person chooses from the key managers' lists", async () => {
    const { a, b } = roots.managers;
    await a.createRing("production");
    const plain = await a.createRootKey("of the default ring");
    const ringed = await a.createRootKey("of production", { ring: "production" });
    const other = await b.createRootKey("of region b");
    await open("/order");
    await page.getByRole("textbox", { name: /^Name/ }).fill("chosen");
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByRole("heading", { name: "2. Roots of trust" }).waitFor();
    for (const [region, kind, manager] of [
      ["a", "key-protect", a],
      ["b", "hpcs", b],
    ] as const) {
      const group = page.getByRole("group", { name: `Region ${region}` });
      await group.getByLabel("Kind").first().selectOption(kind);
      await group.getByRole("textbox", { name: /^Instance/ }).fill(manager.instanceId);
      await group.getByLabel("Kind").last().selectOption("value");
      await group.getByLabel("Value").fill(manager.apiKey);
      await page.getByRole("button", { name: `List root keys of region ${region}` }).click();
    }
    await page.getByRole("button", { name: "Use of the default ring" }).waitFor();
    await page.locator("#ring-a").selectOption("production");
    await page.getByRole("button", { name: "Use of the default ring" }).waitFor({
      state: "detached",
    });
    await isFit("Order: root keys");
    const choice = page.getByRole("button", { name: "Use of production" });
    await choice.click();
    expect(await choice.textContent()).toBe("Chosen");
    const group = page.getByRole("group", { name: "Region a" });
    expect(await group.getByRole("textbox", { name: /^Root key/ }).inputValue()).toBe(ringed);
    await page.getByRole("button", { name: "Use of region b" }).click();
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByRole("heading", { name: "3. Certificate" }).waitFor();

    // A file of the disk, dragged onto the field as a person does.
    const pair = await selfSigned({
      ...{ commonName: "dragged", notBeforeMs: Date.now() - 3_600_000, days: 30 },
    });
    await writeFile(file("dragged.pem"), pair.certificate);
    await page.getByRole("textbox", { name: /^Name/ }).fill("vcenter-1");
    await drop(file("dragged.pem"));
    await page.getByText("Read from dragged.pem.").waitFor();
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByRole("heading", { name: "4. Look and order" }).waitFor();
    // A person does not wait for the certificate, and goes on to another page.
    const release = await holdRequests(page, "**/certificates");
    await page.getByRole("button", { name: "Order", exact: true }).click();
    await page.getByText("It is ready").waitFor();
    await page.evaluate('location.hash = "/roots-of-trust"');
    await page.getByText("hpcs: IBM has created no new instances").waitFor();
    await isFit("Roots of trust, with a note");
    release();
    await until("the end of the order", async () => {
      const draft = await page.evaluate('sessionStorage.getItem("holdfast-order")');
      return !String(draft).includes("BEGIN CERTIFICATE");
    });
    expect(page.url()).toMatch(/#\/roots-of-trust$/);
    const params = { instance: "chosen" };
    const { regions } = await admin().call("readRoot", { params });
    const chosen = JSON.stringify(regions);
    for (const id of [ringed, other]) expect(chosen).toContain(id);
    expect(chosen).not.toContain(plain);
    const { items } = await admin().call("listCertificates", { params, query: {} });
    expect(items).toMatchObject([{ name: "vcenter-1", subject: "CN=dragged" }]);
    // Chromium would like a user name beside each secret.
    expect(told.filter((text) => !text.includes("Password forms"))).toEqual([]);
  });

  test("lists root keys in the dialog of the list of instances too", async () => {
    const { a } = roots.managers;
    const id = await a.createRootKey("by the dialog");
    await open("/instances");
    await page.getByRole("button", { name: "List root keys" }).click();
    await dialog().getByLabel("Kind").first().selectOption("key-protect");
    await dialog()
      .getByRole("textbox", { name: /^Instance/ })
      .fill(a.instanceId);
    await dialog().getByLabel("Kind").last().selectOption("value");
    await dialog().getByLabel("Value").fill(a.apiKey);
    await sendForm(page, (shown) => shown.getByRole("cell", { name: id }).waitFor());
  });

  /** Drags a file of the disk over a long field, or something else, and drops it: the browser itself makes the events. */
  async function drop(path: string, onto = "textarea"): Promise<void> {
    const box = await page.locator(onto).first().boundingBox();
    if (box === null) throw new Error("no field");
    const devtools = await context.newCDPSession(page);
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const) {
      await devtools.send("Input.dispatchDragEvent", { type, ...at, data });
    }
  }

  test("reads a certificate that is dropped onto a form of a list, and says what is wrong with a key", async () => {
    const pair = await selfSigned({
      ...{ commonName: "dropped", notBeforeMs: Date.now() - 3_600_000, days: 30 },
    });
    await writeFile(file("dropped.pem"), pair.certificate);
    await writeFile(file("dropped.key"), pair.key);
    await open("/instances/chosen/certificates");
    await page.getByRole("button", { name: "Add certificate" }).click();
    await dialog().getByRole("textbox", { name: /^Name/ }).fill("vcenter-2");
    await drop(file("dropped.key"));
    await dialog().getByText("dropped.key has a private key").waitFor();
    await drop(file("dropped.pem"));
    await dialog().getByText("Read from dropped.pem.").waitFor();
    // One that misses the field does not take the place of the form.
    await drop(file("dropped.key"), "dialog h2, dialog h3");
    expect(page.url()).toContain("/console/#/instances/chosen/certificates");
    await sent("Add certificate");
    await page.getByRole("cell", { name: "CN=dropped" }).waitFor();
    expect(told).toEqual([]);
  });
});
