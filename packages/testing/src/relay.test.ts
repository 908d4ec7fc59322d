import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePort } from "./free-port.ts";
import { Relay } from "./relay.ts";

let echo: Server;
let relay: Relay;
let client: Socket;
let accepted: Socket[];

beforeEach(async () => {
  accepted = [];
  echo = createServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  echo.listen(0, "127.0.0.1");
  await once(echo, "listening");
  relay = await Relay.open((echo.address() as { port: number }).port);
  client = connect(relay.port, relay.host);
  client.on("error", () => undefined);
  await once(client, "connect");
});

afterEach(async () => {
  client.destroy();
  await relay[Symbol.asyncDispose]();
  echo.close();
});

/** Resolves when a socket is closed, with or without a failure. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** The number of bytes that come back within a time. */
async function echoed(bytes: number, withinMs: number): Promise<{ bytes: number; ms: number }> {
  const began = performance.now();
  let seen = 0;
  const all = new Promise<void>((resolve) => {
    client.on("data", (chunk: Buffer) => {
      seen += chunk.length;
      if (seen >= bytes) resolve();
    });
  });
  client.write(Buffer.alloc(bytes, 7));
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, withinMs))]);
  client.removeAllListeners("data");
  return { bytes: seen, ms: performance.now() - began };
}

const open = { forth: false, back: false };

test("a relay forwards bytes, with its delay each way", async () => {
  expect((await echoed(10, 2_000)).bytes).toBe(10);
  relay.set({ delayMs: 60, cut: open });
  const { bytes, ms } = await echoed(10, 2_000);
  expect(bytes).toBe(10);
  expect(ms).toBeGreaterThanOrEqual(119);
});

test.each(["forth", "back"] as const)(
  "a relay cut %s delivers nothing, and after the cut all that was sent",
  async (direction) => {
    await echoed(1, 2_000);
    relay.set({ delayMs: 0, cut: { ...open, [direction]: true } });
    expect((await echoed(5, 200)).bytes).toBe(0);
    const late = once(client, "data");
    relay.set({ delayMs: 0, cut: open });
    expect((await late)[0]).toHaveLength(5);
  },
);

test("during a cut, one side does not notice that the other side has closed", async () => {
  await echoed(1, 2_000);
  relay.set({ delayMs: 0, cut: { forth: true, back: true } });
  let ended = false;
  const gone = closed(client).then(() => {
    ended = true;
  });
  for (const socket of accepted) socket.destroy();
  await sleep(150);
  expect(ended).toBe(false);
  relay.set({ delayMs: 0, cut: open });
  await gone;
});

test("a relay forwards more than it can hold, in order and without loss", async () => {
  relay.set({ delayMs: 5, cut: open });
  expect((await echoed(32 * 1_048_576, 9_000)).bytes).toBe(32 * 1_048_576);
});

test("if nothing listens at the target, the client's connection ends", async () => {
  await using alone = await Relay.open(await freePort());
  const socket = connect(alone.port, alone.host);
  socket.on("error", () => undefined);
  await closed(socket);
});

test("a reset ends every connection at both sides", async () => {
  await echoed(1, 2_000);
  const gone = [...accepted, client].map((socket) => closed(socket));
  relay.reset();
  await Promise.all(gone);
});
