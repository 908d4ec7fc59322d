import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../base/system.ts";
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

const seed = 5696;
const pki = await makePki();

/** Bytes that look like messages at their beginning, or not at all. */
const stream = fc.array(
  fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 200 }),
    fc.nat(300).map((bytes) => message(bytes)),
    fc.tuple(fc.nat(300), fc.nat(40)).map(([bytes, cut]) => message(bytes).subarray(0, cut + 1)),
    fc
      .uint8Array({ minLength: 4, maxLength: 4 })
      .map((length) => Uint8Array.of(0x42, 0x00, 0x78, 0x01, ...length)),
  ),
  { minLength: 1, maxLength: 6 },
);

test(`random bytes inside TLS never harm the endpoint (seed ${seed})`, async () => {
  await using running = await startEndpoint(pki, { limits: { requestDeadlineMs: 200 } });
  const bystander = await connectTls(pki, running.port, pki.issued);
  await fc.assert(
    fc.asyncProperty(stream, fc.boolean(), async (parts, abrupt) => {
      const socket = await connectTls(pki, running.port, pki.pinned);
      for (const part of parts) socket.write(part);
      if (abrupt) socket.destroy();
      else socket.end();
      await untilClosed(socket);
    }),
    { seed, numRuns: 100 },
  );
  expect(await ask(bystander, message())).toEqual(message());
  await until(() => running.endpoint.connectionCount === 1);
  expect(running.endpoint.heldBytes).toBe(0);
  expect(running.events.filter(({ type }) => type === "requestFailed")).toEqual([]);
});

test(`random bytes instead of a handshake never harm the endpoint (seed ${seed})`, async () => {
  let laterMs = 0;
  const monotonicMs = () => systemClock.monotonicMs() + laterMs;
  await using running = await startEndpoint(pki, { clock: { ...systemClock, monotonicMs } });
  const timer = setInterval(() => {
    laterMs += 700_000;
  }, 300);
  onTestFinished(() => clearInterval(timer));
  const stray = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.boolean());
  const strays = fc.array(stray, { minLength: 25, maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(strays, async (burst) => {
      const closed = burst.map(async ([bytes, recordHeader]) => {
        const socket = await connectPlain(running.port);
        if (recordHeader) socket.write(Buffer.of(0x16, 0x03, 0x01, 0x00, bytes.length & 0xff));
        socket.end(bytes);
        await untilClosed(socket);
      });
      await Promise.all(closed);
    }),
    { seed, numRuns: 4 },
  );
  clearInterval(timer);
  const socket = await connectTls(pki, running.port, pki.pinned);
  expect(await ask(socket, message())).toEqual(message());
  await until(() => running.endpoint.handshakeCount === 0);
});
