import { connect, type TLSSocket } from "node:tls";
import { until } from "@holdfast/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { NodeProcess } from "../support/node-process.ts";
import { type Region, startRegion, steadyStore } from "../support/region.ts";

const hourMs = 3_600_000;
let region: Region;

beforeAll(async () => {
  const settings = { store: steadyStore };
  region = await startRegion({ instances: ["vcenter"], replicas: 0, settings });
});

afterAll(() => region?.[Symbol.asyncDispose]());

/**
 * Connects with real TLS, with a session's ticket if there is one; says whether it was resumed, and the new ticket. Tries
 * again while the node lets nobody in, as without a lease on a busy machine.
 */
async function meet(node: NodeProcess, session?: Buffer, version: Version = "TLSv1.3") {
  let met: Met | undefined;
  await until(`${node.name} lets a client in`, async () => {
    met = await tryToMeet(node, session, version);
    return met !== undefined;
  });
  return met as Met;
}

async function tryToMeet(
  node: NodeProcess,
  session: Buffer | undefined,
  version: Version,
): Promise<Met | undefined> {
  const { ca, certificate: cert, key } = region.target("vcenter");
  const socket: TLSSocket = connect({
    ...{ host: node.host, port: node.kmip, ca, cert, key },
    ...{ minVersion: version, maxVersion: version, ...(session && { session }) },
  });
  socket.on("error", () => undefined);
  socket.resume();
  const tickets: Buffer[] = [];
  socket.on("session", (made: Buffer) => tickets.push(made));
  const resumed = await new Promise<boolean | undefined>((resolve) => {
    socket.once("secureConnect", () => resolve(socket.isSessionReused()));
    socket.once("close", () => resolve(undefined));
  });
  if (resumed === undefined) return undefined;
  if (version === "TLSv1.3" && session === undefined) {
    await until("a ticket", () => tickets.length > 0 || socket.closed);
    if (tickets.length === 0) return undefined;
  }
  const ticket = tickets.at(-1) ?? socket.getSession();
  const offered = version === "TLSv1.3" || socket.getTLSTicket() !== undefined;
  socket.destroy();
  return { resumed, ticket, offered };
}

type Version = "TLSv1.2" | "TLSv1.3";

interface Met {
  readonly resumed: boolean;
  readonly ticket: Buffer | undefined;
  readonly offered: boolean;
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
    // Again: another hour may begin between the two.
    await until("the other way", () => passes(two, one));
    const stored = await region.redis.primary.command("hget", "{sys}:local", "tickets");
    expect(String(stored)).toMatch(/^\d+ [\w+/=]+$/);
  });

  test("are not given by TLS 1.2", async () => {
    const { offered } = await meet(region.node(0), undefined, "TLSv1.2");
    expect(offered).toBe(false);
  });

  test("of another hour are refused, older and future ones, and the node goes on", async () => {
    const [one, two] = [region.node(0), region.node(1)];
    const hour = () => Math.floor(Date.now() / hourMs);
    await until("all of it within one hour", async () => {
      const began = hour();
      await until("the nodes share a secret", () => passes(one, two));
      const older = (await meet(one)).ticket;
      await two.stop();
      two.clockAheadMs = hourMs;
      await two.start();
      expect((await meet(two, older)).resumed).toBe(false);
      const future = (await meet(two)).ticket;
      const isKnown = (await meet(two, future)).resumed;
      expect((await meet(one, future)).resumed).toBe(false);
      const isKept = (await meet(one, older)).resumed;
      if (hour() === began) {
        expect([isKnown, isKept]).toEqual([true, true]);
        return true;
      }
      await two.stop();
      two.clockAheadMs = 0;
      await two.start();
      return false;
    });
  });
});
