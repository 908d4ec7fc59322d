import { expect, test } from "vitest";
import {
  ask,
  connectTls,
  endingOf,
  makePki,
  message,
  receive,
  startEndpoint,
  testInstances,
  until,
} from "../testing/endpoint.ts";

const pki = await makePki();
/** Identifier of the instance that `pki.pinned` gives access to. */
const busy = testInstances(pki).find(({ name }) => name === "pinned")?.id;

test("a burst of one instance makes no other instance wait, and all of it is answered", async () => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let begun = 0;
  await using server = await startEndpoint(pki, {
    limits: { connectionsMax: 300 },
    execute: async (request, { instance }) => {
      if (instance !== busy) return request;
      begun += 1;
      await held;
      return request;
    },
  });
  const sockets = await Promise.all(
    Array.from({ length: 150 }, () => connectTls(pki, server.port, pki.pinned)),
  );
  const answers = sockets.map((socket) => receive(socket));
  for (const socket of sockets) socket.write(message());
  await until(() => begun === 128);
  const other = await connectTls(pki, server.port, pki.issued);
  expect(await ask(other, message())).toEqual(message());
  expect(begun).toBe(128);
  // A connection that leaves while it waits must not use up a turn.
  sockets.at(-1)?.destroy();
  release();
  const settled = await Promise.allSettled(answers);
  expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(149);
  for (const socket of [...sockets, other]) socket.destroy();
});

test("a client that reads no responses is cut off early while others wait for the memory of its responses", async () => {
  const large = message(1 << 20);
  await using server = await startEndpoint(pki, {
    limits: { inFlightBytesMax: 1 << 20, requestDeadlineMs: 600_000 },
    execute: async (request, { instance }) => (instance === busy ? large : request),
  });
  const socket = await connectTls(pki, server.port, pki.pinned);
  socket.pause();
  for (let at = 0; at < 16; at++) socket.write(message());
  await until(() => server.endpoint.heldBytes > 0);
  const other = await connectTls(pki, server.port, pki.issued);
  expect(await ask(other, message())).toEqual(message());
  expect(await endingOf(server)).toMatchObject({ ending: "answerDeadline" });
  for (const one of [socket, other]) one.destroy();
});
