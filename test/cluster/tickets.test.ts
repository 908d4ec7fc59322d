import { connect, type TLSSocket } from "node:tls";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NodeProcess } from "../support/node-process.ts";
import { type Region, startRegion } from "../support/region.ts";

const hourMs = 3_600_000;
let region: Region;

beforeAll(async () => {
  region = await startRegion({ instances: ["vcenter"], replicas: 0 });
}, 120_000);

afterAll(() => region?.[Symbol.asyncDispose]());

/** Connects with real TLS, with a session's ticket if there is one; says whether it was resumed, and the new ticket. */
async function meet(
  node: NodeProcess,
  session?: Buffer,
  version: "TLSv1.2" | "TLSv1.3" = "TLSv1.3",
) {
  const { ca, certificate: cert, key } = region.target("vcenter");
  const socket: TLSSocket = connect({
    ...{ host: node.host, port: node.kmip, ca, cert, key },
    ...{ minVersion: version, maxVersion: version, ...(session && { session }) },
  });
  socket.on("error", () => undefined);
  socket.resume();
  const tickets: Buffer[] = [];
  socket.on("session", (made: Buffer) => tickets.push(made));
  const resumed = await new Promise<boolean>((resolve) => {
    socket.once("secureConnect", () => resolve(socket.isSessionReused()));
    socket.once("close", () => resolve(false));
  });
  if (version === "TLSv1.3" && session === undefined) {
    await until("a ticket", async () => tickets.length > 0);
  }
  const ticket = tickets.at(-1) ?? socket.getSession();
  const offered = version === "TLSv1.3" || socket.getTLSTicket() !== undefined;
  socket.destroy();
  return { resumed, ticket, offered };
}

/** Whether a session that was begun at one node is resumed at another one. */
async function passes(from: NodeProcess, to: NodeProcess): Promise<boolean> {
  const { ticket } = await meet(from);
  return (await meet(to, ticket)).resumed;
}

describe("session tickets", () => {
  test("are taken by each node of the region, from each", async () => {
    const [one, two] = [region.node(0), region.node(1)];
    await until("the nodes share a secret", () => passes(one, two));
    expect(await passes(two, one)).toBe(true);
    const stored = await region.redis.primary.command("hget", "{sys}:local", "tickets");
    expect(String(stored)).toMatch(/^\d+ [\w+/=]+$/);
  });

  test("are not given by TLS 1.2", async () => {
    const { offered } = await meet(region.node(0), undefined, "TLSv1.2");
    expect(offered).toBe(false);
  });

  test("of another hour are refused, older and future ones, and the node goes on", async () => {
    const [one, two] = [region.node(0), region.node(1)];
    await until("the nodes share a secret", () => passes(one, two));
    const older = (await meet(one)).ticket;
    await two.stop();
    two.clockAheadMs = hourMs;
    await two.start();
    expect((await meet(two, older)).resumed).toBe(false);
    const future = (await meet(two)).ticket;
    expect((await meet(two, future)).resumed).toBe(true);
    expect((await meet(one, future)).resumed).toBe(false);
    expect((await meet(one, older)).resumed).toBe(true);
  });
});
