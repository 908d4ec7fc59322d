import { get } from "node:http";
import { text } from "node:stream/consumers";
import { freePort } from "@holdfast/testing";
import { expect, test } from "vitest";
import { PageServer } from "./page-server.ts";

const host = "127.0.0.1";

async function opened() {
  const page = { host, port: await freePort() };
  // Nothing listens on that port: Prometheus is down.
  const server = await PageServer.open(page, { host, port: await freePort() });
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`http://${host}:${page.port}${path}`, init);
  return { server, port: page.port, ask };
}

test("the page loads nothing from other hosts, and every part has its content type", async () => {
  const { server, ask } = await opened();
  await using _ = server;
  for (const [path, type] of [
    ["/", "text/html"],
    ["/page.css", "text/css"],
    ["/main.ts", "text/javascript"],
    ["/uplot.js", "text/javascript"],
    ["/dashboards.json", "application/json"],
  ] as const) {
    const { status, headers } = await ask(path);
    expect({ path, status, type: headers.get("content-type") }).toEqual({
      path,
      status: 200,
      type: `${type}; charset=utf-8`,
    });
    expect(headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';/,
    );
  }
  const script = await (await ask("/draw.ts")).text();
  expect(script).toContain('from "/uplot.js"');
});

test("only queries are passed on to Prometheus", async () => {
  const { server, ask } = await opened();
  await using _ = server;
  const status = async (path: string, init?: RequestInit) => (await ask(path, init)).status;
  expect(await status("/api/v1/admin/tsdb/delete_series?match[]=up")).toBe(404);
  expect(await status("/-/quit")).toBe(404);
  expect(await status("/%2e%2e/page-server.ts")).toBe(404);
  expect(await status("/", { method: "POST" })).toBe(405);
  expect(await status("/api/v1/query?query=up")).toBe(502);
});

test("a page with another host name cannot read it", async () => {
  const { server, port } = await opened();
  await using _ = server;
  const answer = await new Promise<string>((resolve, reject) => {
    get({ host, port, headers: { host: "elsewhere.example" } }, (response) => {
      resolve(text(response).then((words) => `${response.statusCode} ${words}`));
    }).on("error", reject);
  });
  expect(answer).toBe(`421 ask http://${host}:${port}/\n`);
});
