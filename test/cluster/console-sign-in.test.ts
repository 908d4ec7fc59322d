import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OidcProvider } from "../../packages/server/src/testing/oidc-provider.ts";
import {
  browserMissing,
  browserNote,
  openPage,
  startBrowser,
  violationsOf,
} from "../support/browser.ts";
import { type Consoles, layConsoles } from "../support/console.ts";

const offer = "Sign in with your identity provider";
const ends = "End it there too";

const browserless = describe.skipIf(browserMissing.length > 0);
browserless(`sign-in at an identity provider (${browserNote})`, () => {
  let provider: OidcProvider;
  let consoles: Consoles;
  let chrome: Browser;

  beforeAll(async () => {
    provider = await OidcProvider.start();
    // Two host names: to a browser, the nodes are two sites.
    consoles = await layConsoles(["127.0.0.1", "localhost"], (origin) => ({
      console: {
        signIn: { origin, clientId: "console", clientSecretFile: "console-secret" },
      },
      oidc: {
        issuer: provider.issuer,
        audience: "holdfast",
        ca: "provider-ca.pem",
        operator: ["kmip-operators"],
        nameClaim: "preferred_username",
      },
    }));
    const { region, origins } = consoles;
    const redirectUris = origins.map((origin) => `${origin}/console/signed-in`);
    provider.client = { id: "console", secret: "s3cret-of-this-client", redirectUris };
    provider.discovery = { end_session_endpoint: `${provider.issuer}/logout` };
    provider.postLogoutUris = origins.map((origin) => `${origin}/console/`);
    provider.grants = { claims: { preferred_username: "alice@example.com" } };
    await writeFile(join(region.folder, "provider-ca.pem"), provider.ca);
    await writeFile(join(region.folder, "console-secret"), "s3cret-of-this-client\n", {
      mode: 0o600,
    });
    await Promise.all(region.nodes.map((node) => node.start()));
    chrome = await startBrowser();
  });

  afterAll(async () => {
    await chrome?.close();
    await consoles?.region[Symbol.asyncDispose]();
    await provider?.[Symbol.asyncDispose]();
  });

  test("shows who the person is, ends at the sign-out, and leaves no code and no token behind", async () => {
    const [origin] = consoles.origins;
    await using opened = await openPage(chrome);
    const { context, page, told } = opened;
    const place = `${origin}/console/#/instances/own`;
    await page.goto(place);
    await page.getByRole("link", { name: offer }).click();
    await page.getByRole("link", { name: "Sign in as alice" }).click();
    await page.getByText("alice@example.com (operator)").waitFor();
    await page.getByRole("heading", { name: "own" }).waitFor();
    expect(page.url()).toBe(place);
    const cookies = await context.cookies(origin);
    expect(cookies).toEqual([
      expect.objectContaining({ httpOnly: true, secure: true, sameSite: "Strict" }),
    ]);
    const token = cookies[0]?.value ?? "";
    expect(token).toMatch(/^eyJ/);
    const kept = await page.evaluate(
      "JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, document.documentElement.outerHTML])",
    );
    const session = await context.newCDPSession(page);
    const { entries } = await session.send("Page.getNavigationHistory");
    const addresses = entries.map(({ url }) => url).join("\n");
    expect(addresses).toContain(`${provider.issuer}/authorize`);
    expect(addresses).not.toMatch(/[?&]code=/);
    expect(`${kept}\n${addresses}`).not.toContain(token);
    const logs = consoles.region.nodes.map((node) => node.logText()).join("\n");
    expect(logs).not.toContain(token);
    expect(logs).not.toMatch(/code_verifier|[?&]code=|s3cret-of-this-client/);

    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out of the console").waitFor();
    expect(await context.cookies(origin)).toEqual([]);
    await page.reload();
    await page.getByLabel("Token").waitFor();
    // What was offered at the sign-out is not offered to the next person.
    expect(await page.getByRole("link", { name: ends }).count()).toBe(0);
    expect(told).toEqual([]);
  });

  test("offers after a sign-out to end the provider's own session, which leads back to the sign-in", async () => {
    const [origin] = consoles.origins;
    await using opened = await openPage(chrome);
    const { context, page, told } = opened;
    await page.goto(`${origin}/console/#/instances`);
    await page.getByRole("link", { name: offer }).click();
    await page.getByRole("link", { name: "Sign in as alice" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    const link = page.getByRole("link", { name: ends });
    expect(await link.getAttribute("href")).toBe(`${origin}/console/sign-out`);
    expect(await violationsOf(page)).toEqual([]);
    await link.click();
    await page.getByRole("link", { name: "Yes, sign out" }).click();
    await page.getByLabel("Token").waitFor();
    expect(new URL(page.url()).origin).toBe(origin);
    expect(provider.ended).toBe(1);
    expect(await context.cookies(origin)).toEqual([]);
    expect(told).toEqual([]);
  });

  test("says why it failed, and what is over, at the place where the person was", async () => {
    const [origin] = consoles.origins;
    await using opened = await openPage(chrome);
    const { context, page, told } = opened;
    const place = `${origin}/console/#/events?action=x`;
    await page.goto(place);
    await page.getByRole("link", { name: offer }).click();
    await page.getByRole("link", { name: "Refuse" }).click();
    await page.getByText("access was denied").waitFor();
    expect(page.url()).toBe(place);
    // A code of the address gives a sentence of the console, and never its own text.
    await page.goto("about:blank");
    await page.goto(`${origin}/console/#/sign-in?failure=Call+0900-1234&place=//evil.example`);
    await page.getByText("The sign-in at the identity provider failed.").waitFor();
    expect(await page.locator("body").textContent()).not.toContain("0900");
    expect(new URL(page.url()).origin).toBe(origin);

    await page.getByRole("link", { name: offer }).click();
    await page.getByRole("link", { name: "Sign in as alice" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    // As the browser does when the token ends.
    await context.clearCookies();
    await page.getByText("The session is over").waitFor();
    await page.getByRole("link", { name: offer }).waitFor();
    expect(told).toEqual([]);
  });

  test("counts at one host name: the next node says so, and offers its own", async () => {
    const [origin, other] = consoles.origins;
    await using opened = await openPage(chrome);
    const { page, told } = opened;
    await page.goto(`${origin}/console/#/instances`);
    await page.getByRole("link", { name: offer }).click();
    await page.getByRole("link", { name: "Sign in as alice" }).click();
    await page.getByRole("link", { name: "own" }).waitFor();
    await consoles.region.node(0).kill();
    await page.getByRole("button", { name: "Refresh" }).click();
    const { host } = new URL(other);
    await page.getByText(`your session there does not count at ${host}`).waitFor();
    await page.getByRole("link", { name: offer }).click();
    await page.getByRole("link", { name: "Sign in as alice" }).click();
    await page.getByRole("link", { name: "own" }).waitFor();
    expect(page.url()).toBe(`${other}/console/#/instances`);
    expect(told).toEqual([]);
  });
});
