import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Health } from "./health.ts";
import { type OpenListener, openHttp } from "./http.ts";
import { Metrics } from "./metrics/metrics.ts";

let health: Health;
let metrics: Metrics;
let http: OpenListener;
let monotonicMs: () => number;
const loopback = { host: "127.0.0.1", port: 0 };

beforeEach(async () => {
  monotonicMs = () => 0;
  const settings = { downAfterMs: 0, upAfterMs: 0, rootOfTrustGraceMs: 0 };
  health = new Health(settings, () => performance.now());
  metrics = new Metrics(Date.now);
  http = await openHttp(loopback, { metrics, health, monotonicMs });
});
afterEach(() => http.close());

async function get(path: string, method = "GET") {
  const answer = await fetch(`http://${http.address}${path}`, { method });
  return { status: answer.status, text: await answer.text(), headers: answer.headers };
}

describe("http", () => {
  test("/metrics returns the Prometheus format", async () => {
    metrics.observe({ type: "connectionDropped" });
    const { status, text, headers } = await get("/metrics");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toMatch(/^text\/plain; version=0.0.4/);
    expect(text).toContain("holdfast_connections_dropped_total 1\n");
  });

  test("/metrics is printed again only after 20 times the duration of the last printing", async () => {
    let nowMs = 0;
    monotonicMs = () => nowMs++;
    await http.close();
    http = await openHttp(loopback, { metrics, health, monotonicMs });
    const scraped: string[] = [];
    // Each printing takes one millisecond, and each scrape reads the clock once.
    while (nowMs < 30) {
      metrics.observe({ type: "connectionDropped" });
      const { text } = await get("/metrics");
      scraped.push(/^holdfast_connections_dropped_total (\d+)$/m.exec(text)?.[1] ?? "");
    }
    expect([...new Set(scraped)]).toEqual(["1", "21"]);
    const headers = { "cache-control": "no-cache" };
    metrics.observe({ type: "connectionDropped" });
    const fresh = await fetch(`http://${http.address}/metrics`, { headers });
    expect(await fresh.text()).toContain(
      `holdfast_connections_dropped_total ${scraped.length + 1}\n`,
    );
  });

  test("/livez reports that the process is alive, whatever the state of the store", async () => {
    expect(await get("/livez")).toMatchObject({ status: 200, text: "ok\n" });
  });

  test("/readyz reports the health of the node and the reason", async () => {
    const why = await get("/readyz");
    expect(why.status).toBe(503);
    expect(why.text.split("\n").slice(0, 2)).toEqual([
      "not ready",
      "read: no (root of trust unknown: not probed yet)",
    ]);
    health.note({
      serving: { from: "local", writes: true, reason: "" },
      lease: { state: "full", reason: "full barrier" },
      leader: { leads: true, epoch: 7 },
    });
    health.rootOfTrust("ok", "");
    expect(await get("/readyz")).toMatchObject({ status: 200, text: "ok\n" });
    expect(await get("/readyz?verbose")).toMatchObject({
      status: 200,
      text: [
        "ok",
        "read: ok",
        "write: ok",
        "serving: own store",
        "store: full (full barrier)",
        "store round trip: ok (not probed yet)",
        "storage key: ok (not asked for yet)",
        "memory: no (store.memoryFile is not set, or the store was not reached yet)",
        "root of trust: ok",
        "leader: this node (epoch 7)",
        "system records: ok",
        "certificates: ok",
        "event loop: ok",
        "",
      ].join("\n"),
    });
    health.drain();
    expect((await get("/readyz")).status).toBe(503);
  });

  test("/readyz has one line for each part, also if a service answered with a line end", async () => {
    health.rootOfTrust("unreachable", "it is not available (500 x)\nread: ok\u001b[2J\u009b\u202e");
    const { text } = await get("/readyz");
    expect(text.split("\n").filter((line) => line.startsWith("read: "))).toHaveLength(1);
    expect(text).toMatch(/^[\n -~]+$/);
    expect(text).toContain("(500 x)\\u000aread: ok\\u001b[2J\\u009b\\u202e");
  });

  test.each([
    ["GET", "/", 404],
    ["GET", "/metrics/", 404],
    ["GET", "//livez", 404],
    ["POST", "/metrics", 405],
    ["DELETE", "/livez", 405],
    ["HEAD", "/livez", 200],
  ])("%s %s is answered %i", async (method, path, status) => {
    expect((await get(path, method)).status).toBe(status);
  });

  test("a connection that does not send valid HTTP is answered or closed, and the listener stays open", async () => {
    const [host, port] = http.address.split(":");
    for (const bytes of [
      "\0\0\0\0\r\n\r\n",
      "GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
    ]) {
      const socket = connect({ host, port: Number(port) });
      socket.on("error", () => undefined).resume();
      socket.end(bytes);
      await once(socket, "close");
    }
    expect((await get("/livez")).status).toBe(200);
  });

  test("an address that is in use causes an error that names the setting", async () => {
    const [host, port] = http.address.split(":") as [string, string];
    const second = openHttp({ host, port: Number(port) }, { metrics, health, monotonicMs });
    await expect(second).rejects.toThrow(`http.listen: ${http.address} is in use`);
  });
});
