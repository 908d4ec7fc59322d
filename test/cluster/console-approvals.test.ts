import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "@holdfast/testing";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  browserMissing,
  browserNote,
  enter,
  openPage,
  sendForm,
  startBrowser,
  unfitParts,
} from "../support/browser.ts";
import { commandLine, type Said, settled } from "../support/command-line.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";

/** The browser itself takes the certificates: a page with an error that was overlooked gets no authenticator. */
const options = { ignoreHTTPSErrors: false, reducedMotion: "reduce" } as const;
/** An authenticator works only for a name; this one is of no network. */
const domain = "kms.test";

describe.skipIf(browserMissing.length > 0)(`approvals in the console (${browserNote})`, () => {
  let folder: string;
  let managed: ManagedRegions;
  let token = "";
  let chrome: Browser;

  const file = (name: string) => join(folder, name);
  const run = (...args: readonly string[]): Promise<Said> =>
    commandLine(args, { env: { XDG_CONFIG_HOME: folder }, cwd: folder });

  const command = (...args: readonly string[]): Promise<Said> => settled(() => run(...args));

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "holdfast-authenticators-"));
    managed = await startManagedRegions(folder);
    token = await readFile(file("token"), "utf8");
    const names = managed.both.nodes.map(({ name, host }) => `MAP ${name}.${domain} ${host}`);
    // Chromium gives a page with a certificate error no authenticator.
    const rules = `--host-resolver-rules=${names.join(",")}`;
    chrome = await startBrowser([rules, "--ignore-certificate-errors"]);
  });

  afterAll(async () => {
    await chrome?.close();
    await managed?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  /** A person at a node's console, signed in, with an authenticator of their own. */
  async function person(node = "a1", path = "/access/approval-policy"): Promise<Page> {
    const { context, page } = await openPage(chrome, options);
    const devtools = await context.newCDPSession(page);
    await devtools.send("WebAuthn.enable");
    await devtools.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        ...{ protocol: "ctap2", transport: "internal" },
        ...{ hasResidentKey: true, hasUserVerification: true, isUserVerified: true },
      },
    });
    const origin = `https://${node}.${domain}:${managed.both.node(node).admin}`;
    await enter(page, origin, path, token);
    return page;
  }

  const go = (page: Page, path: string) => page.evaluate(`location.hash = ${JSON.stringify(path)}`);

  async function madeKey(page: Page, name: string): Promise<string> {
    const part = page.locator("section", { hasText: "Make a key in an authenticator" });
    await part.getByLabel("Name").fill(name);
    await part.getByRole("button", { name: "Make a key" }).click();
    const line = (await part.locator(".copied code").textContent()) ?? "";
    expect(line).toMatch(new RegExp(`^${name}=webauthn:a1\\.kms\\.test:[\\w-]{100,}$`));
    return line;
  }

  async function admitted(page: Page, name: string, text: string): Promise<string> {
    const part = page.locator("section", { hasText: "Sign a policy" });
    await part.getByLabel("Policy").first().fill(text);
    await part.getByLabel("Approver").selectOption(`${name} (new)`);
    await part.getByRole("button", { name: "Sign", exact: true }).click();
    return (await part.locator(".copied code").textContent()) ?? "";
  }

  /** Signs the request of the page with the key of this approver. */
  async function sign(page: Page, name: string): Promise<void> {
    await page.getByLabel("Approver").selectOption(name);
    await page.getByRole("button", { name: "Sign", exact: true }).click();
  }

  test("two people make keys in authenticators, begin a policy with them, and sign a request that then works once", async () => {
    const erin = await person();
    const frank = await person();
    const keys = [await madeKey(erin, "erin"), await madeKey(frank, "frank")];
    const alice = ["--name", "alice", "--key-out", file("alice.key")];
    const made = await run("approval", "key", "create", ...alice);
    const approvers = [made.out.trim(), ...keys].flatMap((one) => ["--approver", one]);
    const draft = ["approval", "draft", "--approvals", "2", "--out", file("policy"), ...approvers];
    expect(await run(...draft)).toMatchObject({ code: 0 });
    const text = await readFile(file("policy"), "utf8");
    const own = ["--key", file("alice.key"), "--yes", "--out", file("alice.sig")];
    expect(await run("approval", "sign", file("policy"), ...own)).toMatchObject({ code: 0 });
    const lines = [
      (await readFile(file("alice.sig"), "utf8")).trim(),
      await admitted(erin, "erin", text),
      await admitted(frank, "frank", text),
    ];
    await writeFile(file("all.sig"), lines.join("\n"));
    const config = managed.both.node("a1").configFile;
    const given = ["--file", file("policy"), "--signatures", file("all.sig")];
    const begun = await command("approval", "init", "--config", config, ...given);
    // A node that could not say whether it was done is asked again, and finds it done.
    expect([0, 6]).toContain(begun.code);
    await until("every node knows the policy", async () => {
      const policies = managed.both.nodes.map(({ name }) =>
        managed.at(name).call("readApprovalPolicy", {}),
      );
      return (await Promise.all(policies)).every(({ items }) => items[0]?.state === "in-force");
    });

    const wanted = ["token", "create", "--name", "second", "--roles", "manager"];
    const refused = await command(...wanted, ...managed.site("a1"));
    expect(refused.code, refused.err).toBe(6);
    const id = /--approval ([0-9a-f-]{36})/.exec(refused.err)?.[1] ?? "";
    await go(erin, `/access/approvals/${id}`);
    await erin.getByRole("heading", { name: "Sign with an authenticator" }).waitFor();
    await erin.getByText('"second"').first().waitFor();
    expect(await unfitParts(erin)).toEqual([]);
    // Somebody else's name does not carry a signature.
    await sign(erin, "frank");
    await erin.getByRole("alert").getByText("signature of frank is not of this request").waitFor();
    await sign(erin, "erin");
    await erin.getByText("Signed.", { exact: true }).waitFor();
    expect(await command(...wanted, "--approval", id, ...managed.site("a1"))).toMatchObject({
      code: 4,
      err: expect.stringContaining("1 of 2 approvers have signed"),
    });
    await go(frank, `/access/approvals/${id}`);
    await sign(frank, "frank");
    await frank.getByText("Signed.", { exact: true }).waitFor();
    const approved = await managed.at("a1").call("readApproval", { params: { approval: id } });
    expect(approved.signedBy.map(({ name }) => name).toSorted()).toEqual(["erin", "frank"]);
    // Hours later, the page of the request has all that the form needs.
    const carries = erin.getByRole("button", { name: "Carry out" });
    await until("the page says that it is approved", async () => {
      await erin.getByRole("button", { name: "Refresh" }).click();
      return (await carries.count()) > 0;
    });
    await carries.click();
    const form = erin.getByRole("dialog");
    expect(await form.getByRole("textbox", { name: /^Name/ }).inputValue()).toBe("second");
    expect(await form.getByLabel("manager", { exact: true }).isChecked()).toBe(true);
    await form.getByText("The same on the command line").click();
    await form.getByText(`--approval ${id}`).waitFor();
    expect(await unfitParts(erin)).toEqual([]);
    await sendForm(erin, (shown) => shown.getByText("it is shown only once").waitFor());
    const { items } = await managed.at("a1").call("listTokens", { query: { limit: 1000 } });
    expect(items.filter(({ name }) => name === "second")).toHaveLength(1);
    const use = [...wanted, "--approval", id, ...managed.site("a1")];
    expect((await command(...use)).err).toContain("works once");
    // Another authenticator has no key for this, and says so.
    const again = await command(
      "token",
      "create",
      "--name",
      "third",
      ...wanted.slice(4),
      ...managed.site("a1"),
    );
    const other = /--approval ([0-9a-f-]{36})/.exec(again.err)?.[1] ?? "";
    const stranger = await person("a1", `/access/approvals/${other}`);
    await sign(stranger, "erin");
    await stranger.getByRole("alert").getByText("The authenticator did not answer").waitFor();
  });

  test("a page at an IP address says why it has no authenticators", async () => {
    const { page } = await openPage(chrome, options);
    const { host, admin } = managed.both.node("b1");
    await enter(page, `https://${host}:${admin}`, "/access/approval-policy", token);
    await page.getByText("open the console by the name of a node").first().waitFor();
  });
});
