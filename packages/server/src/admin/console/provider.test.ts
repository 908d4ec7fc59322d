import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { OperatorError } from "../../base/operator-error.ts";
import { systemIds } from "../../base/system.ts";
import type { NodeEvent } from "../../observe/events.ts";
import { type AdminTestOptions, type Answered, openerOf, tokenOf } from "../../testing/admin.ts";
import { OidcProvider, type TokenOptions } from "../../testing/oidc-provider.ts";
import { type OidcOptions, OidcTokens } from "../access/oidc.ts";
import { readConsole } from "./console-files.ts";
import { ProviderClient, readClientSecret } from "./provider-client.ts";

const open = openerOf(onTestFinished);
const folder = mkdtempSync(join(tmpdir(), "holdfast-provider-"));
writeFileSync(join(folder, "index.html"), "<!doctype html><title>Holdfast</title>");
const origin = "https://kms-a1.example:8443";
const redirectUri = `${origin}/console/signed-in`;
const own = { "x-holdfast-console": "1" };
let provider: OidcProvider;
let events: NodeEvent[] = [];

beforeAll(async () => {
  provider = await OidcProvider.start();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await provider[Symbol.asyncDispose]();
});
beforeEach(() => {
  events = [];
  provider.broken = false;
  provider.discovery = {};
  provider.tokenAnswer = {};
  provider.grants = { claims: { preferred_username: "alice@example.com" } };
  provider.client = { id: "console", secret: undefined, redirectUris: [redirectUri] };
  provider.asked.length = 0;
  provider.seen.length = 0;
});

function oidcTokens(settings: Partial<OidcOptions["settings"]>): OidcTokens {
  return new OidcTokens({
    settings: {
      issuer: provider.issuer,
      audience: "holdfast",
      account: undefined,
      roleClaim: "roles",
      viewer: [],
      auditor: [],
      operator: ["kmip-operators"],
      securityOfficer: [],
      manager: [],
      instancesClaim: undefined,
      labelsClaim: undefined,
      nameClaim: "preferred_username",
      clockToleranceSeconds: 5,
      tokenTypes: ["at+jwt"],
      lifetimeMaxSeconds: 86_400,
      ...settings,
    },
    ca: provider.ca,
    instances: { idOf: () => undefined, labelled: () => [] },
    wallMs: Date.now,
    monotonicMs: () => performance.now(),
    observe: (event) => events.push(event),
  });
}

/** A node whose console signs people in at the provider, and a browser that keeps what it must. */
async function openNode(more: Partial<AdminTestOptions> = {}, oidc = oidcTokens({})) {
  const files = readConsole(folder);
  if (files === undefined) throw new Error("no console");
  const client = new ProviderClient({
    settings: { origin, clientId: "console", scopes: ["openid", "kms"] },
    clientSecret: provider.client.secret,
    oidc,
    ca: provider.ca,
    randomBytes: systemIds.randomBytes,
    monotonicMs: () => performance.now(),
    observe: (event) => events.push(event),
  });
  const console = {
    ...{
      files,
      nodes: [],
      relyingParty: undefined,
      signInFolder: undefined,
      controlSocket: undefined,
    },
    ...{ provider: client, wallMs: Date.now },
  };
  const admin = await open({ ...more, console, foreign: oidc });
  /** Begins at the sign-in page, and comes as far as the provider's. */
  const begin = async (place = "/instances/demo?limit=5") => {
    const answer = await admin.ask(`/console/sign-in?${new URLSearchParams({ place })}`);
    const cookie = cookieOf(answer, "__Host-holdfast-sign-in");
    return { answer, cookie, address: locationOf(answer) };
  };
  const comeBack = (address: string, cookie: string) =>
    admin.ask(address.replace(origin, ""), { headers: { cookie } });
  const signIn = async (decision: "allow" | "deny" = "allow") => {
    const { cookie, address } = await begin();
    return await comeBack(provider.decide(address, decision), cookie);
  };
  return { ...admin, begin, comeBack, signIn };
}

function cookiesOf({ headers }: Pick<Answered, "headers">): readonly string[] {
  return [headers["set-cookie"] ?? []].flat();
}

function cookieOf(answer: Pick<Answered, "headers">, name: string): string {
  const found = cookiesOf(answer).find((each) => each.startsWith(`${name}=`));
  return found?.split(";")[0] ?? "";
}

