import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { brotliCompressSync, brotliDecompressSync } from "node:zlib";
import { ManagementError } from "@holdfast/admin";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { type AdminTestOptions, openerOf, tokenOf } from "../../testing/admin.ts";
import { MemoryRegions } from "../../testing/memory-regions.ts";
import { readConsole } from "./console-files.ts";
import { linkName } from "./sign-in-links.ts";

const open = openerOf(onTestFinished);
const folder = mkdtempSync(join(tmpdir(), "holdfast-console-"));
const page = "<!doctype html><title>Holdfast</title>";
writeFileSync(join(folder, "index.html"), page);
writeFileSync(join(folder, "console.js"), "export {};");
writeFileSync(join(folder, "console.js.br"), brotliCompressSync("export {};"));
writeFileSync(join(folder, "stamp"), "not for browsers");
afterAll(() => rmSync(folder, { recursive: true }));

const other = "https://kms-a2.example:8443";
const viewer = tokenOf("viewer");
const own = { "x-holdfast-console": "1" };

async function openConsole(
  more: Partial<AdminTestOptions> = {},
  controlSocket?: string,
  wallMs: () => number = Date.now,
) {
  const files = readConsole(folder);
  if (files === undefined) throw new Error("no console");
  const links = mkdtempSync(join(folder, "links-"));
  const console = {
    files,
    nodes: [other],
    relyingParty: undefined,
    signInFolder: links,
    controlSocket,
    wallMs,
  };
  const admin = await open({ ...more, console });
  const signIn = (body: unknown, headers: Readonly<Record<string, string>> = own) =>
    admin.ask("/console/session", { method: "POST", body, headers });
  return { ...admin, links, signIn };
}

function cookieOf({ headers }: { readonly headers: Readonly<Record<string, unknown>> }): string {
  return String(headers["set-cookie"]).split(";")[0] ?? "";
}

describe("the files of the console", () => {
  test("have a strict policy, and only known ones are served", async () => {
    const admin = await openConsole();
    const index = await admin.ask("/console/");
    expect(index).toMatchObject({ status: 200, text: page });
    expect(index.headers).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
      "strict-transport-security": expect.stringContaining("max-age"),
    });
    const policy = String(index.headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).toContain(`connect-src 'self' ${other};`);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    for (const path of ["stamp", "console.js.br", "..%2fpackage.json", "../../etc/passwd"]) {
      expect((await admin.ask(`/console/${path}`)).status, path).toBe(404);
    }
    expect((await admin.ask("/console")).headers["location"]).toBe("/console/");
  });

  test("are sent compressed to whom takes that, and not again while they are the same", async () => {
    const admin = await openConsole();
    const plain = await admin.ask("/console/console.js");
    expect(plain).toMatchObject({ status: 200, text: "export {};" });
    const etag = String(plain.headers["etag"]);
    const headers = { "if-none-match": etag };
    expect(await admin.ask("/console/console.js", { headers })).toMatchObject({ status: 304 });
    const small = await admin.ask("/console/console.js", {
      headers: { "accept-encoding": "gzip, br" },
    });
    expect(small.headers["content-encoding"]).toBe("br");
    const files = readConsole(folder);
    expect(brotliDecompressSync(files?.get("console.js")?.brotli ?? "").toString()).toBe(
      "export {};",
    );
  });

  test("are not there without the console", async () => {
    const admin = await open();
    expect((await admin.ask("/console/")).status).toBe(404);
    const answer = await admin.ask("/console/session", { method: "POST", headers: own, body: {} });
    expect(answer.status).toBe(404);
  });
});

