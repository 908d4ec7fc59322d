import { expect, test } from "vitest";
import {
  ask,
  connectTls,
  endingOf,
  makePki,
  message,
  receive,
  startEndpoint,
  until,
  untilClosed,
} from "../testing/endpoint.ts";

const pki = await makePki();

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("large requests beyond the memory bound wait; small ones pass; all are answered", async () => {
  const large = 600_000;
  await using server = await startEndpoint(pki, { limits: { inFlightBytesMax: 1_000_000 } });
  const sockets = await Promise.all(
    Array.from({ length: 5 }, () => connectTls(pki, server.port, pki.pinned)),
  );
  const requests = sockets.map((_, at) => message(large, at));
  sockets.forEach((socket, at) => {
    socket.write((requests[at] as Uint8Array).subarray(0, 100_000));
  });
  await until(() => server.endpoint.heldBytes > 0);
  await wait(50);
  expect(server.endpoint.heldBytes).toBeLessThan(1_000_000);
  const small = await connectTls(pki, server.port, pki.pinned);
  expect(await ask(small, message())).toEqual(message());
  const answers = sockets.map((socket) => receive(socket));
  sockets.forEach((socket, at) => {
    socket.write((requests[at] as Uint8Array).subarray(100_000));
  });
  const marks = (await Promise.all(answers)).map(([answer]) => answer?.[20]);
  expect(marks).toEqual([0, 1, 2, 3, 4]);
  await until(() => server.endpoint.heldBytes === 0);
});

test("an instance whose large requests never end does not keep another's waiting", async () => {
  await using server = await startEndpoint(pki, { limits: { inFlightBytesMax: 1_000_000 } });
  const connect = () => connectTls(pki, server.port, pki.pinned);
  const held = [await connect(), await connect(), await connect()] as const;
  for (const socket of held) {
    const before = server.endpoint.heldBytes;
    socket.write(message(300_000).subarray(0, 100_000));
    if (before === 0) await until(() => server.endpoint.heldBytes > 0);
  }
  const other = await connectTls(pki, server.port, pki.issued);
  expect((await ask(other, message(600_000, 4)))[20]).toBe(4);
  expect(server.endpoint.heldBytes).toBe(300_000);
  for (const socket of held) socket.destroy();
  await until(() => server.endpoint.heldBytes === 0);
});

test("a request that gets no memory in its time ends its connection", async () => {
  let answer = (_: Uint8Array): void => {};
  const held = new Promise<Uint8Array>((resolve) => {
    answer = resolve;
  });
  await using server = await startEndpoint(pki, {
    execute: () => held,
    limits: { inFlightBytesMax: 1_000_000, requestDeadlineMs: 500 },
  });
  const [slow, waiting] = [
    await connectTls(pki, server.port, pki.pinned),
    await connectTls(pki, server.port, pki.pinned),
  ];
  slow.write(message(600_000));
  await until(() => server.endpoint.heldBytes > 0);
  waiting.write(message(600_000).subarray(0, 100_000));
  await untilClosed(waiting);
  expect(await endingOf(server)).toMatchObject({ ending: "requestDeadline" });
  const answered = receive(slow);
  answer(message());
  expect((await answered)[0]).toEqual(message());
});

test("a request larger than all the memory is answered when it is alone, and so are two of two instances that fill it", async () => {
  await using server = await startEndpoint(pki, {
    limits: { inFlightBytesMax: 1_000_000, requestBytesMax: 2_000_000 },
  });
  const [one, other] = [
    await connectTls(pki, server.port, pki.pinned),
    await connectTls(pki, server.port, pki.issued),
  ];
  expect((await ask(one, message(1_500_000, 1)))[20]).toBe(1);
  const halves = [message(500_000, 2), message(500_000, 3)] as const;
  one.write(halves[0].subarray(0, 400_000));
  other.write(halves[1].subarray(0, 400_000));
  await until(() => server.endpoint.heldBytes === 1_000_000);
  const answers = [receive(one), receive(other)];
  one.write(halves[0].subarray(400_000));
  other.write(halves[1].subarray(400_000));
  expect((await Promise.all(answers)).map(([answer]) => answer?.[20])).toEqual([2, 3]);
  await until(() => server.endpoint.heldBytes === 0);
});
