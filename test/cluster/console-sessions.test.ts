import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AdminProblem } from "@holdfast/admin";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { say } from "../support/load.ts";
import { type ManagedRegions, startManagedRegions } from "../support/managed-regions.ts";
import { type RawAnswer, RawHttps, type RawRequest } from "../support/raw-https.ts";
import { patient } from "../support/root-regions.ts";

const own = { "x-holdfast-console": "1" };

let folder: string;
let managed: ManagedRegions;
/** The last part of an address of this machine from which nobody has asked yet. */
let unused = 1;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast-sessions-"));
  managed = await startManagedRegions(folder);
});

afterAll(async () => {
  await managed?.[Symbol.asyncDispose]();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** Asks a node from an address of its own each time: one that is refused often has to wait. */
async function ask(node: string, request: RawRequest): Promise<RawAnswer> {
  const { host, admin } = managed.both.node(node);
  using source = new RawHttps(`https://${host}:${admin}`, managed.both.a.ca, `127.0.3.${unused}`);
  unused = (unused % 250) + 1;
  return await source.ask(request);
}

/** Begins or ends a session; answers the browser's cookie after that. */
function session(node: string, method: "POST" | "DELETE", cookie = "", given?: object) {
  return patient(async () => {
    const body = given === undefined ? undefined : JSON.stringify(given);
    const request = { method, path: "/console/session", headers: { ...own, cookie }, body };
    const { status, headers, json } = await ask(node, request);
    if (status !== 204) throw new AdminProblem(status, json, undefined);
    return String(headers["set-cookie"]).split(";")[0] ?? "";
  });
}

/** What each node answers to a copy of the cookie, sent as a cookie and as a token. */
async function answers(cookie: string): Promise<readonly string[]> {
  const ways = [{ headers: { ...own, cookie } }, { token: cookie.split("=")[1] }];
  const all = managed.both.nodes.flatMap(({ name }) =>
    ways.map(async (way) => {
      const { status } = await ask(name, { method: "GET", path: "/v1/whoami", ...way });
      return `${name} ${status}`;
    }),
  );
  return await Promise.all(all);
}

/** A node may hear of a session a moment later, or refuse for a moment on a busy machine. */
async function untilAnswers(
  what: string,
  cookie: string,
  wanted: readonly string[],
): Promise<void> {
  await until(what, async () => {
    const found = (await answers(cookie)).join();
    return found === wanted.join() || found;
  });
}

test("a session counts at every node of both regions, and after a sign-out at any of them a copy of its cookie counts at none", async () => {
  const token = (await readFile(join(folder, "token"), "utf8")).trim();
  const everywhere = (status: number) =>
    managed.both.nodes.flatMap(({ name }) => [`${name} ${status}`, `${name} ${status}`]);
  for (const [from, to] of [
    ["a1", "a2"],
    ["b2", "a1"],
  ] as const) {
    const cookie = await session(from, "POST", "", { token });
    expect(cookie).toMatch(/^__Host-holdfast=hfs_/);
    const others = await session(from, "POST", "", { token });
    await untilAnswers("it counts everywhere", cookie, everywhere(200));
    expect(await session(to, "DELETE", cookie)).toBe("__Host-holdfast=");
    const endedMs = performance.now();
    await untilAnswers("the copy counts nowhere", cookie, everywhere(401));
    const tookMs = Math.round(performance.now() - endedMs);
    say(`a copied cookie is refused at all nodes ${tookMs} ms after the sign-out`);
    // Other sessions of the same token stay.
    await untilAnswers("the other session counts", others, everywhere(200));
  }
  for (const node of managed.both.nodes) expect(node.logText(), node.name).not.toContain("hfs_");
});
