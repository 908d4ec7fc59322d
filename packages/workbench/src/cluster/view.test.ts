import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { inWords, view } from "./view.ts";

const servers: ReturnType<typeof createServer>[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A node that returns these lines and metrics. */
async function node(ready: number, lines: readonly string[], metrics: readonly string[]) {
  const server = createServer((request, response) => {
    const isMetrics = request.url === "/metrics";
    response.writeHead(isMetrics ? 200 : ready, { connection: "close" });
    response.end(`${(isMetrics ? metrics : lines).join("\n")}\n`);
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

const open = "holdfast_listener_open 1";
const leads = [open, "holdfast_leader 1", "holdfast_leader_epoch 7"];
const well = ["ok", "read: ok", "write: ok", "serving: own store", "peer b: up (10.0.0.1:9443)"];

test.each([
  [200, well, leads, "reads and changes from own store; leads its region, epoch 7"],
  [
    200,
    ["ok", "read: ok", "write: no (x)", "serving: own store", "peer b: down (no answer)"],
    [open, "holdfast_leader 0"],
    "reads only from own store; cannot reach the other region",
  ],
  [
    200,
    ["ok", "read: ok", "write: ok", "serving: the other region's store (no lease)"],
    [open],
    "reads and changes from the other region's store (no lease)",
  ],
  [
    200,
    [
      "ok",
      "read: ok",
      "write: ok",
      "serving: own store",
      "peer b: retired (an operator retired it)",
    ],
    [open],
    "reads and changes from own store; the other region is retired",
  ],
  [
    503,
    ["not ready", "read: no (store round trip: 9 s)", "write: no (x)", "serving: own store"],
    [open],
    "refuses clients: store round trip: 9 s",
  ],
  [
    503,
    ["not ready", "read: no (x)", "write: no (x)", "serving: nothing (retired)"],
    [open],
    "serves nothing (retired)",
  ],
])("the summary of a node that answers %i, %j is right", async (status, lines, metrics, words) => {
  const seen = await view(await node(status, lines, metrics));
  expect(inWords(seen)).toBe(words);
  expect(seen.ready).toBe(status === 200);
  expect(seen.leads).toBe(metrics.length === 1 ? undefined : metrics === leads);
});

test("a node whose KMIP listener is closed is not ready, whatever its health says", async () => {
  expect((await view(await node(200, well, ["holdfast_listener_open 0"]))).ready).toBe(false);
});

test("a node that does not exist does not answer", async () => {
  expect(inWords(await view({ host: "127.0.0.1", port: 1 }))).toBe("does not answer");
});
