import { expect, onTestFinished, test } from "vitest";
import { Trust } from "../access/trust.ts";
import { systemClock } from "../base/system.ts";
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

const dayMs = 86_400_000;

const pki = await makePki();

/** Ends one request and begins the next in one write, so that the connection is never idle. */
function busy(socket: Awaited<ReturnType<typeof connectTls>>): () => number {
  const request = message();
  const half = request.length >> 1;
  let answered = 0;
  socket.on("data", () => {
    answered += 1;
  });
  socket.write(request.subarray(0, half));
  const timer = setInterval(() => {
    socket.write(request.subarray(half));
    socket.write(request.subarray(0, half));
  }, 20);
  socket.once("close", () => clearInterval(timer));
  onTestFinished(() => void socket.destroy());
  return () => answered;
}

test("a connection that is never idle is closed when its certificate expires", async () => {
  let laterMs = 0;
  const clock = { ...systemClock, wallMs: () => Date.now() + laterMs };
  await using running = await startEndpoint(pki, { clock });
  const socket = await connectTls(pki, running.port, pki.issued);
  const answered = busy(socket);
  await until(() => answered() > 5);
  laterMs = 30 * dayMs;
  await untilClosed(socket);
  expect(await endingOf(running)).toMatchObject({ ending: "trustEnded", detail: "expired" });
});

test("no request begins after the certificate's end, not even one that has arrived", async () => {
  let laterMs = 0;
  let begun = 0;
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await using running = await startEndpoint(pki, {
    clock: { ...systemClock, wallMs: () => Date.now() + laterMs },
    execute: async (request) => {
      begun += 1;
      await held;
      return request;
    },
  });
  const socket = await connectTls(pki, running.port, pki.issued);
  const first = receive(socket);
  for (let mark = 0; mark < 4; mark++) socket.write(message(64, mark));
  await until(() => begun === 1);
  laterMs = 30 * dayMs;
  release();
  expect(await first).toEqual([message(64, 0)]);
  await untilClosed(socket);
  expect(begun).toBe(1);
});

test("requests that wait when their client's certificate is removed are not answered", async () => {
  let begun = 0;
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await using running = await startEndpoint(pki, {
    execute: async (request) => {
      begun += 1;
      await held;
      return request;
    },
  });
  const socket = await connectTls(pki, running.port, pki.issued);
  for (let mark = 0; mark < 4; mark++) socket.write(message(64, mark));
  await until(() => begun === 1);
  running.endpoint.setTrust(new Trust([]));
  release();
  await untilClosed(socket);
  expect(begun).toBe(1);
});

/** A busy client whose certificate has only seconds left; another one where a busy machine lets it end too early. */
async function beforeItsEnd(port: number) {
  for (let lifeMs = 8_000; ; lifeMs *= 2) {
    const endsMs = Math.floor((Date.now() + lifeMs) / 1000) * 1000;
    const named = { commonName: "short", notBeforeMs: endsMs - dayMs, days: 1 };
    const short = await pki.clientAuthority.issue(named);
    const socket = await connectTls(pki, port, short).catch((error: Error) => error);
    if (!(socket instanceof Error)) {
      const answered = busy(socket);
      await until(() => answered() > 0 || socket.closed);
      if (answered() > 0) return { short, endsMs, socket };
    }
    if (Date.now() < endsMs) throw new Error("no answer before the certificate's end");
  }
}

test("a busy client is cut off when its real certificate expires", async () => {
  await using running = await startEndpoint(pki);
  const { short, endsMs, socket } = await beforeItsEnd(running.port);
  await untilClosed(socket);
  expect(Date.now()).toBeGreaterThanOrEqual(endsMs);
  expect(await endingOf(running)).toMatchObject({ ending: "trustEnded", detail: "expired" });
  await expect(
    connectTls(pki, running.port, short).then(async (late) => ask(late, message())),
  ).rejects.toThrow();
});
