import { execFile, execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contract } from "@holdfast/admin";
import { eventActions } from "@holdfast/console/event-actions";
import { vendorItem, vendorKey, vendorTags } from "@holdfast/engine";
import { attributeItem } from "@holdfast/kmip";
import { until } from "@holdfast/testing";
import { createAuthority, type Issued, selfSigned } from "@holdfast/testing/pki";
import { textString } from "@holdfast/ttlv";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  browserMissing,
  browserNote,
  clickUntil,
  enter,
  openPage,
  sendDialog,
  sendUntil,
  startBrowser,
  tryOnce,
  unfitParts,
} from "../support/browser.ts";
import { ConsoleCluster } from "../support/console-cluster.ts";
import { answered, createKey } from "../support/keys.ts";

/** A certificate signing request as vCenter makes it, and the key that stays there. */
function requestOf(commonName: string): { readonly request: string; readonly key: string } {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-csr-"));
  try {
    const made = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "request"];
    const args = ["req", "-new", ...made, "-subj", `/CN=${commonName}`];
    execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
    const read = (name: string) => readFileSync(join(folder, name), "utf8");
    return { request: read("request"), key: read("key") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const since = { notBeforeMs: Date.now() - 3_600_000, days: 30 };
const browserless = describe.skipIf(browserMissing.length > 0);

browserless(`the console's pages (${browserNote})`, () => {
  let cluster: ConsoleCluster;
  let chrome: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complains about, apart from requests that a node refuses. */
  let told: readonly string[] = [];

  beforeAll(async () => {
    cluster = await ConsoleCluster.start([41, 42, 43, 44]);
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
  const go = (path: string) => page.evaluate(`location.hash = ${JSON.stringify(path)}`);
  const settled = () => page.getByText("Loading…").first().waitFor({ state: "detached" });
  const dialog = () => page.getByRole("dialog");
  const part = (title: string) => page.locator(`[data-part="${title}"]`);

  const isFit = async (what: string) => expect(await unfitParts(page), what).toEqual([]);
  const sent = (name: string) => sendDialog(page, name);

  /** Clicks at a button of the dialog until something is shown. */
  const clicked = (name: string, shown: Locator) =>
    clickUntil(shown, dialog().getByRole("button", { name }));

  /** Presses Enter at a button until something is shown. */
  const enterUntil = (shown: Locator, name: string) => {
    const button = page.getByRole("button", { name, exact: true });
    return sendUntil(shown, () => button.press("Enter", tryOnce));
  };

  /** A file that a person chooses. */
  const fileOf = (name: string, content: string | Buffer) => ({
    name,
    mimeType: "application/octet-stream",
    buffer: Buffer.from(content),
  });

  /** Connects a client, which makes a key. */
  async function connects(instance: string, pair: { certificate: string; key: string }) {
    await using client = await cluster.client(instance, pair);
    return await answered(() => createKey(client));
  }

  /** One key of a client: with a name and an x-Identifier, Active. */
  async function namedKey(instance: string, pair: Issued, name: string): Promise<string> {
    await using client = await cluster.client(instance, pair);
    const uniqueIdentifier = await answered(() => createKey(client));
    const value = textString(vendorTags.AttributeValue, `vm of ${name}`);
    for (const item of [
      vendorItem({ key: vendorKey("x", "Identifier"), value }),
      attributeItem("Name", { value: name, type: "UninterpretedTextString" }),
    ]) {
      await answered(() => client.addAttribute({ uniqueIdentifier, newAttribute: { item } }));
    }
    await answered(() => client.activate({ uniqueIdentifier }));
    return uniqueIdentifier;
  }

  test("connects vCenter: says live what is missing, and admits the client that was refused", async () => {
    await cluster.order("connects");
    await open("/instances/connects/connect");
    await page.getByText("Still open: vCenter connects").waitFor();
    await page.getByText("The same on the command line").click();
    await page.getByText("holdfast certificate list connects", { exact: true }).waitFor();
    await page.getByText("KMS certificate and private key", { exact: true }).click();
    await isFit("Connect vCenter");

    // The usual way: vCenter's own certificate.
    const pair = await selfSigned({ commonName: "kmipClient", ...since });
    await page.getByRole("button", { name: "Add vCenter's certificate" }).click();
    const name = dialog().getByRole("textbox", { name: /^Name/ });
    expect(await name.inputValue()).toBe("vcenter-1");
    const file = dialog().getByLabel("Certificate, from a file");
    await file.setInputFiles(fileOf("vcenter.pem", pair.certificate));
    await sent("Add certificate");
    await connects("connects", pair);
    await part("vCenter connects")
      .getByText(/A client connected .* with vcenter-1/)
      .waitFor();
    await page.getByText(/Connected at a1 .* in the last hour, not at .*a2/).waitFor();

    // The next client shows a certificate that nobody added.
    const stranger = await selfSigned({ commonName: "new vcenter", ...since });
    await cluster.refuses("connects", stranger);
    await part("vCenter is trusted").getByText("No instance has this certificate").waitFor();
    await page.getByRole("button", { name: "Admit new vcenter" }).click();
    const { fingerprint256 } = new X509Certificate(stranger.certificate);
    const shown = await dialog()
      .getByRole("textbox", { name: /^Fingerprint/ })
      .inputValue();
    expect(shown).toBe(fingerprint256.replaceAll(":", "").toLowerCase());
    await sent("Admit a refused client");
    await connects("connects", stranger);
    await part("vCenter is trusted").getByText("new vcenter admits it").waitFor();

    // A client that does not know the authority of the node says so to it.
    const arguments_ = ["-connect", await cluster.endpoint("connects"), "-verify_return_error"];
    const said = part("vCenter trusts this server").getByText("does not accept");
    await until("the page says so", async () => {
      await new Promise<void>((resolve) => {
        execFile("openssl", ["s_client", ...arguments_], () => resolve()).stdin?.end();
      });
      return (await said.count()) > 0;
    });
    expect(told).toEqual([]);
  });

  test("connects a vCenter by its root CA, and by a request that it makes", async () => {
    await cluster.order("other-ways");
    await open("/instances/other-ways/connect");
    const authority = await createAuthority({ commonName: "VMCA", ...since });
    await page.getByText("vCenter Root CA Certificate", { exact: true }).click();
    await page.getByRole("button", { name: "Add the root CA" }).click();
    expect(await dialog().getByRole("textbox", { name: /^Name/ }).inputValue()).toBe("vmca-1");
    const file = dialog().getByLabel("Certificate, from a file");
    await file.setInputFiles(fileOf("root.pem", authority.certificate));
    await isFit("Add the root CA");
    await sent("Add certificate");
    const client = await authority.issue({ commonName: "vpxd-1", ...since });
    await connects("other-ways", client);
    await part("vCenter connects")
      .getByText(/A client connected .* with vmca-1/)
      .waitFor();

    // vCenter keeps the key, and makes the request.
    const csr = requestOf("vcenter-csr");
    await page.getByText("New Certificate Signing Request (CSR)", { exact: true }).click();
    await page.getByRole("button", { name: "Sign the request" }).click();
    const request = dialog().getByLabel("Certificate signing request, from a file");
    await request.setInputFiles(fileOf("vcenter.csr", csr.request));
    await isFit("Sign the request");
    await clicked("Sign a request", dialog().getByText("Done."));
    const download = page.waitForEvent("download");
    await dialog().getByRole("button", { name: "Save as a file" }).first().click();
    const certificate = await readFile(await (await download).path(), "utf8");
    await dialog().getByRole("button", { name: "Close" }).click();
    await connects("other-ways", { certificate, key: csr.key });
    await part("vCenter connects")
      .getByText(/A client connected .* with vcenter-1/)
      .waitFor();
    await page.getByText(/Connected at a1 .* in the last hour, not at .*a2/).waitFor();
    expect(told).toEqual([]);
  });

  test("orders in steps, by keyboard; a lost answer and a reload order nothing twice", async () => {
    const pair = await selfSigned({ commonName: "ordered", ...since });
    await open("/instances");
    await page.getByRole("link", { name: "Order step by step" }).press("Enter");
    await page.getByRole("heading", { name: "1. Name" }).waitFor();
    await isFit("Order: name");
    await page.getByRole("textbox", { name: /^Name/ }).fill("in-steps");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "2. Roots of trust" }).waitFor();
    const kind = (region: string) =>
      page.getByRole("group", { name: `Region ${region}` }).getByLabel("Kind");
    await kind("a").selectOption("local");
    await page.getByRole("button", { name: "Next" }).press("Enter");
    await page.getByText("Choose a root of trust for region b too").waitFor();
    await kind("b").selectOption("local");
    await isFit("Order: roots of trust");
    await page.getByRole("button", { name: "Next" }).press("Enter");
    await page.getByRole("heading", { name: "3. Certificate" }).waitFor();
    await page.getByRole("textbox", { name: /^Name/ }).fill("vcenter-1");
    const file = page.getByLabel("Certificate, from a file");
    await file.setInputFiles(fileOf("vcenter.pem", pair.certificate));
    await page.getByText("Read from vcenter.pem.").waitFor();
    await isFit("Order: certificate");
    await page.getByRole("button", { name: "Next" }).press("Enter");
    await page.getByRole("heading", { name: "4. Look and order" }).waitFor();
    await page.getByText("--root a:local --root b:local").waitFor();
    await enterUntil(page.getByText("Nothing was made"), "Check first");
    await isFit("Order: review");

    // The service makes it, and no answer arrives.
    await page.route("**/v1/instances", async (route) => {
      if (route.request().method() !== "POST") return route.continue();
      await route.fetch();
      await route.abort();
    });
    await page.getByRole("button", { name: "Order", exact: true }).press("Enter");
    await page.getByText("No node answers").waitFor();
    await page.unroute("**/v1/instances");
    await page.reload();
    await page.getByText("This order was sent, and no answer came").waitFor();
    await enterUntil(page.getByRole("heading", { name: "5. Endpoints" }), "Order");
    await page.getByText("It is ready").waitFor();
    await isFit("Order: endpoints");
    const made = async () => {
      const { items } = await cluster.admin.call("listInstances", {
        query: { name: "in-steps" },
      });
      return items.map(({ certificates }) => certificates);
    };
    await expect.poll(made).toEqual([1]);
    await page.reload();
    await page.getByRole("link", { name: "Connect vCenter" }).press("Enter");
    await page.getByText("Still open").waitFor();
    await connects("in-steps", pair);
    await page.getByText(/Connected at a1 .* in the last hour, not at .*a2/).waitFor();
  });

  test("keeps no secret of an order over a reload, and asks for it again", async () => {
    await open("/order?step=roots");
    const region = page.getByRole("group", { name: "Region a" });
    await region.getByLabel("Kind").first().selectOption("pkcs11");
    await region.getByRole("textbox", { name: /^Token/ }).fill("a token");
    await region.getByLabel("Kind").last().selectOption("value");
    await region.getByLabel("Value").fill("never-kept");
    await page.getByRole("button", { name: "List root keys of region a" }).click();
    await page.getByRole("alert").waitFor();
    const kept = await page.evaluate("JSON.stringify({ ...sessionStorage, ...localStorage })");
    expect(kept).toContain("a token");
    expect(kept).not.toContain("never-kept");
    await page.reload();
    await settled();
    await go("/order?step=review");
    await page.getByText("The secret of region a is not kept over a reload").waitFor();
    expect(await page.getByRole("button", { name: "Order", exact: true }).isDisabled()).toBe(true);
  });

  test("says what is wrong with a file, and compares a list of keys in use from a CSV", async () => {
    const pair = await cluster.withClient("files", "vcenter-files");
    const used = await namedKey("files", pair, "used");
    const unused = await namedKey("files", pair, "unused");
    await open("/instances/files/certificates");
    await page.getByRole("button", { name: "Add certificate" }).click();
    const file = dialog().getByLabel("Certificate, from a file");
    const wrong: readonly (readonly [string, string | Buffer, RegExp])[] = [
      ["large.pem", Buffer.alloc(65_537, "x"), /large\.pem has 65 KB, and at most 64 KB fit/],
      ["binary.der", Buffer.from([0x30, 0x82, 0, 0]), /binary\.der is not text.*PEM/],
      ["empty.pem", "", /empty\.pem is empty/],
      ["key.pem", pair.key, /key\.pem has a private key/],
      ["notes.txt", "a note", /notes\.txt has no PEM/],
    ];
    for (const [name, content, fault] of wrong) {
      await file.setInputFiles(fileOf(name, content));
      await dialog().getByText(fault).waitFor();
    }
    await isFit("a file that is refused");
    await file.setInputFiles(fileOf("right.pem", pair.certificate));
    await dialog().getByText("Read from right.pem.").waitFor();
    await page.keyboard.press("Escape");

    await go("/instances/files/keys");
    await page.getByRole("button", { name: "Find unused keys" }).click();
    const list = dialog().getByLabel("Identifiers in use, one on each line, from a file");
    await list.setInputFiles(fileOf("broken.csv", `${used}\n-----\n`));
    await dialog()
      .getByText(/broken\.csv cannot be used: line 2/)
      .waitFor();
    await list.setInputFiles(
      fileOf("in-use.csv", `"${used.toUpperCase()}","web 1"\nelsewhere,x\n`),
    );
    await dialog().getByText("identifiers.").waitFor();
    await clicked("Find unused keys", dialog().getByRole("cell", { name: unused }));
    expect(await dialog().getByRole("cell", { name: used }).count()).toBe(0);
    await dialog().getByRole("row", { name: "Matched 1" }).waitFor();
    expect(told).toEqual([]);
  });

  test("finds keys by every filter, and shows who did what with one in both regions", async () => {
    const pair = await cluster.withClient("searched", "vcenter-search");
    const id = await namedKey("searched", pair, "the one");
    const other = await namedKey("searched", pair, "another");
    const params = { instance: "searched", key: other };
    const body = { reason: "CessationOfOperation" } as const;
    await cluster.admin.call("revokeKey", { params, body });
    const fingerprint = createHash("sha256")
      .update(new X509Certificate(pair.certificate).raw)
      .digest("hex");
    const { createdAt = "" } = await cluster.admin.call("readKey", {
      params: { instance: "searched", key: id },
      query: {},
    });
    const around = (ms: number) => new Date(Date.parse(createdAt) + ms).toISOString();
    const wanted: Readonly<Record<string, string>> = {
      state: "Active",
      states: "PreActive,Active",
      algorithm: "aes",
      type: "SymmetricKey",
      createdAfter: around(-3_600_000),
      createdBefore: around(3_600_000),
      xIdentifier: "vm of the one",
      name: "the one",
      createdBy: fingerprint,
    };
    /** These find nothing here, which proves that they count. */
    const empty: Readonly<Record<string, string>> = { xName: "nobody", restorable: "true" };
    await open("/instances/searched/keys");
    await page.getByRole("link", { name: id }).waitFor();
    await page.getByText("Filters", { exact: true }).click();
    const filters = Object.keys(contract.listKeys.query.shape).filter(
      (name) => name !== "limit" && name !== "cursor",
    );
    expect(filters.toSorted()).toEqual(Object.keys({ ...wanted, ...empty }).toSorted());
    for (const name of filters) {
      await page.locator(`#filter-${name}`).waitFor();
      const value = wanted[name] ?? empty[name] ?? "";
      await go(`/instances/searched/keys?${new URLSearchParams({ [name]: value })}`);
      if (name in wanted) await page.getByRole("link", { name: id }).waitFor();
      else await page.getByText("No keys fit these filters").waitFor();
      expect((await page.locator(`#filter-${name}`).inputValue()).slice(0, 16), name).toBe(
        value.slice(0, 16),
      );
    }
    await go("/instances/searched/keys?xName=nobody");
    await page.getByRole("button", { name: "Clear the filters" }).click();
    await page.getByRole("link", { name: id }).waitFor();
    expect(new URL(page.url()).hash).toBe("#/instances/searched/keys");
    await go("/instances/searched/keys?state=Active&name=the+one");
    await page.getByRole("link", { name: id }).waitFor();
    // The identifier of an error of ESXi does not say in which instance the key is.
    await go("/instances/demo/keys");
    await page.getByLabel("Key identifier").fill(` ${id.toUpperCase()} `);
    await isFit("Find a key");
    await page.getByRole("button", { name: "Go to the key" }).click();
    await page.getByRole("heading", { name: `Key ${id}` }).waitFor();
    const events = page.locator(".key-events");
    // The name of the certificate, not its fingerprint.
    await events
      .getByRole("row")
      .filter({ hasText: "create KMIP key (kmip-key.create)" })
      .filter({ hasText: "vcenter-search" })
      .first()
      .waitFor();
    await isFit("Key");
    expect(told).toEqual([]);
  });

  test("exports the events that fit the filters, with actions in words, and says how to verify", async () => {
    for (const name of ["exported 1", "exported 2"]) {
      await cluster.admin.call("createToken", { body: { name, roles: ["viewer"] } });
    }
    await open("/events?action=kmip-token.*");
    await page.getByText("create access token (kmip-token.create)").first().waitFor();
    await page.getByText("Verify at a node").click();
    await page.getByText("holdfast audit verify --config FILE").waitFor();
    await isFit("Events");
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export what fits the filters" }).click();
    const path = await (await download).path();
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    const events = lines.map(
      (line) => JSON.parse(line) as { action: string; target: { name: string } },
    );
    expect(events.filter(({ action }) => !action.includes(".kmip-token."))).toEqual([]);
    const targets = events.map(({ target }) => target.name);
    for (const name of ["exported 1", "exported 2"]) expect(targets).toContain(name);
    await page.getByText(`${lines.length.toLocaleString("en")} events saved`).waitFor();
    expect(told).toEqual([]);
  });

  test("suggests actions that the audit trail has", () => {
    const document = readFileSync(join(import.meta.dirname, "../../docs/audit.md"), "utf8");
    const unknown = eventActions.filter(
      ([action]) => !document.includes(`\`${(action.split(".")[0] ?? "").replace("*", "")}`),
    );
    expect(unknown).toEqual([]);
  });

  test("explains a status and follows it, and shows what a deletion makes unreadable", async () => {
    await cluster.admin.call("createInstance", { body: { name: "deleted-here" } });
    await open("/instances/deleted-here");
    await page.getByText("It has no root of trust yet").waitFor();
    await page.getByRole("button", { name: "Configure root of trust" }).click();
    for (const region of ["a", "b"]) {
      const group = dialog().getByRole("group", { name: `Region ${region}` });
      await group.getByLabel("Kind").selectOption("local");
    }
    await sent("Configure root of trust");
    // Without Refresh.
    await page.getByText("It is ready").waitFor();
    const pair = await selfSigned({ commonName: "vcenter-deleted", ...since });
    const body = { name: "vcenter-deleted", pem: pair.certificate };
    const params = { instance: "deleted-here" };
    await cluster.admin.call("addCertificate", { params, body });
    await namedKey("deleted-here", pair, "web server 1");
    const key = await namedKey("deleted-here", pair, "destroyed");
    const reason = { reason: "CessationOfOperation" } as const;
    const which = { params: { ...params, key } };
    await cluster.admin.call("revokeKey", { ...which, body: reason });
    await cluster.admin.call("destroyKey", { ...which, query: {} });
    await page.getByRole("button", { name: "Delete instance" }).click();
    await dialog().locator("[data-lost]").getByText("Active: 1").waitFor();
    await dialog().getByText("Something still uses this instance").waitFor();
    await dialog().locator("[data-restorable]").getByText("can still be restored: 1").waitFor();
    await dialog()
      .locator("[data-unused]")
      .getByText(/b2 .*since the node started/)
      .waitFor();
    await dialog().getByText("Active keys, by the names").click();
    await dialog().getByText("web server 1").waitFor();
    await isFit("Delete instance");
    await dialog().getByLabel("To confirm").fill("deleted-here");
    // The service refuses it once, since there is a key.
    await sent("Delete instance");
    await page.getByText("Delete instance: done.").waitFor();
    expect(told).toEqual([]);
  });

  test("admits a client from the list of those that were refused", async () => {
    await cluster.order("admits");
    const stranger = await selfSigned({ commonName: "vc \u202e<b>x</b>", ...since });
    await cluster.refuses("admits", stranger);
    await open("/refused-clients");
    const row = page.getByRole("row").filter({ hasText: "CN=vc " });
    await row.getByRole("button", { name: "Admit a refused client" }).click();
    await dialog().getByLabel("Instance (required)").fill("admits");
    await isFit("Admit a refused client");
    await sent("Admit a refused client");
    await page.getByText("Admit a refused client: done.").waitFor();
    await connects("admits", stranger);
    expect(told).toEqual([]);
  });

  test("says what only the command line does with backups", async () => {
    await open("/backups");
    await page.getByText("Restore, and prove with keys, at a node").click();
    await page.getByText("holdfast backup create FILE --config CONFIG").waitFor();
    await isFit("Backups");
    // The development cluster names no folder for backups.
    await page.getByRole("button", { name: "Run a backup" }).click();
    await clicked("Run a backup", dialog().getByText("names no folder for backups"));
    await page.keyboard.press("Escape");
    await go("/roots-of-trust");
    for (const name of ["Version", "Versions", "Ends", "Next"]) {
      await page.getByRole("columnheader", { name, exact: true }).waitFor();
    }
    await isFit("Roots of trust");
    expect(told).toEqual([]);
  });
});