describe("a session", () => {
  test("is a cookie that no script can read and that does not show the token, and ends at the sign-out", async () => {
    const admin = await openConsole();
    const signedIn = await admin.signIn({ token: viewer });
    expect(signedIn).toMatchObject({ status: 204, text: "" });
    expect(signedIn.headers["set-cookie"]).toEqual([
      expect.stringMatching(
        /^__Host-holdfast=hfs_[\w-]{152}; Max-Age=28800; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
      ),
    ]);
    expect(Buffer.from(cookieOf(signedIn).slice(20), "base64url").includes(viewer)).toBe(false);
    const cookie = cookieOf(signedIn);
    const mine = await admin.ask("/v1/whoami", { headers: { ...own, cookie } });
    expect(mine.status).toBe((await admin.ask("/v1/whoami", { token: viewer })).status);
    expect(mine.status).not.toBe(401);
    const session = await admin.ask("/console/session", { headers: { cookie } });
    expect(session.json).toEqual({ nodes: [other], signedIn: true, hasSwitches: false });
    const out = await admin.ask("/console/session", {
      method: "DELETE",
      headers: { ...own, cookie },
    });
    expect(out.status).toBe(204);
    expect(String(out.headers["set-cookie"])).toContain("__Host-holdfast=; Max-Age=0");
    expect((await admin.ask("/console/session")).json["signedIn"]).toBe(false);
    const without = await admin.ask("/console/session", { method: "DELETE", headers: own });
    expect(without.status).toBe(204);
  });

  test("that was copied does not count after the sign-out, at any node, nor as a token", async () => {
    await using regions = new MemoryRegions();
    const [admin, there] = [
      await openConsole({ region: regions.a }),
      await openConsole({ region: regions.b }),
    ];
    const cookie = cookieOf(await admin.signIn({ token: viewer }));
    const token = cookie.split("=")[1] ?? "";
    const ways = [{ headers: { ...own, cookie } }, { token }];
    const answers = async () => {
      const nodes = [admin, there];
      const all = nodes.flatMap((node) => ways.map((way) => node.ask("/v1/whoami", way)));
      return (await Promise.all(all)).map(({ status, json }) => [status, json["detail"]]);
    };
    expect((await answers()).map(([status]) => status)).not.toContain(401);
    const asked = { method: "DELETE", headers: { ...own, cookie } };
    expect((await there.ask("/console/session", asked)).status).toBe(204);
    const refused = [401, "the session was ended: sign in again"];
    expect(await answers()).toEqual([refused, refused, refused, refused]);
    // The token itself is not ended by that.
    expect((await admin.ask("/v1/whoami", { token: viewer })).status).not.toBe(401);
    expect(admin.denials).toMatchObject([{ reason: "sessionEnded" }, { reason: "sessionEnded" }]);
    expect(JSON.stringify([admin.events, admin.denials])).not.toContain(token);
  });

  test("ends after eight hours", async () => {
    let nowMs = Date.now();
    const admin = await openConsole({}, undefined, () => nowMs);
    const cookie = cookieOf(await admin.signIn({ token: viewer }));
    const whoAmI = () => admin.ask("/v1/whoami", { headers: { ...own, cookie } });
    nowMs += 8 * 3_600_000 - 1;
    expect((await whoAmI()).status).not.toBe(401);
    nowMs += 1;
    expect(await whoAmI()).toMatchObject({
      status: 401,
      json: { detail: expect.stringContaining("the session is over") },
    });
  });

  test("is cleared in the browser although it cannot be ended, and the answer says until when it may count", async () => {
    await using regions = new MemoryRegions();
    const admin = await openConsole({ region: regions.a });
    const cookie = cookieOf(await admin.signIn({ token: viewer }));
    const problem = new ManagementError("storeUnavailable", "no store");
    regions.a.records.change = () => Promise.reject(problem);
    const out = await admin.ask("/console/session", {
      method: "DELETE",
      headers: { ...own, cookie },
    });
    expect(out).toMatchObject({ status: 503, json: { code: "storeUnavailable" } });
    expect(out.json["detail"]).toMatch(/may count until \d{4}-\d\d-\d\dT/);
    expect(String(out.headers["set-cookie"])).toContain("__Host-holdfast=; Max-Age=0");
  });

  test("is made with a token, not with a session, and a token in the cookie is no session", async () => {
    const admin = await openConsole();
    const cookie = cookieOf(await admin.signIn({ token: viewer }));
    const again = await admin.signIn({ token: cookie.split("=")[1] });
    expect(again.status).toBe(400);
    expect(again.headers["set-cookie"]).toBeUndefined();
    const raw = { ...own, cookie: `__Host-holdfast=${viewer}` };
    expect((await admin.ask("/v1/whoami", { headers: raw })).status).toBe(401);
    const session = await admin.ask("/console/session", { headers: raw });
    expect(session.json["signedIn"]).toBe(false);
  });

  test("stays at another sign-in with its token, and is ended by one with another token", async () => {
    const admin = await openConsole();
    const cookie = cookieOf(await admin.signIn({ token: viewer }));
    const headers = { ...own, cookie };
    const again = await admin.signIn({ token: viewer }, headers);
    expect(again.status).toBe(204);
    expect(again.headers["set-cookie"]).toBeUndefined();
    const other = await admin.signIn({ token: tokenOf("auditor") }, headers);
    expect(cookieOf(other)).toMatch(/=hfs_/);
    expect((await admin.ask("/v1/whoami", { headers })).status).toBe(401);
  });

  test("is not begun where its key cannot be kept", async () => {
    await using regions = new MemoryRegions();
    const problem = new ManagementError("storeUnavailable", "no store");
    regions.a.records.create = () => Promise.reject(problem);
    const admin = await openConsole({ region: regions.a });
    const signedIn = await admin.signIn({ token: viewer });
    expect(signedIn).toMatchObject({ status: 503, json: { code: "storeUnavailable" } });
    expect(signedIn.headers["set-cookie"]).toBeUndefined();
  });

  test("does not count for a request that another site can make", async () => {
    const admin = await openConsole();
    const cookie = cookieOf(await admin.signIn({ token: viewer }));
    expect((await admin.ask("/v1/whoami", { headers: { cookie } })).status).toBe(401);
    expect((await admin.signIn({ token: viewer }, {})).status).toBe(403);
    const out = await admin.ask("/console/session", { method: "DELETE", headers: { cookie } });
    expect(out.status).toBe(403);
    const preflight = (origin: string) =>
      admin.ask("/v1/instances", {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "x-holdfast-console",
        },
      });
    const allowed = await preflight(other);
    expect(allowed.headers).toMatchObject({
      "access-control-allow-origin": other,
      "access-control-allow-credentials": "true",
    });
    const refused = await preflight("https://evil.example");
    expect(refused.headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("needs a valid token, and bad input gets a clear refusal without its value", async () => {
    const admin = await openConsole({ failures: 3 });
    const long = { token: "x".repeat(4000) };
    for (const body of [{}, long, { token: viewer, code: "x".repeat(20) }, "text"]) {
      expect((await admin.signIn(body)).status).toBe(400);
    }
    const secret = `hf_unknown_${"s".repeat(40)}`;
    const unknown = await admin.signIn({ token: secret });
    expect(unknown).toMatchObject({ status: 401 });
    expect(unknown.text).not.toContain(secret);
    expect(unknown.headers["set-cookie"]).toBeUndefined();
    await admin.signIn({ token: secret });
    await admin.signIn({ token: secret });
    expect((await admin.signIn({ token: secret })).status).toBe(429);
    expect(JSON.stringify([admin.events, admin.denials])).not.toContain(secret);
  });
});

test("the switches of a development cluster are for its managers, and only known ones are passed on", async () => {
  const heard: string[] = [];
  const socket = join(mkdtempSync(join(folder, "control-")), "control.sock");
  const server = createServer({ allowHalfOpen: true }, (connection) => {
    void text(connection).then((request) => {
      heard.push(request);
      connection.end(JSON.stringify({ lines: ["done"] }));
    });
  });
  await once(server.listen(socket), "listening");
  onTestFinished(() => void server.close());
  const admin = await openConsole({}, socket);
  const turn = (role: string, body: unknown) =>
    admin.ask("/console/switches", { method: "POST", token: tokenOf(role), body });
  const kill = { fault: "kill", parts: ["a1"], stay: true };
  expect(await turn("manager", kill)).toMatchObject({ status: 200, json: { lines: ["done"] } });
  expect(heard).toEqual([JSON.stringify(kill)]);
  for (const role of ["viewer", "auditor", "operator", "security-officer"]) {
    expect((await turn(role, kill)).status, role).toBe(403);
  }
  for (const body of [{ fault: "bogus", parts: [], stay: true }, [], { load: "zzz" }]) {
    expect((await turn("manager", body)).status).toBe(400);
  }
  expect(heard).toHaveLength(1);
  const without = await openConsole();
  const asked = { method: "POST", token: tokenOf("manager"), body: kill };
  expect((await without.ask("/console/switches", asked)).status).toBe(404);
});

describe("a one-time link", () => {
  const code = "c".repeat(32);

  test("signs in once, also where two use it at the same time", async () => {
    const admin = await openConsole();
    writeFileSync(join(admin.links, linkName(code)), `${viewer}\n`);
    const both = await Promise.all([admin.signIn({ code }), admin.signIn({ code })]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([204, 401]);
    expect(both.map(({ text }) => text).join()).toContain("this link was used already");
    expect(readdirSync(admin.links)).toEqual([]);
  });

  test("does not work after an hour, nor does any other code, and guesses are few", async () => {
    const admin = await openConsole({ failures: 4 });
    const file = join(admin.links, linkName(code));
    writeFileSync(file, viewer);
    const then = Date.now() / 1000 - 3601;
    utimesSync(file, then, then);
    expect((await admin.signIn({ code })).status).toBe(401);
    expect((await admin.signIn({ code: "../../../../etc/passwd" })).status).toBe(401);
    await admin.signIn({ code: "guessed".repeat(4) });
    await admin.signIn({ code: "guessed".repeat(4) });
    expect((await admin.signIn({ code: "guessed".repeat(4) })).status).toBe(429);
  });
});