function locationOf({ headers }: Pick<Answered, "headers">): string {
  return String(headers["location"]);
}

/** The failure that the sign-in page shows; no session was made. */
function failureOf(answer: Answered): string | null {
  expect(answer.status).toBe(303);
  expect(answer.text).toBe("");
  expect(cookieOf(answer, "__Host-holdfast")).toBe("");
  const [page, query] = locationOf(answer).split("?");
  expect(page).toBe("/console/#/sign-in");
  return new URLSearchParams(query).get("failure");
}

describe("a sign-in at the identity provider", () => {
  test("gives a session that lasts as long as the token, and leads back to where the person was", async () => {
    const node = await openNode();
    const session = await node.ask("/console/session");
    expect(session.json["signInAt"]).toBe(`${origin}/console/sign-in`);
    const { answer, cookie, address } = await node.begin();
    expect(answer).toMatchObject({ status: 303, text: "" });
    expect(answer.headers).toMatchObject({
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
    });
    expect(cookiesOf(answer)).toEqual([
      expect.stringMatching(/; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/),
    ]);
    const asked = new URL(address);
    expect(`${asked.origin}${asked.pathname}`).toBe(`${provider.issuer}/authorize`);
    expect(asked.searchParams.get("scope")).toBe("openid kms");
    expect(asked.searchParams.get("redirect_uri")).toBe(redirectUri);

    const back = await node.comeBack(provider.decide(address, "allow"), cookie);
    expect(back).toMatchObject({ status: 303, text: "" });
    expect(locationOf(back)).toBe("/console/#/instances/demo?limit=5");
    const [flow, kept = ""] = cookiesOf(back);
    expect(flow).toMatch(/^__Host-holdfast-sign-in=; Max-Age=0; /);
    expect(kept).toMatch(/; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
    const seconds = Number(/Max-Age=(\d+)/.exec(kept)?.[1]);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(300);
    const headers = { ...own, cookie: cookieOf(back, "__Host-holdfast") };
    // The test's handler says that it was reached.
    expect((await node.ask("/v1/whoami", { headers })).status).toBe(409);
    expect(provider.seen).toEqual([""]);
  });

  test("lasts eight hours at most", async () => {
    provider.grants = { expiresIn: 12 * 3600 };
    const node = await openNode();
    expect(cookiesOf(await node.signIn())[1]).toContain("Max-Age=28800;");
  });

  test.each([
    ["in the header, encoded as in a form", undefined, ["Basic"]],
    ["in the form, where the provider takes no other way", ["client_secret_post"], [""]],
  ])("has the client's secret %s", async (_, methods, seen) => {
    provider.client = { id: "console", secret: "a secret: 50% + ä", redirectUris: [redirectUri] };
    provider.discovery = { token_endpoint_auth_methods_supported: methods };
    const node = await openNode();
    expect(locationOf(await node.signIn())).toBe("/console/#/instances/demo?limit=5");
    expect(provider.seen).toEqual(seen);
  });

  test.each([
    ["https://evil.example/"],
    ["//evil.example"],
    ["/x\r\nset-cookie: a=b"],
    ["/ä"],
    [`/${"x".repeat(501)}`],
    ["/sign-in?code=cccccccccccccccccccc"],
  ])("leads to no place like %j but to a page of the console", async (place) => {
    const node = await openNode();
    const { cookie, address } = await node.begin(place);
    const back = locationOf(await node.comeBack(provider.decide(address, "allow"), cookie));
    expect(new URL(back, origin).href.split("#")[0]).toBe(`${origin}/console/`);
    expect(["/console/#/", `/console/#${place}`]).toContain(back);
    expect(back).not.toMatch(/code=|[\r\n]|[^\x21-\x7e]/);
    expect(back.length).toBeLessThan(520);
  });
});

describe("a sign-in is refused", () => {
  test("if the answer does not belong to this browser's sign-in, or to no sign-in", async () => {
    const node = await openNode();
    const mine = await node.begin();
    const others = await node.begin();
    const answer = provider.decide(others.address, "allow");
    expect(failureOf(await node.comeBack(answer, mine.cookie))).toBe("otherFlow");
    expect(failureOf(await node.comeBack(answer, ""))).toBe("otherFlow");
    for (const text of ["", "x", "a.b.c", `${"a".repeat(43)}.${"b".repeat(43)}.`]) {
      const cookie = `__Host-holdfast-sign-in=${text}`;
      expect(failureOf(await node.comeBack(answer, cookie))).toBe("otherFlow");
    }
    for (const query of [
      "",
      "state=",
      "state=a&state=b&code=c",
      "code=x",
      `state=${"s".repeat(300)}`,
    ]) {
      const address = `${redirectUri}?${query}`;
      expect(failureOf(await node.comeBack(address, mine.cookie)), query).toBe("otherFlow");
    }
    const elsewhere = new URL(provider.decide(mine.address, "allow"));
    elsewhere.searchParams.set("iss", "https://evil.example");
    expect(failureOf(await node.comeBack(elsewhere.href, mine.cookie))).toBe("otherFlow");
    // The provider was not asked for a token.
    expect(provider.seen).toEqual([]);
  });

  test("if the code was used already, or belongs to another verifier", async () => {
    const node = await openNode();
    const { cookie, address } = await node.begin();
    const answer = provider.decide(address, "allow");
    expect(locationOf(await node.comeBack(answer, cookie))).toBe(
      "/console/#/instances/demo?limit=5",
    );
    expect(failureOf(await node.comeBack(answer, cookie))).toBe("usedCode");
    const other = await node.begin();
    const stolen = new URL(provider.decide(address, "allow"));
    stolen.searchParams.set("state", new URL(other.address).searchParams.get("state") ?? "");
    expect(failureOf(await node.comeBack(stolen.href, other.cookie))).toBe("usedCode");
  });

  test.each<[string, TokenOptions, string]>([
    ["is no access token", { typ: "JWT" }, "wrongType"],
    ["gives no role", { claims: { roles: ["staff"] } }, "noRole"],
    ["is for another audience", { audience: "vcenter" }, "noRole"],
    ["is valid for too long", { expiresIn: 90_000 }, "longLived"],
    ["has expired", { expiresIn: -60 }, "expired"],
    ["has expired, which the tolerance allows", { expiresIn: -2 }, "expired"],
    ["does not fit into a cookie", { claims: { groups: "g".repeat(3000) } }, "tooLarge"],
  ])("if the token %s", async (_, grants, failure) => {
    provider.grants = grants;
    const node = await openNode();
    expect(failureOf(await node.signIn())).toBe(failure);
  });

  test.each([
    ["one of Holdfast's own tokens", { access_token: tokenOf("manager") }, "noRole"],
    ["no bearer token", { token_type: "DPoP" }, "providerRefused"],
    ["no token", { access_token: undefined }, "providerRefused"],
    ["more than a token has", { more: "x".repeat(200_000) }, "providerDown"],
  ])("if the provider gives %s", async (_, answer, failure) => {
    provider.tokenAnswer = answer;
    const node = await openNode();
    expect(failureOf(await node.signIn())).toBe(failure);
  });

  test("if the person refuses at the provider, which needs no token and leaves the place", async () => {
    const node = await openNode();
    const answer = await node.signIn("deny");
    expect(failureOf(answer)).toBe("denied");
    const query = new URLSearchParams(locationOf(answer).split("?")[1]);
    expect(query.get("place")).toBe("/instances/demo?limit=5");
    const { cookie, address } = await node.begin();
    const broken = new URL(provider.decide(address, "deny"));
    broken.searchParams.set("error", "<b>server_error</b>");
    const other = await node.comeBack(broken.href, cookie);
    expect(failureOf(other)).toBe("providerRefused");
    expect(locationOf(other)).not.toContain("server_error");
  });

  test("while the provider is down, has no endpoint over TLS, or does not know the client", async () => {
    const node = await openNode();
    const { cookie, address } = await node.begin();
    provider.broken = true;
    expect(failureOf(await node.comeBack(provider.decide(address, "allow"), cookie))).toBe(
      "providerDown",
    );
    const down = await openNode();
    expect(failureOf((await down.begin()).answer)).toBe("providerDown");
    provider.broken = false;
    provider.discovery = { token_endpoint: "http://localhost/token" };
    const plain = await openNode();
    expect(failureOf((await plain.begin()).answer)).toBe("providerRefused");
    provider.discovery = {};
    const strange = await openNode();
    provider.client = { id: "console", secret: "another", redirectUris: [redirectUri] };
    expect(failureOf(await strange.signIn())).toBe("providerRefused");
    expect(events.map((event) => "message" in event && event.message)).toContainEqual(
      expect.stringContaining("admin.console.signIn: the provider does not sign people in"),
    );
  });

  test("after too many tries from an address, with the token's refusal audited like any other", async () => {
    provider.grants = { typ: "JWT" };
    const node = await openNode({ strangers: 5 });
    expect(failureOf(await node.signIn())).toBe("wrongType");
    expect(node.denials).toMatchObject([{ operation: "whoAmI", reason: "wrongType" }]);
    expect(failureOf(await node.signIn())).toBe("wrongType");
    const { cookie, address } = await node.begin();
    const asked = provider.asked.length;
    expect(failureOf(await node.comeBack(provider.decide(address, "allow"), cookie))).toBe(
      "tooMany",
    );
    expect(failureOf((await node.begin()).answer)).toBe("tooMany");
    expect(provider.asked).toHaveLength(asked);
  });

  test("without a secret in what the node notes", async () => {
    provider.client = { id: "console", secret: "never-to-be-seen", redirectUris: [redirectUri] };
    const node = await openNode();
    provider.client = { ...provider.client, secret: "another" };
    const { cookie, address } = await node.begin();
    const answer = provider.decide(address, "allow");
    failureOf(await node.comeBack(answer, cookie));
    const code = new URL(answer).searchParams.get("code") ?? "";
    const noted = JSON.stringify([events, node.events, node.denials]);
    for (const secret of ["never-to-be-seen", code, cookie.split("=")[1] ?? ""]) {
      expect(secret).not.toBe("");
      expect(noted).not.toContain(secret);
    }
  });
});

describe("the end of the session at the identity provider", () => {
  test("is offered once the provider is known to end it, and leads only to the configured address", async () => {
    const endpoint = `${provider.issuer}/logout?tenant=one`;
    provider.discovery = { end_session_endpoint: endpoint };
    const node = await openNode();
    expect((await node.ask("/console/session")).json).not.toHaveProperty("signOutAt");
    await node.signIn();
    const session = await node.ask("/console/session");
    expect(session.json["signOutAt"]).toBe(`${origin}/console/sign-out`);
    const asked = "post_logout_redirect_uri=https://evil.example&place=//evil.example";
    for (const query of ["", `?${asked}`]) {
      const answer = await node.ask(`/console/sign-out${query}`);
      expect(answer).toMatchObject({ status: 303, text: "" });
      const address = new URL(locationOf(answer));
      expect(`${address.origin}${address.pathname}`).toBe(`${provider.issuer}/logout`);
      expect(Object.fromEntries(address.searchParams)).toEqual({
        tenant: "one",
        client_id: "console",
        post_logout_redirect_uri: `${origin}/console/`,
      });
    }
  });

  test.each([
    ["without an endpoint", {}],
    ["with one that has no TLS", { end_session_endpoint: "http://localhost/logout" }],
  ])("is not offered by a provider %s", async (_, discovery) => {
    provider.discovery = discovery;
    const node = await openNode();
    await node.signIn();
    expect((await node.ask("/console/session")).json).not.toHaveProperty("signOutAt");
    expect(failureOf(await node.ask("/console/sign-out"))).toBe("noSignOut");
  });
});

test("a node without the setting offers no sign-in at a provider", async () => {
  const files = readConsole(folder);
  if (files === undefined) throw new Error("no console");
  const about = {
    files,
    nodes: [],
    relyingParty: undefined,
    signInFolder: undefined,
    controlSocket: undefined,
  };
  const node = await open({ console: { ...about, wallMs: Date.now } });
  expect((await node.ask("/console/session")).json).not.toHaveProperty("signInAt");
  expect((await node.ask("/console/sign-in")).status).toBe(404);
});

test("the client's secret is the first line of its file, which must not be empty", () => {
  const file = join(folder, "secret");
  writeFileSync(file, " s3cret \nmore\n");
  expect(readClientSecret(file)).toBe("s3cret");
  expect(readClientSecret(undefined)).toBeUndefined();
  writeFileSync(file, "\n");
  expect(() => readClientSecret(file)).toThrow(OperatorError);
  expect(() => readClientSecret(`${file}-missing`)).toThrow(/clientSecretFile/);
});
