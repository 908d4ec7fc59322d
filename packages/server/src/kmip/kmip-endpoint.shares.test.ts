import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import {
  ask,
  connectPlain,
  connectTls,
  makePki,
  message,
  startEndpoint,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

const pki = await makePki();

/** Opens `count` connections; each sends the same first bytes and nothing more. */
async function flood(port: number, count: number, bytes?: Buffer): Promise<readonly Socket[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => connectPlain(port)));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  if (bytes !== undefined) for (const socket of sockets) socket.write(bytes);
  return sockets;
}

/** The beginning of a ClientHello of 512 bytes. */
const begunHello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);

test.each([
  ["silent connections", undefined],
  ["connections that have begun a handshake", begunHello],
])("thousands of %s from a client's own address do not keep the client out", async (_, bytes) => {
  await using server = await startEndpoint(pki, {
    limits: { connectionsMax: 300, handshakeTimeoutMs: 600_000 },
  });
  const before = await connectTls(pki, server.port, pki.pinned);
  for (let round = 0; round < 8; round++) {
    await flood(server.port, 250, bytes);
    const client = await connectTls(pki, server.port, pki.issued);
    expect(await ask(client, message())).toEqual(message());
    client.destroy();
  }
  expect(await ask(before, message())).toEqual(message());
  expect(server.events.filter(({ type }) => type === "connectionDropped")).toEqual([]);
  expect(server.endpoint.handshakeCount).toBeLessThanOrEqual(75);
});

test("the most idle connections that one instance may have do not keep another instance out", async () => {
  await using server = await startEndpoint(pki, { limits: { connectionsMax: 20 } });
  const other = await connectTls(pki, server.port, pki.issued);
  await ask(other, message());
  const open: TLSSocket[] = [];
  for (let at = 0; at < 40; at++) {
    const socket = await connectTls(pki, server.port, pki.pinned);
    await ask(socket, message());
    open.push(socket);
  }
  await until(() => server.endpoint.connectionCount === 11);
  // The last ones stay.
  expect(await ask(open.at(-1) as TLSSocket, message())).toEqual(message());
  expect(await ask(open.at(-10) as TLSSocket, message())).toEqual(message());
  expect(await ask(other, message())).toEqual(message());
  for (let at = 0; at < 9; at++) {
    const more = await connectTls(pki, server.port, pki.issued);
    expect(await ask(more, message())).toEqual(message());
    open.push(more);
  }
  expect(server.endpoint.connectionCount).toBe(20);
  for (const socket of open) socket.destroy();
});

test("where all of an instance's connections are busy, its next one is refused", async () => {
  let begun = 0;
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await using server = await startEndpoint(pki, {
    limits: { connectionsMax: 4 },
    execute: async (request) => {
      begun += 1;
      await held;
      return request;
    },
  });
  const busy = [
    await connectTls(pki, server.port, pki.pinned),
    await connectTls(pki, server.port, pki.pinned),
  ];
  const answers = busy.map((socket) => ask(socket, message()));
  await until(() => begun === 2);
  const third = await connectTls(pki, server.port, pki.pinned);
  await untilClosed(third);
  expect(server.events.some(({ type }) => type === "connectionDropped")).toBe(true);
  release();
  expect(await Promise.all(answers)).toEqual([message(), message()]);
});
