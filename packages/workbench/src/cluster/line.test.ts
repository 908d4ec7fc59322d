import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "@holdfast/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Line } from "./line.ts";

const host = "127.0.0.1";

let server: Server;
let accepted: Socket[];
let line: Line;
let listen: { readonly host: string; readonly port: number };

beforeEach(async () => {
  accepted = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    accepted.push(socket);
  });
  server.listen(0, host);
  await once(server, "listening");
  listen = { host, port: await freePort() };
});

afterEach(async () => {
  await line[Symbol.asyncDispose]();
  for (const socket of accepted) socket.destroy();
  server.close();
});

async function open(delayMs: number): Promise<Socket> {
  line = new Line(delayMs);
  await line.add(listen, { host, port: (server.address() as AddressInfo).port });
  const client = connect(listen);
  client.on("error", () => undefined);
  await once(client, "connect");
  await expect.poll(() => accepted.length).toBe(1);
  return client;
}

function other(): Socket {
  const [socket] = accepted;
  if (socket === undefined) throw new Error("nobody connected");
  return socket;
}

describe("a line", () => {
  test.each([0, 40])("adds %i ms each way", async (delayMs) => {
    const client = await open(delayMs);
    other().on("data", (chunk) => other().write(chunk));
    const tookMs: number[] = [];
    for (let at = 0; at < 10; at++) {
      const began = performance.now();
      client.write("x");
      await once(client, "data");
      tookMs.push(performance.now() - began);
    }
    const fastest = Math.min(...tookMs);
    expect(fastest).toBeGreaterThanOrEqual(2 * delayMs);
    client.destroy();
  });

  test("keeps the order and every byte in both directions at once, and passes on the ends", async () => {
    const client = await open(5);
    const sent = [randomBytes(8_000_000), randomBytes(8_000_000)] as const;
    const received = [digestOf(client), digestOf(other())];
    client.end(sent[0]);
    other().end(sent[1]);
    expect(await Promise.all(received)).toEqual([sent[1], sent[0]].map(sha256));
  });

  test("holds back the sender while the receiver does not read", async () => {
    const client = await open(1);
    other().pause();
    const bytes = 60_000_000;
    let taken = false;
    client.write(Buffer.alloc(bytes), () => {
      taken = true;
    });
    await sleep(300);
    expect(taken).toBe(false);
    let arrived = 0;
    other().on("data", (chunk: Buffer) => {
      arrived += chunk.length;
    });
    other().resume();
    await expect.poll(() => arrived).toBe(bytes);
    expect(taken).toBe(true);
    client.destroy();
  });

  test("passes nothing while it is cut, and everything afterwards", async () => {
    const client = await open(1);
    let text = "";
    other().on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    client.write("before ");
    await expect.poll(() => text).toBe("before ");
    expect(line.cut(true)).toBe(true);
    expect(line.cut(true)).toBe(false);
    client.write("meanwhile");
    client.end();
    await sleep(100);
    expect(text).toBe("before ");
    const end = once(other(), "end");
    line.cut(false);
    await end;
    expect(text).toBe("before meanwhile");
  });

  test("ends the connection if nothing listens behind it", async () => {
    line = new Line(1);
    await line.add(listen, { host, port: await freePort() });
    const client = connect(listen);
    client.on("error", () => undefined);
    // Not `once` of node:events, which rejects when the connection is reset.
    await new Promise((resolve) => client.once("close", resolve));
  });
});

/** Uses events: iterating over a socket destroys it at the end of its input, even if it still has data to write. */
async function digestOf(socket: Socket): Promise<string> {
  const hash = createHash("sha256");
  socket.on("data", (chunk: Buffer) => hash.update(chunk));
  await once(socket, "end");
  return hash.digest("hex");
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
