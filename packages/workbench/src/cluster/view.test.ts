import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { inWords, view } from "./view.ts";

const servers: ReturnType<typeof createServer>[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A node that returns these lines, and nothing that costs more. */
async function node(ready: number, lines: readonly string[]) {
  const server = createServer((request, response) => {
    response.writeHead(request.url === "/readyz?verbose" ? ready : 404, { connection: "close" });
    response.end(`${lines.join("\n")}\n`);
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

const well = ["ok", "read: ok", "write: ok", "serving: own store", "peer b: up (10.0.0.1:9443)"];
const leads = [...well, "leader: this node (epoch 7)"];

test.each([
  [200, leads, true, "reads and changes from own store; leads its region, epoch 7"],
  [
    200,
    [
      "ok",
      "read: ok",
      "write: no (x)",
      "serving: own store",
      "peer b: down (no answer)",
      "leader: not this node",
    ],
    false,
    "reads only from own store; cannot reach the other region",
  ],
  [
    200,
    ["ok", "read: ok", "write: ok", "serving: the other region's store (no lease)"],
    undefined,
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
    undefined,
    "reads and changes from own store; the other region is retired",
  ],
  [
    503,
    ["not ready", "read: no (store round trip: 9 s)", "write: no (x)", "serving: own store"],
    undefined,
    "refuses clients: store round trip: 9 s",
  ],
  [
    503,
    ["not ready", "read: no (x)", "write: no (x)", "serving: nothing (retired)"],
    undefined,
    "serves nothing (retired)",
  ],
])("the summary of a node that answers %i, %j is right", async (status, lines, isLeader, words) => {
  const seen = await view(await node(status, lines));
  expect(inWords(seen)).toBe(words);
  expect(seen.ready).toBe(status === 200);
  expect(seen.leads).toBe(isLeader);
});

test("a node that does not exist does not answer", async () => {
  expect(inWords(await view({ host: "127.0.0.1", port: 1 }))).toBe("does not answer");
});
